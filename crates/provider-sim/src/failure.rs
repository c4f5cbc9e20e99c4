//! Errors as HTTP answers.

use std::time::{Duration, SystemTime};

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::Value;

use crate::control::{RetryAfter, StatusFault};
use crate::wire::{Moment, Provider, request_id};

/// An error in the provider's own shape.
pub(crate) fn failure(provider: Provider, fault: &StatusFault, moment: Moment) -> Response {
    let body = provider.error(fault.code, fault.message.as_deref(), moment);
    let mut response = respond(provider, fault.code, body, moment);
    let retry_after =
        retry_after(&fault.retry_after, moment.now).map(|text| ("retry-after".to_owned(), text));
    for (name, value) in fault.headers.clone().into_iter().chain(retry_after) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// An error with this body.
pub(crate) fn respond(provider: Provider, code: u16, body: Value, moment: Moment) -> Response {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_request_id((status, Json(body)).into_response(), provider, moment)
}

/// Anthropic names each request in a header.
pub(crate) fn with_request_id(mut response: Response, provider: Provider, moment: Moment) -> Response {
    let id = HeaderValue::try_from(request_id(moment.sequence));
    if let (Provider::Anthropic, Ok(id)) = (provider, id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

fn retry_after(wish: &RetryAfter, now: Timestamp) -> Option<String> {
    match wish {
        RetryAfter::None => None,
        RetryAfter::Seconds(seconds) => Some(seconds.to_string()),
        RetryAfter::HttpDate(seconds) => Some(http_date(*seconds, now)),
        RetryAfter::Raw(text) => Some(text.clone()),
    }
}

/// A date in `seconds`, rounded up: the format has whole seconds, and a server never means less.
fn http_date(seconds: u64, now: Timestamp) -> String {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let whole = millis.div_ceil(1_000).saturating_add(seconds);
    // `httpdate` writes years up to 9999 and panics beyond.
    let whole = whole.min(253_402_300_799);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_never_earlier_than_meant() {
        let now: Timestamp = "2026-05-09T12:00:00.001Z".parse().expect("a time");
        assert_eq!(http_date(2, now), "Sat, 09 May 2026 12:00:03 GMT");
        assert_eq!(http_date(u64::MAX, now), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
