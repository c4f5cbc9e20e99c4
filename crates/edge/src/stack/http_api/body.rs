//! Bodies of HTTP APIs: read as a whole, and ended as the stack and the client each expect it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::{Code, Status};

use super::Streaming;
use crate::Fault;
use crate::stack::Gate;
use crate::stack::observe::too_large;

/// The request with its whole body in memory, and the RPC that it is if it asks for a stream.
pub(super) async fn whole(
    request: Request,
    streaming: Option<Streaming>,
    gate: &Gate,
) -> Result<(Request, Option<&'static str>), Fault> {
    let (parts, body) = request.into_parts();
    let read = Limited::new(body, gate.message_bytes_max).collect().await;
    let bytes = read.map_err(|error| unread(error, gate))?.to_bytes();
    let rpc = streaming.filter(|streaming| (streaming.wanted)(&bytes)).map(|streaming| streaming.rpc);
    Ok((Request::from_parts(parts, Body::from(bytes)), rpc))
}

/// As of compressed messages: what is never unpacked cannot be a bomb.
pub(super) fn refuse_encoding(headers: &HeaderMap) -> Result<(), Fault> {
    if headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding == "identity") {
        return Ok(());
    }
    let fault = Fault::new(Code::Unimplemented, "COMPRESSION_UNSUPPORTED");
    Err(fault.saying("compressed bodies are not accepted; send without content-encoding"))
}

fn unread(error: Box<dyn std::error::Error + Send + Sync>, gate: &Gate) -> Fault {
    if error.is::<LengthLimitError>() {
        return too_large(gate);
    }
    let cause = std::io::Error::other(error);
    Fault::new(Code::InvalidArgument, "MALFORMED_REQUEST")
        .saying("the body did not come whole")
        .because(cause)
}

/// What a handler streams, with the trailers that the stack reads: those of success where it has none.
pub(super) struct Ended {
    body: Body,
    ended: bool,
}

impl Ended {
    pub(super) fn new(body: Body) -> Self {
        Self { body, ended: false }
    }
}

impl HttpBody for Ended {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.ended = !matches!(&frame, Some(Ok(frame)) if frame.is_data());
        Poll::Ready(frame.or_else(|| Some(Ok(Frame::trailers(success())))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn success() -> HeaderMap {
    HeaderMap::from_iter([(Status::GRPC_STATUS.clone(), HeaderValue::from_static("0"))])
}

/// The same on its way out: a client of HTTP gets no trailers, so a failure is the last of the data.
pub(super) struct Spoken {
    body: Body,
    ending: fn(&Status) -> Bytes,
    ended: bool,
}

impl Spoken {
    pub(super) fn new(body: Body, ending: fn(&Status) -> Bytes) -> Self {
        Self { body, ending, ended: false }
    }

    fn end(&mut self, trailers: &HeaderMap) -> Option<Frame<Bytes>> {
        self.ended = true;
        let status = Status::from_header_map(trailers).filter(|status| status.code() != Code::Ok);
        status.map(|status| Frame::data((self.ending)(&status)))
    }
}

impl HttpBody for Spoken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match frame.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(data))) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Ok(Err(last))) => {
                let trailers = last.into_trailers().unwrap_or_default();
                Poll::Ready(self.end(&trailers).map(Ok))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
