//! One request at the moment it is answered.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::control::{Action, Answered, Malformed, Reply, StatusFault, StreamBreak, StreamFault};
use crate::courier::Courier;
use crate::failure::{failure, respond, with_request_id};
use crate::pace::{Beat, Break, Mishap, Pace, beats};
use crate::state::Receipt;
use crate::wire::{Answer, Delivery, Frame, Moment, Provider, Question, Refused};

/// The simulator stops; nobody is answered any more.
pub(crate) struct Stopping;

/// A request and all that its answer needs.
pub(crate) struct Stage<'a> {
    provider: Provider,
    question: &'a Question,
    moment: Moment,
    receipt: Receipt,
    stopping: &'a CancellationToken,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(
        provider: Provider,
        question: &'a Question,
        receipt: Receipt,
        now: Timestamp,
        stopping: &'a CancellationToken,
    ) -> Self {
        let moment = Moment { sequence: receipt.sequence(), now };
        Self { provider, question, moment, receipt, stopping }
    }

    /// # Errors
    /// When the simulator stops first.
    pub(crate) async fn wait(&self, time: Duration) -> Result<(), Stopping> {
        // A timer rounds up to milliseconds, also from nothing.
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.stopping.cancelled() => Err(Stopping),
        }
    }

    /// Does what the script says.
    ///
    /// # Errors
    /// When the simulator stops first.
    pub(crate) async fn perform(self, action: Action) -> Result<Response, Stopping> {
        match action {
            Action::Echo => self.reply(Reply::default()).await,
            Action::Reply(reply) => self.reply(reply).await,
            Action::Unstreamed(reply) => {
                self.wait(Duration::from_millis(reply.first_after_ms)).await?;
                let answer = self.question.answer(reply);
                Ok(self.deliver_whole(&answer))
            }
            Action::Status(fault) => Ok(self.fail(&fault)),
            Action::Malformed(how) => self.garble(how).await,
            Action::StreamFault(fault) => self.spoil(fault).await,
            Action::ToolFault(fault) => {
                let answer = self.question.miscall(fault);
                Ok(self.deliver(&answer, Pace::default()))
            }
            Action::ContextLength => Ok(self.fail_as_too_long()),
            Action::Cut => self.spoil(StreamFault::new(StreamBreak::Cut)).await,
            Action::Reset => Ok(self.reset()),
            Action::Silence => {
                self.stopping.cancelled().await;
                Err(Stopping)
            }
        }
    }

    async fn reply(self, reply: Reply) -> Result<Response, Stopping> {
        let pace = self.pace(&reply).await?;
        let answer = self.question.answer(reply);
        Ok(self.deliver(&answer, pace))
    }

    fn deliver(self, answer: &Answer, pace: Pace) -> Response {
        match self.question.delivery {
            Delivery::Plain => self.deliver_whole(answer),
            Delivery::Stream { .. } => {
                let frames = self.provider.frames(self.question, answer, self.moment);
                self.send(beats(frames, pace, None), Answered::Status(200))
            }
        }
    }

    fn deliver_whole(self, answer: &Answer) -> Response {
        let response = Json(self.provider.answer(self.question, answer, self.moment)).into_response();
        self.receipt.finish(Answered::Status(200));
        with_request_id(response, self.provider, self.moment)
    }

    /// The pauses of a stream. A plain answer waits here, as a whole.
    async fn pace(&self, reply: &Reply) -> Result<Pace, Stopping> {
        let first_after = Duration::from_millis(reply.first_after_ms);
        match self.question.delivery {
            Delivery::Plain => self.wait(first_after).await.map(|()| Pace::default()),
            Delivery::Stream { .. } => Ok(Pace { first_after, pause: Duration::from_millis(reply.pause_ms) }),
        }
    }

    /// An answer that goes wrong on its way.
    async fn spoil(self, fault: StreamFault) -> Result<Response, Stopping> {
        let pace = self.pace(&fault.reply).await?;
        let answer = self.question.answer(fault.reply);
        let failed = failing(fault.how, self.provider);
        let frames = match (self.question.delivery, failed) {
            (Delivery::Plain, Some(code)) => return Ok(self.fail(&StatusFault::new(code))),
            (Delivery::Plain, None) => {
                halves(&self.provider.answer(self.question, &answer, self.moment).to_string())
            }
            (Delivery::Stream { .. }, _) => self.provider.frames(self.question, &answer, self.moment),
        };
        let event = match (failed, self.question.delivery) {
            (Some(code), _) => self.provider.event(&self.provider.error(code, None, self.moment)),
            (None, Delivery::Stream { .. }) => self.provider.ping(),
            (None, Delivery::Plain) => b" ".to_vec(),
        };
        let mishap = Mishap { how: fault.how, after_pieces: fault.after_pieces, event };
        Ok(self.send(beats(frames, pace, Some(mishap)), outcome(fault.how)))
    }

    /// A success that is none.
    async fn garble(self, how: Malformed) -> Result<Response, Stopping> {
        let other = json!({ "unexpected": true });
        let (kind, body) = match (how, self.question.delivery) {
            (Malformed::Truncated, _) => return self.spoil(StreamFault::new(StreamBreak::Ended)).await,
            (Malformed::WrongShape, Delivery::Plain) => ("application/json", other.to_string().into()),
            (Malformed::WrongShape, Delivery::Stream { .. }) => {
                (self.provider.stream_type(), self.provider.event(&other))
            }
            (Malformed::Html, _) => ("text/html", "<html><body>Bad gateway</body></html>".into()),
        };
        self.receipt.finish(Answered::Malformed);
        Ok(([("content-type", kind)], body).into_response())
    }

    fn send(self, beats: VecDeque<Beat>, outcome: Answered) -> Response {
        let kind = match self.question.delivery {
            Delivery::Plain => "application/json",
            Delivery::Stream { .. } => self.provider.stream_type(),
        };
        let courier = Courier { beats, outcome, receipt: self.receipt, stopping: self.stopping.clone() };
        let response = ([("content-type", kind)], courier.into_body()).into_response();
        with_request_id(response, self.provider, self.moment)
    }

    fn fail(self, fault: &StatusFault) -> Response {
        self.receipt.finish(Answered::Status(fault.code));
        failure(self.provider, fault, self.moment)
    }

    fn fail_as_too_long(self) -> Response {
        let (code, body) = self.provider.too_long(self.question, self.moment);
        self.receipt.finish(Answered::Status(code));
        respond(self.provider, code, body, self.moment)
    }

    fn reset(self) -> Response {
        self.receipt.finish(Answered::Reset);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Break::Reset);
        response
    }
}

