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

pub(super) use complete::{completed, too_large};
pub(crate) use request_id::RequestId;

/// How messages may be compressed.
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A call that will be told of when it is answered, or when its caller went away before that.
pub(super) struct Observed {
    span: Span,
    id: RequestId,
    started: Instant,
    answered: bool,
}

impl Observed {
    /// Opens the span of the call under the caller's trace; `rpc` is the path of an RPC of the contract.
    pub(super) fn begin(rpc: Option<&str>, request: &Request) -> Self {
        let id = RequestId::in_extensions(request);
        let span = spans::served(rpc, id.as_str());
        bulkhead_telemetry::adopt(&span, request.headers());
        Self { span, id, started: Instant::now(), answered: false }
    }

    /// For calls that are many and say little, as those of health: neither span nor line.
    pub(super) fn quiet(request: &Request) -> Self {
        let id = RequestId::in_extensions(request);
        Self { span: Span::none(), id, started: Instant::now(), answered: false }
    }

    /// Runs the call in its span. A panic ends this call and nothing else.
    pub(super) async fn run<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let guarded = async {
            let caught = AssertUnwindSafe(call).catch_unwind().await;
            caught.unwrap_or_else(|_payload| Err(panicked(&self.id)))
        };
        guarded.instrument(self.span.clone()).await
    }

    /// The answer, which is logged in one line; `rule` is that of the RPC, if it is one of the contract.
    pub(super) fn tell(mut self, handled: Result<Response, Fault>, rule: Option<&MethodRule>) -> Response {
        let _in_span = self.span.clone().entered();
        let response = handled.unwrap_or_else(answer);
        let response = match rule {
            Some(rule) if cfg!(debug_assertions) => hold_to_contract(response, rule),
            _ => response,
        };
        self.answered = true;
        log_answer(&response, self.started);
        response
    }
}

impl Drop for Observed {
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
