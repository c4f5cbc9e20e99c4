//! Request ids, spans, panics, and the last look at an answer.

mod trailers;

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::Gate;
use crate::Fault;
use crate::fault::chain;
use crate::metrics::ServerCall;

/// How a gRPC message is compressed.
const GRPC_ENCODING: &str = "grpc-encoding";

/// Carries the id of a call, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// In logs and spans, for what is not part of the contract.
const UNKNOWN: &str = "unknown";

/// The id under which a call is logged everywhere.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

/// Takes the caller's `x-request-id` if it is a UUID, makes one otherwise, and returns it with the answer.
pub(super) async fn assign_request_id(mut request: Request, next: Next) -> Response {
    let id = sent_id(request.headers()).unwrap_or_else(|| Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn sent_id(headers: &HeaderMap) -> Option<String> {
    let sent = headers.get(REQUEST_ID)?.to_str().ok()?;
    sent.parse::<Uuid>().ok().map(|id| id.to_string())
}

/// The id of the call that a request belongs to.
pub(super) fn request_id<B>(request: &http::Request<B>) -> String {
    request.extensions().get::<RequestId>().map_or_else(String::new, |id| id.0.clone())
}

/// Opens the span of the call under the caller's trace, and logs one line when it is answered.
pub(super) async fn trace(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let counted = ServerCall::begin(request.uri().path());
    // Only names of the contract: a path may be anything, of any length.
    let rule = gate.rules.get(request.uri().path());
    let path = rule.map_or_else(|| UNKNOWN.to_owned(), |rule| rule.path().trim_start_matches('/').to_owned());
    let (service, method) = path.split_once('/').unwrap_or((UNKNOWN, UNKNOWN));
    let span = tracing::info_span!(
        "rpc",
        otel.name = %path,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = %service,
        rpc.method = %method,
        request_id = %request_id(&request),
        principal = tracing::field::Empty,
        rpc.grpc.status_code = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    bulkhead_telemetry::adopt(&span, request.headers());

    async move {
        let started = Instant::now();
        let response = next.run(request).await;
        log_answer(&response, started);
        counted.follow(response)
    }
    .instrument(span)
    .await
}

fn log_answer(response: &Response, started: Instant) {
    let latency_ms = started.elapsed().as_secs_f64() * 1_000.0;
    match response.extensions().get::<Status>() {
        Some(status) if status.code() != Code::Ok => log_fault(status, latency_ms),
        _ => {
            Span::current().record("rpc.grpc.status_code", i32::from(Code::Ok));
            tracing::info!(latency_ms, "answered");
        }
    }
}

/// Logs an error under the current span, with the cause that is never sent.
fn log_fault(status: &Status, latency_ms: f64) {
    let code = status.code();
    Span::current().record("rpc.grpc.status_code", i32::from(code));
    let cause = std::error::Error::source(status).map(|cause| chain(cause, ": "));
    let (message, cause) = (status.message(), cause.as_deref());
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable) {
        Span::current().record("otel.status_code", "ERROR");
        tracing::error!(latency_ms, ?code, error = message, cause, "failed");
    } else {
        tracing::warn!(latency_ms, ?code, error = message, cause, "refused");
    }
}

/// A panic in a handler ends that call and nothing else.
pub(super) async fn catch_panics(request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    handled.unwrap_or_else(|_payload| {
        tracing::error!("a handler panicked");
        let fault = Fault::new(Code::Internal, "HANDLER_PANICKED").with("request_id", &id);
        answer(fault.saying(format!("the service failed; its log has the details under request id {id}")))
    })
}

/// Gives the errors that tonic itself answers the shape that the contract promises. Our own carry details;
/// what has none comes from tonic.
pub(super) async fn complete_faults(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let compressed = request.headers().get(GRPC_ENCODING).is_some_and(|encoding| encoding != "identity");
    let response = next.run(request).await;
    match response.extensions().get::<Status>() {
        None => response.map(|body| Body::new(trailers::Completed::new(body, Span::current()))),
        Some(status) if status.details().is_empty() => answer(completed(status, &path, compressed, &gate)),
        Some(_) => response,
    }
}

fn completed(status: &Status, path: &str, compressed: bool, gate: &Gate) -> Fault {
    match status.code() {
        Code::OutOfRange => Fault::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
            .saying(format!("a message may have at most {} bytes", gate.message_bytes_max))
            .with("bytes_max", gate.message_bytes_max),
        Code::Unimplemented if compressed => Fault::new(Code::Unimplemented, "COMPRESSION_UNSUPPORTED")
            .saying("compressed messages are not accepted; send with grpc-encoding identity"),
        Code::Unimplemented if gate.rules.contains_key(path) => {
            Fault::new(Code::Unimplemented, "RPC_NOT_IMPLEMENTED")
                .saying(format!("{path} is part of the contract and not implemented yet"))
                .with("rpc", path.trim_start_matches('/'))
        }
        Code::Unimplemented => {
            Fault::new(Code::Unimplemented, "UNKNOWN_RPC").saying("there is no such method")
        }
        // tonic blames itself for a frame that is missing, cut short or flagged wrongly.
        Code::Internal => Fault::new(Code::InvalidArgument, "MALFORMED_REQUEST")
            .saying("the body is not one whole gRPC message")
            .because(status.clone()),
        Code::NotFound => {
            Fault::new(Code::NotFound, "UNKNOWN_SERVICE").saying("there is no such service here")
        }
        _ => {
            Fault::new(Code::Unknown, "UNSPECIFIED_FAILURE").saying(status.message()).because(status.clone())
        }
    }
}

/// The response that carries a fault.
pub(super) fn answer(fault: Fault) -> Response {
    fault.into_status().into_http::<Body>()
}
