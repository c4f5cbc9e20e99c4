//! Calls that go out to peers.

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};
use std::time::Instant;

use bulkhead_telemetry::metrics::{self, Histogram};
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;
use tracing::{Instrument as _, Span};

use super::Method;
use super::body::{Ending, Watched, code};
use crate::peer::Server;
use crate::spans;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Time from a call to a peer to the end of its answer, by RPC and status.";
    metrics::seconds("rpc.client.call.duration", description)
});

/// A channel whose calls are counted and traced.
#[derive(Debug, Clone)]
pub struct Measured<S> {
    channel: S,
    server: Server,
}

impl<S> Measured<S> {
    /// Counts what goes through `channel`, which leads to `server`.
    pub(crate) fn new(channel: S, server: Server) -> Self {
        Self { channel, server }
    }
}

impl<S> Service<Request<Body>> for Measured<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: std::error::Error + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.channel.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut call = PeerCall::begin(request.uri().path(), &self.server);
        let span = call.span.clone();
        // What goes out names this span as its parent.
        let answer = span.in_scope(|| self.channel.call(request));
        let told = async move {
            let response = answer.await.inspect_err(|error| call.end(failed(error), None))?;
            if response.headers().contains_key(Status::GRPC_STATUS) {
                call.end(code(response.headers()), None);
            }
            Ok(response.map(|body| Body::new(Watched::new(body, call))))
        };
        Box::pin(told.instrument(span))
    }
}

/// What a failure to call comes to: the status inside it, or that the peer was not there.
fn failed(error: &(dyn std::error::Error + 'static)) -> Code {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(status) = error.downcast_ref::<Status>() {
            return status.code();
        }
        cause = error.source();
    }
    Code::Unavailable
}

#[derive(Debug)]
struct PeerCall {
    method: &'static Method,
    span: Span,
    started: Instant,
    ended: bool,
}

impl PeerCall {
    fn begin(path: &str, server: &Server) -> Self {
        let span = spans::asked(path, server);
        Self { method: Method::at(path), span, started: Instant::now(), ended: false }
    }
}

impl Ending for PeerCall {
    fn end(&mut self, code: Code, _trailers: Option<&HeaderMap>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        spans::told(&self.span, code);
        let seconds = self.started.elapsed().as_secs_f64();
        let Method { asked, answered, .. } = self.method;
        match code {
            Code::Ok => asked.get_or_init(|| DURATION.bind(answered)).record(seconds),
            _ => DURATION.record(seconds, &self.method.ended(code)),
        }
    }
}

impl Drop for PeerCall {
    fn drop(&mut self) {
        self.end(Code::Cancelled, None);
    }
}
