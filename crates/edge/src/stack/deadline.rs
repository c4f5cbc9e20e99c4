//! Nothing runs forever: a deadline for every unary call, an age limit for every stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::Code;

use super::observe::{answer, request_id};
use super::{Gate, TimeoutRange};
use crate::tokens::Identity;
use crate::{Call, Fault};

/// Reads `grpc-timeout`, gives the handler its [`Call`], and ends what takes longer.
pub(super) async fn bound(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let streaming = gate.rules.get(request.uri().path()).is_some_and(|rule| rule.server_streaming);
    let range = if streaming { gate.stream_timeout } else { gate.unary_timeout };
    let timeout = match timeout(request.headers(), range) {
        Ok(timeout) => timeout,
        Err(fault) => return answer(fault),
    };
    let Some(identity) = request.extensions_mut().remove::<Identity>() else {
        return answer(Fault::new(Code::Internal, "EDGE_MISSING"));
    };
    let deadline = Instant::now() + timeout;
    let id = request_id(&request);
    request.extensions_mut().insert(Call { identity, request_id: id, deadline });

    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) if streaming => response.map(|body| Body::new(AgeLimited::new(body, deadline))),
        Ok(response) => response,
        Err(_elapsed) => answer(exceeded(timeout)),
    }
}

fn exceeded(timeout: Duration) -> Fault {
    Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .saying(format!("not finished within {} ms; ask for the outcome by request id", timeout.as_millis()))
        .with("timeout_ms", timeout.as_millis())
}

fn timeout(headers: &HeaderMap, range: TimeoutRange) -> Result<Duration, Fault> {
    let Some(sent) = headers.get("grpc-timeout") else { return Ok(range.default) };
    let parsed = sent.to_str().ok().and_then(parse);
    parsed.map(|timeout| timeout.min(range.max)).ok_or_else(|| {
        Fault::new(Code::InvalidArgument, "INVALID_REQUEST")
            .saying("the header grpc-timeout is not valid")
            .violation("grpc-timeout", "must be 1 to 8 digits and one of H, M, S, m, u, n")
    })
}

/// `TimeoutValue TimeoutUnit` of the gRPC over HTTP/2 protocol.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(value * 3_600)),
        'M' => Some(Duration::from_secs(value * 60)),
        'S' => Some(Duration::from_secs(value)),
        'm' => Some(Duration::from_millis(value)),
        'u' => Some(Duration::from_micros(value)),
        'n' => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// A stream that ends with DEADLINE_EXCEEDED at its deadline, so that its reader knows it was cut.
struct AgeLimited {
    body: Body,
    expiry: Pin<Box<Sleep>>,
    ended: bool,
}

impl AgeLimited {
    fn new(body: Body, deadline: Instant) -> Self {
        Self { body, expiry: Box::pin(tokio::time::sleep_until(deadline.into())), ended: false }
    }
}

impl HttpBody for AgeLimited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.expiry.as_mut().poll(context).is_ready() {
            self.ended = true;
            let mut trailers = HeaderMap::new();
            let fault = Fault::new(Code::DeadlineExceeded, "STREAM_AGE_LIMIT");
            let status = fault.saying("the stream reached its age limit; call again to go on").into_status();
            return Poll::Ready(match status.add_header(&mut trailers) {
                Ok(()) => Some(Ok(Frame::trailers(trailers))),
                Err(status) => Some(Err(axum::Error::new(status))),
            });
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = [
            ("1H", 3_600_000),
            ("2M", 120_000),
            ("3S", 3_000),
            ("4m", 4),
            ("5000u", 5),
            ("99999999m", 99_999_999),
        ];
        for (text, millis) in read {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "S", "1", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "1é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
