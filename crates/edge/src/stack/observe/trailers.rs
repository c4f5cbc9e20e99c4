//! Errors that come after the headers.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::{Code, Status};

use crate::Fault;
use crate::serve::MESSAGE_BYTES_MAX;

/// A body whose trailers say what the contract promises. tonic finds out that an answer is too large only
/// while it writes it, and then says OUT_OF_RANGE without any detail.
pub(super) struct Completed(Body);

impl Completed {
    pub(super) fn new(body: Body) -> Self {
        Self(body)
    }
}

impl HttpBody for Completed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.0).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(complete)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn complete(frame: Frame<Bytes>) -> Frame<Bytes> {
    let trailers = match frame.into_trailers() {
        Ok(trailers) => trailers,
        Err(data) => return data,
    };
    let told = Status::from_header_map(&trailers);
    let oversized = told.is_some_and(|told| told.code() == Code::OutOfRange && told.details().is_empty());
    if !oversized {
        return Frame::trailers(trailers);
    }
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
