//! How a call ended, as its answer tells it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

/// Told how a call ended, once. Dropped untold: whoever waited for the answer went away.
pub(super) trait Ending: Send + Unpin + 'static {
    fn end(&mut self, code: Code, trailers: Option<&HeaderMap>);
}

/// A body that reads the trailers as they pass.
#[derive(Debug)]
pub(super) struct Watched<B, E> {
    body: B,
    ending: E,
}

impl<B, E> Watched<B, E> {
    pub(super) fn new(body: B, ending: E) -> Self {
        Self { body, ending }
    }
}

impl<B, E> Body for Watched<B, E>
where
    B: Body<Data = Bytes> + Unpin,
    E: Ending,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.ending.end(code(trailers), Some(trailers));
                }
            }
            Some(Err(_)) | None => self.ending.end(Code::Unknown, None),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The status in trailers, or in the headers of an answer that has nothing else.
pub(super) fn code(headers: &HeaderMap) -> Code {
    headers.get(Status::GRPC_STATUS).map_or(Code::Unknown, |value| Code::from_bytes(value.as_bytes()))
}
