//! What a failure is over HTTP, whichever API tells it.

use std::time::Duration;

use bulkhead_proto::reasons::{self, Retry};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _};

/// The stable reason.
const REASON: HeaderName = HeaderName::from_static("x-bulkhead-reason");
/// More exact than `retry-after`, which has whole seconds; both SDKs look here first.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// The SDKs try again by status unless this says otherwise.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A failure, taken apart.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) http: StatusCode,
    pub(super) reason: String,
    pub(super) message: String,
    /// The first field that is wrong.
    pub(super) field: Option<String>,
    retry_after: Option<Duration>,
    /// The same request will fail again.
    is_final: bool,
}

/// An answer that would not do is told with the answer: these APIs have no other place for it.
fn with_raw_text(message: String, info: Option<&ErrorInfo>) -> String {
    match info.and_then(|info| info.metadata.get("raw_text")) {
        Some(raw) => format!("{message}; it wrote: {raw}"),
        None => message,
    }
}

impl Failure {
    pub(super) fn of(status: &Status) -> Self {
        let details = status.get_error_details();
        let reason = details.error_info().map_or_else(String::new, |info| info.reason.clone());
        let violations = details.bad_request().map_or(&[][..], |bad| &bad.field_violations);
        let named: Vec<String> =
            violations.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect();
        let message = if named.is_empty() { status.message().to_owned() } else { named.join("; ") };
        let retry = reasons::find(&reason).map(|(_origin, row)| row.retry);
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            http: http(status.code(), &reason),
            message: with_raw_text(message, details.error_info()),
            field: violations.first().map(|wrong| wrong.field.clone()),
            retry_after,
            is_final: retry.is_some_and(|retry| is_final(retry, retry_after)),
            reason,
        }
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Ok(reason) = HeaderValue::try_from(self.reason.as_str()) {
            headers.insert(REASON, reason);
        }
        if let Some(delay) = self.retry_after {
            // Rounded up: never earlier than meant.
            let millis = u64::try_from(delay.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1_000)));
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
        }
        if self.is_final {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        headers
    }
}

/// Waiting that has no end is no advice to clients who wait a moment.
fn is_final(retry: Retry, retry_after: Option<Duration>) -> bool {
    match retry {
        Retry::No | Retry::AfterChange => true,
        Retry::AfterWaiting => retry_after.is_none(),
        Retry::Same => false,
    }
}

/// The status that the APIs have for a code. The reasons that are named have one of their own in HTTP.
fn http(code: Code, reason: &str) -> StatusCode {
    match (code, reason) {
        (_, "MESSAGE_TOO_LARGE") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "COMPRESSION_UNSUPPORTED") => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        (Code::Ok, _) => StatusCode::OK,
        (Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange, _) => StatusCode::BAD_REQUEST,
        (Code::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::NotFound, _) => StatusCode::NOT_FOUND,
        (Code::AlreadyExists | Code::Aborted, _) => StatusCode::CONFLICT,
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::Unimplemented, _) => StatusCode::NOT_IMPLEMENTED,
        (Code::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Unknown | Code::Internal | Code::DataLoss | Code::Cancelled, _) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Fault;

    use super::*;

    #[test]
    fn a_delay_is_passed_on_and_never_shortened() {
        let delay = Duration::from_micros(1_500_200);
        let fault = Fault::new(Code::Unavailable, "NO_MODEL_ANSWERED").retry_after(delay);
        let failure = Failure::of(&fault.into_status());
        let headers = failure.headers();
        assert_eq!(failure.http, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (&headers["retry-after"], &headers["retry-after-ms"]),
            (&"2".parse().expect("a value"), &"1501".parse().expect("a value"))
        );
        assert_eq!(headers["x-bulkhead-reason"], "NO_MODEL_ANSWERED");
        assert!(!headers.contains_key("x-should-retry"));
    }

    #[test]
    fn what_fails_again_is_not_to_be_tried_again() {
        for (code, reason, http) in [
            (Code::AlreadyExists, "REQUEST_ID_REUSED", 409),
            (Code::FailedPrecondition, "NO_LOCAL_MODEL", 400),
            (Code::ResourceExhausted, "COST_LIMIT_REACHED", 429),
            (Code::ResourceExhausted, "BUDGET_EXHAUSTED", 429),
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", 413),
            (Code::Unimplemented, "RPC_NOT_IMPLEMENTED", 501),
            (Code::Unimplemented, "COMPRESSION_UNSUPPORTED", 415),
        ] {
            let failure = Failure::of(&Fault::new(code, reason).into_status());
            assert_eq!((failure.http.as_u16(), failure.reason.as_str()), (http, reason));
            assert_eq!(failure.headers()["x-should-retry"], "false");
        }
    }

    #[test]
    fn a_budget_that_begins_anew_is_waited_for() {
        let fault = Fault::new(Code::ResourceExhausted, "BUDGET_EXHAUSTED");
        let failure = Failure::of(&fault.retry_after(Duration::from_secs(9)).into_status());
        let headers = failure.headers();
        assert_eq!((failure.http.as_u16(), &headers["retry-after"]), (429, &HeaderValue::from(9)));
        assert!(!headers.contains_key("x-should-retry"));
    }

    #[test]
    fn every_wrong_field_is_told() {
        let fault = Fault::new(Code::InvalidArgument, "INVALID_REQUEST");
        let fault = fault.violation("n", "must be 1").violation("audio", "leave it out");
        let failure = Failure::of(&fault.into_status());
        assert_eq!((failure.field.as_deref(), failure.http.as_u16()), (Some("n"), 400));
        assert_eq!(failure.message, "n: must be 1; audio: leave it out");
    }
}
