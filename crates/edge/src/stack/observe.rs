//! Request ids, spans, panics, and the last look at an answer.

mod complete;
mod request_id;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bulkhead_proto::rules::MethodRule;
use futures::FutureExt as _;
use http::{HeaderName, HeaderValue};
use tonic::{Code, Status};
use tracing::{Instrument as _, Span};

use super::declared::hold_to_contract;
use crate::Fault;
use crate::fault::chain;
use crate::spans;

pub(super) use complete::completed;
pub(crate) use request_id::RequestId;

/// How messages may be compressed.
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A call that will be told of when it is answered, or when its caller went away before that.
pub(super) struct Observed<'a> {
    rule: Option<&'a MethodRule>,
    span: Span,
    id: RequestId,
    started: Instant,
    answered: bool,
}

impl<'a> Observed<'a> {
    /// Opens the span of the call under the caller's trace.
    pub(super) fn begin(rule: Option<&'a MethodRule>, request: &Request) -> Self {
        let id = RequestId::in_extensions(request);
        let span = spans::served(rule.map(|_| request.uri().path()), id.as_str());
        bulkhead_telemetry::adopt(&span, request.headers());
        Self { rule, span, id, started: Instant::now(), answered: false }
    }

    /// For calls that are many and say little, as those of health: neither span nor line.
    pub(super) fn quiet(request: &Request) -> Self {
        let id = RequestId::in_extensions(request);
        Self { rule: None, span: Span::none(), id, started: Instant::now(), answered: false }
    }

    /// Runs the call in its span and logs one line when it is answered. A panic ends this call and nothing else.
    pub(super) async fn tell(self, handled: impl Future<Output = Result<Response, Fault>>) -> Response {
        let span = self.span.clone();
        self.told(handled).instrument(span).await
    }

    async fn told(mut self, handled: impl Future<Output = Result<Response, Fault>>) -> Response {
        let response = match AssertUnwindSafe(handled).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(fault)) => answer(fault),
            Err(_payload) => answer(panicked(&self.id)),
        };
        let response = match self.rule {
            Some(rule) if cfg!(debug_assertions) => hold_to_contract(response, rule),
            _ => response,
        };
        self.answered = true;
        log_answer(&response, self.started);
        response
    }
}

impl Drop for Observed<'_> {
    /// The handler was dropped: its caller reset the call or closed the connection, or the drain was over.
    fn drop(&mut self) {
        if !self.answered {
            let latency_ms = elapsed_ms(self.started);
            spans::answered(&self.span, Code::Cancelled);
            self.span.in_scope(|| tracing::info!(latency_ms, "given up: the caller is gone"));
        }
    }
}

fn panicked(id: &RequestId) -> Fault {
    tracing::error!("a handler panicked");
    let id = id.as_str();
    let fault = Fault::new(Code::Internal, "HANDLER_PANICKED").with("request_id", id);
    fault.saying(format!("the service failed; its log has the details under request id {id}"))
}

fn elapsed_ms(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1_000.0
}

fn log_answer(response: &Response, started: Instant) {
    let latency_ms = elapsed_ms(started);
    match response.extensions().get::<Status>() {
        Some(status) if status.code() != Code::Ok => log_fault(status, latency_ms),
        // How it ended is told by its trailers.
        _ => tracing::info!(latency_ms, "answered"),
    }
}

/// Logs an error under the current span, with the cause that is never sent.
fn log_fault(status: &Status, latency_ms: f64) {
    let code = status.code();
    spans::answered(&Span::current(), code);
    let cause = std::error::Error::source(status).map(|cause| chain(cause, ": "));
    let (message, cause) = (status.message(), cause.as_deref());
    if matches!(code, Code::Internal | Code::Unknown | Code::DataLoss | Code::Unavailable) {
        tracing::error!(latency_ms, ?code, error = message, cause, "failed");
    } else {
        tracing::warn!(latency_ms, ?code, error = message, cause, "refused");
    }
}

/// The response that carries a fault.
pub(super) fn answer(fault: Fault) -> Response {
    let mut response = fault.into_status().into_http::<Body>();
    // The protocol wants it where compression is refused; it is as true of every other refusal.
    response.headers_mut().insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    response
}
