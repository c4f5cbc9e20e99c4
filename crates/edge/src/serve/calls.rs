//! The calls of one connection: handing them to the stack, and knowing when there are none.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::delivery;
use crate::ClientCertificate;
use crate::stack::received;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: std::net::SocketAddr,
    pub(super) certificate: Option<ClientCertificate>,
}

/// Hands each request of one connection to the stack.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) router: Router,
    pub(super) caller: Caller,
    pub(super) activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = http::Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let open = OpenCall::new(&self.activity);
        let (router, caller) = (self.router.clone(), self.caller.clone());
        Box::pin(async move {
            delivery::begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(caller.address));
            if let Some(certificate) = caller.certificate {
                request.extensions_mut().insert(certificate);
            }
            let response = received(router, request).await;
            Ok(response.map(|body| Answer { body, rest: Bytes::new(), _open: open }))
        })
    }
}

/// The calls that are open on a connection, and since when there are none.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    open: AtomicUsize,
    /// Milliseconds from the begin of the connection to the end of its last call; none was made before it is set.
    ended_ms: AtomicU64,
}

/// In [`Activity::ended_ms`] while nothing was asked for.
const NOTHING_ASKED: u64 = u64::MAX;

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let ended_ms = AtomicU64::new(NOTHING_ASKED);
        Arc::new(Self { began: Instant::now(), open: AtomicUsize::new(0), ended_ms })
    }

    /// Resolves when nothing was asked for within `first`, or there was no call for `idle`, which is noticed
    /// within two times `idle`.
    pub(super) async fn ceased(&self, first: Duration, idle: Duration) {
        tokio::time::sleep_until(self.began + first).await;
        while let Some(due) = self.due(idle) {
            if due <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    /// When the connection will have been idle for long enough, if nothing happens; none when nothing ever did.
    fn due(&self, idle: Duration) -> Option<Instant> {
        if self.open.load(Ordering::Relaxed) > 0 {
            return Some(Instant::now() + idle);
        }
        match self.ended_ms.load(Ordering::Relaxed) {
            NOTHING_ASKED => None,
            ended => Some(self.began + Duration::from_millis(ended) + idle),
        }
    }
}

/// A call from its request until its answer was handed to the transport or given up.
struct OpenCall(Arc<Activity>);

impl OpenCall {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let elapsed = u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(NOTHING_ASKED - 1);
        // First the time, so that nobody sees no call and an old end.
        self.0.ended_ms.store(elapsed, Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::Release);
        delivery::end();
    }
}

/// The most of an answer that is handed to the transport at once, in bytes: a frame of HTTP/2 as peers take it
/// unless they say otherwise. What was handed over is out of our hands: hyper ends a call when the last of it is
/// queued, read or not, and nobody could give it up any more.
const PIECE_BYTES: usize = 16 << 10;

/// The body of an answer, in pieces. Keeps its call open.
pub(super) struct Answer {
    body: Body,
    /// Of the frame that is being handed over.
    rest: Bytes,
    _open: OpenCall,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)?) else {
                return Poll::Ready(None);
            };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let length = self.rest.len().min(PIECE_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), u64::try_from(self.rest.len()).unwrap_or(u64::MAX));
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
