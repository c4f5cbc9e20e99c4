//! The answer of a peer, as it arrives.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::failure;
use super::target::Target;
use crate::stack::parse_timeout;

/// When a call with these headers must have been answered.
pub(super) fn deadline(headers: &HeaderMap) -> Option<Instant> {
    let timeout = headers.get("grpc-timeout")?.to_str().ok().and_then(parse_timeout)?;
    Instant::now().checked_add(timeout)
}

/// The body of an answer: ends with the deadline of its call, and says of a broken connection what it means.
pub(super) struct Answer {
    body: Incoming,
    target: Target,
    expiry: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Counts the call among those of its connection.
    _load: Arc<()>,
}

impl Answer {
    pub(super) fn new(body: Incoming, target: &Target, deadline: Option<Instant>, load: Arc<()>) -> Self {
        let expiry = deadline.map(|deadline| Box::pin(sleep_until(deadline)));
        Self { body, target: target.clone(), expiry, ended: false, _load: load }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.ended = !matches!(frame, Some(Ok(_)));
            return Poll::Ready(frame.map(|frame| frame.map_err(|error| failure::lost(&self.target, error))));
        }
        let expired = |expiry: &mut Pin<Box<Sleep>>| expiry.as_mut().poll(context).is_ready();
        if self.expiry.as_mut().is_some_and(expired) {
            self.ended = true;
            return Poll::Ready(Some(Err(failure::late(&self.target))));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
