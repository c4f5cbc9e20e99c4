//! Calls that come in.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::body::Body;
use axum::response::Response;
use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};
use http::{HeaderMap, StatusCode};
use tonic::{Code, Status};

use super::Method;
use super::body::{Ending, Watched, code};
use crate::peer::reason;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Time from the request to the end of the answer, by RPC and status.";
    metrics::seconds("rpc.server.call.duration", description)
});

static ERRORS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Calls answered with an error, by its reason.";
    // What an operator watches for is there before it happens.
    let refusals = ["CREDENTIAL_REQUIRED", "TOO_MANY_FAILED_CREDENTIALS", "ROLE_REQUIRED", "OVERLOADED"]
        .map(|reason| [error_type(reason)]);
    metrics::counter("bulkhead.rpc.server.errors", description, &refusals.each_ref().map(<[_; 1]>::as_slice))
});

/// Makes the instruments show before the first call.
pub(super) fn register() {
    LazyLock::force(&DURATION);
    LazyLock::force(&ERRORS);
}

/// A call that is being served; counted when its answer has ended, or when nobody waits for it any longer.
#[derive(Debug)]
pub(crate) struct ServerCall {
    method: &'static Method,
    started: Instant,
    ended: bool,
}

impl ServerCall {
    /// A call of the RPC at `path` begins.
    pub(crate) fn begin(path: &str) -> Self {
        Self { method: opened(path), started: Instant::now(), ended: false }
    }

    /// The call turns out to be one of the RPC at `path`, which only its body told.
    pub(crate) fn turn_into(&mut self, path: &str) {
        self.method.open.fetch_sub(1, Ordering::Relaxed);
        self.method = opened(path);
    }

    /// Follows the answer to its end.
    pub(crate) fn follow(mut self, response: Response) -> Response {
        match ended(&response) {
            Some((code, reason)) => {
                self.record(code, &reason);
                response
            }
            None => response.map(|body| Body::new(Watched::new(body, self))),
        }
    }

    fn record(&mut self, code: Code, reason: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.method.open.fetch_sub(1, Ordering::Relaxed);
        let seconds = self.started.elapsed().as_secs_f64();
        if code == Code::Ok {
            let Method { served, answered, .. } = self.method;
            served.get_or_init(|| DURATION.bind(answered)).record(seconds);
            return;
        }
        DURATION.record(seconds, &self.method.ended(code));
        // Reasons are words of our code; what comes without one ended without an answer of ours.
        let reason = if reason.is_empty() { super::status_name(code) } else { reason };
        ERRORS.add(1, &[error_type(reason)]);
    }
}

impl Ending for ServerCall {
    fn end(&mut self, code: Code, trailers: Option<&HeaderMap>) {
        let told = trailers.filter(|_| code != Code::Ok).and_then(Status::from_header_map);
        self.record(code, &told.as_ref().map(reason).unwrap_or_default());
    }
}

impl Drop for ServerCall {
    fn drop(&mut self) {
        self.record(Code::Cancelled, "");
    }
}

/// The RPC at a path, of which one more call is open.
fn opened(path: &str) -> &'static Method {
    let method = Method::at(path);
    method.begun.fetch_add(1, Ordering::Relaxed);
    method.open.fetch_add(1, Ordering::Relaxed);
    method
}

/// How an answer without a body ended; none: its trailers will tell.
fn ended(response: &Response) -> Option<(Code, String)> {
    if let Some(status) = response.extensions().get::<Status>() {
        return Some((status.code(), reason(status)));
    }
    if response.status() != StatusCode::OK {
        // Plain HTTP at the path of an RPC.
        return Some((Code::Unknown, "NOT_GRPC".to_owned()));
    }
    response.headers().contains_key(Status::GRPC_STATUS).then(|| (code(response.headers()), String::new()))
}

fn error_type(reason: &str) -> KeyValue {
    KeyValue::new("error.type", reason.to_owned())
}
