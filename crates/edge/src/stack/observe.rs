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

/// Carries the id of a call, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
pub(super) async fn trace(request: Request, next: Next) -> Response {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let (service, method) = path.split_once('/').unwrap_or((path.as_str(), ""));
    let span = tracing::info_span!(
        "rpc",
        otel.name = %path,
        otel.kind = "server",
        rpc.system = "grpc",
        rpc.service = %service,
        rpc.method = %method,
        request_id = %request_id(&request),
        trace_id = tracing::field::Empty,
        principal = tracing::field::Empty,
        rpc.grpc.status_code = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    bulkhead_telemetry::adopt(&span, request.headers());

    async move {
        let started = Instant::now();
        let response = next.run(request).await;
        log_answer(&response, started);
        response
    }
    .instrument(span)
    .await
}

fn log_answer(response: &Response, started: Instant) {
    let latency_ms = started.elapsed().as_secs_f64() * 1_000.0;
    let status = response.extensions().get::<Status>();
    let code = status.map_or(Code::Ok, Status::code);
    Span::current().record("rpc.grpc.status_code", i32::from(code));
    let Some(status) = status.filter(|status| status.code() != Code::Ok) else {
        tracing::info!(latency_ms, "answered");
        return;
    };
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

/// Gives the errors that tonic itself answers the shape that the contract promises.
pub(super) async fn complete_faults(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    let Some(status) = response.extensions().get::<Status>() else {
        return response.map(|body| Body::new(trailers::Completed::new(body)));
    };
    if !status.details().is_empty() {
        return response;
    }
    match status.code() {
        Code::OutOfRange => answer(
            Fault::new(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
                .saying(format!("a message may have at most {} bytes", gate.message_bytes_max))
                .with("bytes_max", gate.message_bytes_max),
        ),
        Code::Unimplemented => answer(
            Fault::new(Code::Unimplemented, "RPC_NOT_IMPLEMENTED")
                .saying(format!("{path} is part of the contract and not implemented yet"))
                .with("rpc", path.trim_start_matches('/')),
        ),
        code => {
            let fault = Fault::new(code, "UNSPECIFIED_FAILURE").saying(status.message().to_owned());
            answer(fault.because(status.clone()))
        }
    }
}

/// The response that carries a fault.
pub(super) fn answer(fault: Fault) -> Response {
    fault.into_status().into_http::<Body>()
}
