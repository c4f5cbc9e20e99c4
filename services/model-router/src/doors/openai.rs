//! OpenAI Chat Completions (<https://platform.openai.com/docs/api-reference/chat>), as its clients speak it.

mod answer;
mod message;
mod read;
mod stream;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use bulkhead_edge::Voice;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tonic::Status;

use super::Dialect;
use super::failure::Failure;

pub(super) static DIALECT: Dialect = Dialect {
    read: read::request,
    answer: answer::completion,
    events: stream::events,
    // A comment of the event stream: clients skip it.
    keep_alive: ": keep-alive\n\n",
    tells_thinking: false,
    names: &[
        ("route", "model"),
        ("max_output_tokens", "max_completion_tokens"),
        ("stop_sequences", "stop"),
        ("response_format.schema_json", "response_format.json_schema.schema"),
        ("response_format.name", "response_format.json_schema.name"),
        ("tool_choice.name", "tool_choice.function.name"),
        ("tool_choice.mode", "tool_choice"),
        (".input_schema_json", ".function.parameters"),
        (".name", ".function.name"),
    ],
    voice: Voice { refusal, ending },
};

fn refusal(status: &Status, _request_id: &str) -> Response {
    let failure = Failure::of(status);
    (failure.http, failure.headers(), Json(error(&failure))).into_response()
}

/// Clients take an object with an `error` for the end of a stream.
fn ending(status: &Status) -> Bytes {
    format!("data: {}\n\n", error(&Failure::of(status))).into()
}

fn error(failure: &Failure) -> Value {
    let kind = match failure.http {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    // The one code that clients of this API look for.
    let code = if failure.reason == "ROUTE_NOT_FOUND" { "model_not_found" } else { &failure.reason };
    json!({ "error": { "message": failure.message, "type": kind, "param": failure.field, "code": code } })
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Fault;
    use tonic::Code;

    use super::*;
    use crate::doors::stream::samples::parsed;

    fn told(fault: Fault) -> Value {
        error(&Failure::of(&fault.into_status()))
    }

    #[test]
    fn a_failure_is_told_in_the_words_of_the_api() {
        let wrong = Fault::new(Code::InvalidArgument, "INVALID_REQUEST").violation("n", "must be 1");
        let expected = json!({ "error": {
            "message": "n: must be 1", "type": "invalid_request_error", "param": "n", "code": "INVALID_REQUEST",
        } });
        assert_eq!(told(wrong), expected);
        let unknown = Fault::new(Code::NotFound, "ROUTE_NOT_FOUND").saying("there are default, cloud");
        let expected = json!({ "error": {
            "message": "there are default, cloud", "type": "invalid_request_error", "param": null,
            "code": "model_not_found",
        } });
        assert_eq!(told(unknown), expected);
        for (code, kind) in [
            (Code::Unauthenticated, "authentication_error"),
            (Code::PermissionDenied, "permission_error"),
            (Code::ResourceExhausted, "rate_limit_error"),
            (Code::Unavailable, "server_error"),
            (Code::DeadlineExceeded, "server_error"),
        ] {
            assert_eq!(told(Fault::new(code, "X"))["error"]["type"], kind);
        }
    }

    #[test]
    fn a_stream_that_failed_ends_with_an_error_and_without_done() {
        let fault = Fault::new(Code::Unavailable, "SERVICE_STOPPING").saying("the service is stopping");
        let expected = "data: {\"error\":{\"code\":\"SERVICE_STOPPING\",\"message\":\"the service is stopping\",\
                        \"param\":null,\"type\":\"server_error\"}}\n\n";
        let told = ending(&fault.into_status());
        assert_eq!(parsed(std::str::from_utf8(&told).expect("text")), parsed(expected));
    }
}
