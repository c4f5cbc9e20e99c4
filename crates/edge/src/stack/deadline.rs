//! Nothing runs forever: a deadline for every unary call, an age limit for every stream.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Code;

use super::observe::{answer, request_id};
use super::{Gate, TimeoutRange};
use crate::call::margin;
use crate::identity::Standing;
use crate::{Call, Fault, Identity};

/// How soon a stream that a stopping service ended may be opened again: a restart takes about as long.
const STOP_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Reads `grpc-timeout`, gives the handler its [`Call`], and ends what takes longer.
pub(super) async fn bound(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let rule = gate.rules.get(request.uri().path());
    let streaming = rule.is_some_and(|rule| rule.server_streaming);
    let mutating = rule.is_some_and(|rule| rule.mutating);
    let range = if streaming { gate.stream_timeout } else { gate.unary_timeout };
    let timeout = match timeout(request.headers(), range) {
        Ok(timeout) => timeout,
        Err(fault) => return answer(fault),
    };
    let Some(identity) = request.extensions_mut().remove::<Arc<Identity>>() else {
        return answer(Fault::new(Code::Internal, "EDGE_MISSING"));
    };
    let standing = request.extensions_mut().remove::<Standing>().unwrap_or_default();
    let deadline = Instant::now() + timeout;
    let id = request_id(&request);
    request.extensions_mut().insert(Call { identity, request_id: id, deadline, margin: margin(timeout) });

    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) if streaming => limited(response, deadline, standing, gate.stopping),
        Ok(response) => response,
        Err(_elapsed) => answer(exceeded(timeout, mutating)),
    }
}

/// The age limit for streams that need no identity.
pub(super) async fn bound_stream(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + gate.stream_timeout.default;
    limited(next.run(request).await, deadline, Standing::default(), gate.stopping)
}

fn limited(
    response: Response,
    deadline: Instant,
    standing: Standing,
    stopping: CancellationToken,
) -> Response {
    response.map(|body| Body::new(AgeLimited::new(body, deadline, standing, stopping)))
}

fn exceeded(timeout: Duration, mutating: bool) -> Fault {
    let advice = if mutating { "; the same request_id, sent again, finds what was begun" } else { "" };
    Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .saying(format!("not finished within {} ms{advice}", timeout.as_millis()))
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

/// A stream that ends at its deadline, with its caller's credential, or when the service stops, with trailers that
/// say so: its reader must know that it was cut.
struct AgeLimited {
    body: Body,
    expiry: Pin<Box<Sleep>>,
    disowned: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl AgeLimited {
    fn new(body: Body, deadline: Instant, standing: Standing, stopping: CancellationToken) -> Self {
        Self {
            body,
            expiry: Box::pin(tokio::time::sleep_until(deadline.into())),
            disowned: Box::pin(standing.ended()),
            stopping: Box::pin(stopping.cancelled_owned()),
            ended: false,
        }
    }

    /// The last frame of a stream that is cut.
    fn cut(&mut self, fault: Fault) -> Option<Result<Frame<Bytes>, axum::Error>> {
        self.ended = true;
        let mut trailers = HeaderMap::new();
        Some(match fault.into_status().add_header(&mut trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(status) => Err(axum::Error::new(status)),
        })
    }

    /// Why the stream must end now.
    fn end(&mut self, context: &mut Context<'_>) -> Option<Fault> {
        if self.expiry.as_mut().poll(context).is_ready() {
            let fault = Fault::new(Code::DeadlineExceeded, "STREAM_AGE_LIMIT");
            return Some(fault.saying("the stream reached its age limit; call again to go on"));
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            let fault = Fault::new(Code::Unavailable, "SERVICE_STOPPING").retry_after(STOP_RETRY_DELAY);
            return Some(fault.saying("the service is stopping; call again to go on"));
        }
        None
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
        // Before what there is: a busy stream would outlive its credential.
        if self.disowned.as_mut().poll(context).is_ready() {
            let fault = Fault::new(Code::Unauthenticated, "CREDENTIAL_ENDED");
            return Poll::Ready(self.cut(fault.saying("the credential was revoked or has expired")));
        }
        // What there is comes first, so that a short answer is never cut.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        match self.end(context) {
            Some(fault) => Poll::Ready(self.cut(fault)),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
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
