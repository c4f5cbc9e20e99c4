//! No stream lives for ever: it ends when it is old, when it was silent for long, when its
//! caller's credential no longer stands, or when the service stops.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::Code;

use super::Gate;
use super::deadline::Deadline;
use super::shed::Place;
use crate::Fault;
use crate::identity::Standing;
use crate::serve::delivery;

/// How soon a stream that a stopping service ended may be opened again: a restart takes about as long.
const STOP_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Puts the limits on the stream that a response carries.
pub(super) fn limited(
    response: Response,
    deadline: Deadline,
    standing: Standing,
    place: Option<Place>,
    gate: &Gate,
) -> Response {
    delivery::end_by(deadline.at);
    response.map(|body| Body::new(Limited::new(body, deadline, standing, place, gate)))
}

/// A stream that, when it must end, ends with trailers that say why: its reader must know that it was cut.
struct Limited {
    body: Body,
    /// Held as long as the stream; what needs no identity has none.
    place: Option<Place>,
    deadline: Deadline,
    idle_timeout: Duration,
    /// When something was last sent.
    active: Instant,
    /// Wakes when the earlier of the two limits may have been reached.
    alarm: Pin<Box<Sleep>>,
    disowned: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl Limited {
    fn new(body: Body, deadline: Deadline, standing: Standing, place: Option<Place>, gate: &Gate) -> Self {
        let (active, idle_timeout) = (Instant::now(), gate.stream_idle_timeout);
        Self {
            body,
            place,
            deadline,
            idle_timeout,
            active,
            alarm: Box::pin(tokio::time::sleep_until(deadline.at.min(active + idle_timeout).into())),
            disowned: Box::pin(standing.ended()),
            stopping: Box::pin(gate.stopping.clone().cancelled_owned()),
            ended: false,
        }
    }

    /// Why the stream must end now.
    fn end(&mut self, context: &mut Context<'_>) -> Option<Fault> {
        // What was sent since the alarm was set moves it, so that sending costs no timer.
        while self.alarm.as_mut().poll(context).is_ready() {
            let (now, silent) = (Instant::now(), self.active + self.idle_timeout);
            if now >= self.deadline.at {
                return Some(self.too_old());
            }
            if now >= silent {
                return Some(self.too_silent());
            }
            self.alarm.as_mut().reset(self.deadline.at.min(silent).into());
        }
        if self.stopping.as_mut().poll(context).is_ready() {
            let fault = Fault::new(Code::Unavailable, "SERVICE_STOPPING").retry_after(STOP_RETRY_DELAY);
            return Some(fault.saying("the service is stopping; call again to go on"));
        }
        None
    }

    /// Ends the stream, and with it what feeds it.
    fn cut(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.ended = true;
        self.body = Body::empty();
        self.place = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(match fault.into_status().add_header(&mut trailers) {
            Ok(()) => Some(Ok(Frame::trailers(trailers))),
            Err(status) => Some(Err(axum::Error::new(status))),
        })
    }

    fn too_old(&self) -> Fault {
        if self.deadline.by_caller {
            return self.deadline.exceeded();
        }
        let fault = Fault::new(Code::DeadlineExceeded, "STREAM_AGE_LIMIT");
        fault
            .saying("the stream reached its age limit; call again to go on")
            .with("age_limit_ms", self.deadline.timeout.as_millis())
    }

    fn too_silent(&self) -> Fault {
        let fault = Fault::new(Code::DeadlineExceeded, "STREAM_IDLE_LIMIT");
        fault
            .saying("nothing was sent on the stream for as long as it may be silent; call again to go on")
            .with("idle_limit_ms", self.idle_timeout.as_millis())
    }
}

impl HttpBody for Limited {
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
            return self.cut(fault.saying("the credential was revoked or has expired"));
        }
        // What there is comes first, so that a short answer is never cut.
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.active = Instant::now();
            let more = frame.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_data));
            if more && self.active >= self.deadline.at {
                let fault = self.too_old();
                return self.cut(fault);
            }
            return Poll::Ready(frame);
        }
        match self.end(context) {
            Some(fault) => self.cut(fault),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}
