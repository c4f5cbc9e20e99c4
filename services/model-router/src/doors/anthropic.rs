//! Anthropic Messages, version 2023-06-01 (<https://docs.anthropic.com/en/api/messages>), as its clients speak it.

mod answer;
mod message;
mod read;
mod stream;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bulkhead_edge::Voice;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};
use tonic::Status;

use super::failure::Failure;
use super::{Counting, Dialect, REQUEST_ID};

pub(super) static DIALECT: Dialect = Dialect {
    read: read::request,
    answer: answer::message,
    events: stream::events,
    keep_alive: "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    tells_thinking: true,
    names: &[
        ("route", "model"),
        ("max_output_tokens", "max_tokens"),
        ("thinking_tokens_max", "thinking.budget_tokens"),
        ("response_format.schema_json", "output_config.format.schema"),
        ("response_format", "output_config.format"),
        ("tool_choice.name", "tool_choice.name"),
        ("tool_choice.mode", "tool_choice.type"),
        (".input_schema_json", ".input_schema"),
    ],
    voice: Voice { refusal, ending },
};

/// What a request takes of a model's window, in the API's terms.
pub(super) static COUNTING: Counting =
    Counting { read: read::counted, answer: |tokens| json!({ "input_tokens": tokens }) };

fn refusal(status: &Status, request_id: &str) -> Response {
    let failure = Failure::of(status);
    let mut headers = failure.headers();
    if let Ok(id) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, id);
    }
    let mut body = error(&failure);
    body["request_id"] = json!(request_id);
    (http(&failure), headers, Json(body)).into_response()
}

fn ending(status: &Status) -> Bytes {
    format!("event: error\ndata: {}\n\n", error(&Failure::of(status))).into()
}

/// This API has a status of its own for a server that has too much to do.
fn http(failure: &Failure) -> StatusCode {
    match failure.reason.as_str() {
        "OVERLOADED" => StatusCode::from_u16(529).unwrap_or(failure.http),
        _ => failure.http,
    }
}

fn error(failure: &Failure) -> Value {
    let kind = match http(failure).as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    let message = format!("{} ({})", failure.message, failure.reason);
    let details = json!({ "error_code": failure.reason });
    json!({ "type": "error", "error": { "type": kind, "message": message, "details": details } })
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Fault;
    use tonic::Code;

    use super::*;
    use crate::doors::stream::samples::parsed;

    #[test]
    fn a_failure_is_told_in_the_words_of_the_api() {
        let wrong = Fault::new(Code::InvalidArgument, "INVALID_REQUEST").violation("top_k", "leave it out");
        let expected = json!({ "type": "error", "error": {
            "type": "invalid_request_error",
            "message": "top_k: leave it out (INVALID_REQUEST)",
            "details": { "error_code": "INVALID_REQUEST" },
        } });
        assert_eq!(error(&Failure::of(&wrong.into_status())), expected);
        for (code, reason, status, kind) in [
            (Code::Unauthenticated, "CREDENTIAL_REQUIRED", 401, "authentication_error"),
            (Code::PermissionDenied, "ROLE_REQUIRED", 403, "permission_error"),
            (Code::NotFound, "ROUTE_NOT_FOUND", 404, "not_found_error"),
            (Code::AlreadyExists, "REQUEST_ID_REUSED", 409, "conflict_error"),
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", 413, "request_too_large"),
            (Code::ResourceExhausted, "TENANT_OVER_SHARE", 429, "rate_limit_error"),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", 504, "timeout_error"),
            (Code::Unavailable, "OVERLOADED", 529, "overloaded_error"),
            (Code::Unavailable, "NO_MODEL_ANSWERED", 503, "api_error"),
            (Code::Internal, "HANDLER_PANICKED", 500, "api_error"),
        ] {
            let failure = Failure::of(&Fault::new(code, reason).into_status());
            assert_eq!((http(&failure).as_u16(), &error(&failure)["error"]["type"]), (status, &json!(kind)));
        }
    }

    #[test]
    fn a_stream_that_failed_ends_with_an_error() {
        let fault = Fault::new(Code::Unavailable, "SERVICE_STOPPING").saying("the service is stopping");
        let expected = "event: error\ndata: {\"error\":{\"details\":{\"error_code\":\"SERVICE_STOPPING\"},\
                        \"message\":\"the service is stopping (SERVICE_STOPPING)\",\"type\":\"api_error\"},\
                        \"type\":\"error\"}\n\n";
        let told = ending(&fault.into_status());
        assert_eq!(parsed(std::str::from_utf8(&told).expect("text")), parsed(expected));
    }
}
