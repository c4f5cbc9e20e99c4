//! Errors that come after the headers.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status};
use tracing::Span;

use crate::Fault;
use crate::serve::MESSAGE_BYTES_MAX;
use crate::spans;

/// A body whose trailers say what the contract promises, and whose errors are logged under the call's span.
/// tonic finds out that an answer is too large only while it writes it, and then says OUT_OF_RANGE without any
/// detail.
pub(super) struct Completed {
    body: Body,
    span: Span,
    started: Instant,
    ended: bool,
}

impl Completed {
    pub(super) fn new(body: Body, span: Span) -> Self {
        Self { body, span, started: Instant::now(), ended: false }
    }

    fn complete(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let trailers = match frame.into_trailers() {
            Ok(trailers) => trailers,
            Err(data) => return data,
        };
        self.ended = true;
        let Some(told) = Status::from_header_map(&trailers).filter(|told| told.code() != Code::Ok) else {
            spans::answered(&self.span, Code::Ok);
            return Frame::trailers(trailers);
        };
        let latency_ms = self.started.elapsed().as_secs_f64() * 1_000.0;
        self.span.in_scope(|| super::super::log_fault(&told, latency_ms));
        if told.code() == Code::OutOfRange && told.details().is_empty() {
            return too_large(trailers);
        }
        Frame::trailers(trailers)
    }
}

impl HttpBody for Completed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        let this = self.get_mut();
        Poll::Ready(frame.map(|frame| frame.map(|frame| this.complete(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Completed {
    /// Its caller went away in the middle of the answer.
    fn drop(&mut self) {
        if !self.ended {
            spans::answered(&self.span, Code::Cancelled);
        }
    }
}

fn too_large(trailers: HeaderMap) -> Frame<Bytes> {
    let fault = Fault::new(Code::ResourceExhausted, "ANSWER_TOO_LARGE")
        .saying(format!(
            "the answer has more than {MESSAGE_BYTES_MAX} bytes; ask for less, as with a smaller page_size"
        ))
        .with("bytes_max", MESSAGE_BYTES_MAX);
    let mut completed = HeaderMap::new();
    match fault.into_status().add_header(&mut completed) {
        Ok(()) => Frame::trailers(completed),
        Err(_status) => Frame::trailers(trailers),
    }
}