/// What is told to those who wait while the simulator stops.
pub(crate) fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the simulator stops\n").into_response()
}

/// A request that the provider would not take.
pub(crate) fn refuse(provider: Provider, refused: &Refused, receipt: Receipt, now: Timestamp) -> Response {
    let fault = StatusFault { message: Some(refused.message.clone()), ..StatusFault::new(refused.status) };
    let moment = Moment { sequence: receipt.sequence(), now };
    receipt.finish(Answered::Status(fault.code));
    failure(provider, &fault, moment)
}

/// A plain answer as something that can be broken in the middle.
fn halves(body: &str) -> Vec<Frame> {
    let bytes = body.as_bytes();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    vec![Frame::piece(first.to_vec()), Frame::terminator(second.to_vec())]
}

/// The status of which an error event tells.
fn failing(how: StreamBreak, provider: Provider) -> Option<u16> {
    match how {
        StreamBreak::Overloaded => Some(provider.overloaded()),
        StreamBreak::Error(code) => Some(code),
        StreamBreak::Cut
        | StreamBreak::Reset
        | StreamBreak::Stall
        | StreamBreak::Pings
        | StreamBreak::Endless
        | StreamBreak::Bloated
        | StreamBreak::Garbage
        | StreamBreak::Ended
        | StreamBreak::Unterminated => None,
    }
}

fn outcome(how: StreamBreak) -> Answered {
    match how {
        StreamBreak::Cut => Answered::Cut,
        StreamBreak::Reset => Answered::Reset,
        // Nobody but the client ends those.
        StreamBreak::Stall | StreamBreak::Pings | StreamBreak::Endless | StreamBreak::Bloated => {
            Answered::Abandoned
        }
        StreamBreak::Garbage | StreamBreak::Ended | StreamBreak::Unterminated => Answered::Malformed,
        StreamBreak::Overloaded | StreamBreak::Error(_) => Answered::Failed,
    }
}
