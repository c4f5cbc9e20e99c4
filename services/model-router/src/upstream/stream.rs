//! One streamed HTTP exchange with a model.
//!
//! Promises that nothing is read ahead of whoever asks for the next piece, but for what one read of the connection
//! brings; that dropping the stream closes the connection, so that the model stops; and that silence is bounded at
//! every moment.

use std::collections::VecDeque;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, Version};
use reqwest::{Client, Response};
use tokio::time::{Instant, timeout_at};

use super::told::{self, Place};
use super::wire::{Exchange, read_body, transport};
use super::{Brief, Target};
use crate::chat::{Answer, Delta, Prompt, Usage};
use crate::failure::{Failure, Kind};
use crate::provider::stream::{Broken, Ended, Framing, Heard, Listener};
use crate::provider::{Adapter, Malformed};

/// What comes next of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// The next piece of the answer.
    Delta(Delta),
    /// The end: the whole answer, which the pieces put together are.
    Answer(Answer),
}

/// An answer on its way. Dropping it closes the connection.
#[derive(Debug)]
pub struct Streaming {
    adapter: &'static Adapter,
    http_status: u16,
    state: State,
    /// Pieces that were read and not asked for yet: those of one event.
    ready: VecDeque<Delta>,
    usage: Option<Usage>,
    clock: Clock,
}

#[derive(Debug)]
enum State {
    Reading(Reading),
    /// The answer, which waits for its pieces to be taken.
    Read(Answer),
    Over,
}

#[derive(Debug)]
struct Reading {
    response: Response,
    listener: Listener,
}

/// Sends the prompt and waits for the beginning of an answer.
pub(super) async fn open(
    http: &Client,
    target: &Target,
    prompt: &Prompt,
    brief: Brief,
) -> Result<Streaming, Failure> {
    let clock = Clock::start(&brief);
    let exchange = Exchange { http, target, prompt, brief, stream: true };
    let response = clock.within(0, exchange.send()).await??;
    let http_status = response.status().as_u16();
    if !response.status().is_success() {
        return Err(clock.within(http_status, exchange.refused(response)).await?);
    }
    let adapter = target.adapter;
    let mut streaming =
        Streaming { adapter, http_status, state: State::Over, ready: VecDeque::new(), usage: None, clock };
    if is_whole(adapter, &response) {
        let headers = response.headers().clone();
        let body = streaming.clock.within(http_status, read_body(response)).await?;
        let answer = body.map_err(|failure| Failure { http_status, ..failure })?;
        let told = |broken: Broken| told::failure(adapter, http_status, &headers, &broken, Place::Body);
        let answer = exchange.answer(&answer).map_err(told)?;
        streaming.ready = answer.blocks.iter().cloned().filter_map(Delta::of).collect();
        streaming.usage = Some(answer.usage);
        streaming.state = State::Read(answer);
    } else {
        let listener = Listener::new(adapter, prompt, &exchange.parameters());
        streaming.state = State::Reading(Reading { response, listener });
    }
    Ok(streaming)
}

/// Some servers answer whole although a stream was asked for. Where a line is an event, such an answer is a stream of
/// one line.
fn is_whole(adapter: &Adapter, response: &Response) -> bool {
    let json = |value: &http::HeaderValue| value.as_bytes().starts_with(b"application/json");
    adapter.framing == Framing::Sse && response.headers().get(CONTENT_TYPE).is_some_and(json)
}

/// Without a length or chunks (RFC 9112, section 6.3) the body ends with the connection, for whatever reason that ends.
fn ended(response: &Response) -> Ended {
    let is_told = response.version() > Version::HTTP_11
        || response.headers().contains_key(CONTENT_LENGTH)
        || response.headers().contains_key(TRANSFER_ENCODING);
    if is_told { Ended::Told } else { Ended::Closed }
}

impl Streaming {
    /// The next piece; the last one is the answer. Nothing is lost when the future is dropped before it is ready.
    ///
    /// # Errors
    /// [`Failure`], and then the stream is over; what came before it is no answer.
    pub async fn next(&mut self) -> Result<Piece, Failure> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Ok(Piece::Delta(delta));
            }
            match self.read().await {
                Ok(None) => {}
                Ok(Some(answer)) => return Ok(Piece::Answer(answer)),
                Err(failure) => {
                    self.state = State::Over;
                    return Err(failure);
                }
            }
        }
    }

    /// What the provider counted so far, also once the stream failed; none if it did not say.
    #[must_use]
    pub fn usage_so_far(&self) -> Option<Usage> {
        self.usage
    }

    /// Hears the next event, or waits for one, or gives the answer that was read.
    async fn read(&mut self) -> Result<Option<Answer>, Failure> {
        let State::Reading(reading) = &mut self.state else { return self.take_answer().map(Some) };
        let heard = reading.listener.hear();
        self.usage = reading.listener.usage_so_far();
        self.ready.extend(reading.listener.take());
        match heard {
            Ok(None) => self.wait().await?,
            Ok(Some(Heard::Nothing)) => {}
            Ok(Some(Heard::Content)) => self.clock.has_token = true,
            Ok(Some(Heard::End)) => self.close()?,
            Err(broken) => return Err(self.failure(&broken)),
        }
        Ok(None)
    }

    /// Waits for more bytes, or for the end of them.
    async fn wait(&mut self) -> Result<(), Failure> {
        let State::Reading(reading) = &mut self.state else { return Ok(()) };
        let http_status = self.http_status;
        let bytes = self.clock.within(http_status, reading.response.chunk()).await?;
        match bytes.map_err(|error| Failure { http_status, ..transport(&error) })? {
            Some(bytes) => reading.listener.push(&bytes),
            None => reading.listener.end(ended(&reading.response)),
        }
        Ok(())
    }

    /// The provider said its last word: the connection is of no more use.
    fn close(&mut self) -> Result<(), Failure> {
        if let State::Reading(reading) = std::mem::replace(&mut self.state, State::Over) {
            let answer = reading.listener.finish().map_err(|malformed| self.malformed(&malformed))?;
            self.usage = Some(answer.usage);
            self.state = State::Read(answer);
        }
        Ok(())
    }

    fn take_answer(&mut self) -> Result<Answer, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Read(answer) => Ok(answer),
            State::Reading(_) | State::Over => Err(self.malformed(&Malformed::cut())),
        }
    }

    fn failure(&self, broken: &Broken) -> Failure {
        let none = HeaderMap::new();
        let headers = match &self.state {
            State::Reading(reading) => reading.response.headers(),
            State::Read(_) | State::Over => &none,
        };
        told::failure(self.adapter, self.http_status, headers, broken, Place::Stream)
    }

    fn malformed(&self, malformed: &Malformed) -> Failure {
        told::malformed(self.http_status, malformed)
    }
}

/// Bounds the silence of one exchange.
#[derive(Debug)]
struct Clock {
    first_token: Instant,
    end: Instant,
    idle: Duration,
    /// The model has begun to answer.
    has_token: bool,
    limits: Limits,
}

/// The spans, for what is told.
#[derive(Debug, Clone, Copy)]
struct Limits {
    first_token: Duration,
    total: Duration,
}

impl Clock {
    fn start(brief: &Brief) -> Self {
        let now = Instant::now();
        let limits = Limits { first_token: brief.first_token_timeout, total: brief.timeout };
        Self {
            first_token: now + limits.first_token,
            end: now + brief.timeout,
            idle: brief.idle_timeout,
            has_token: false,
            limits,
        }
    }

    /// Waits for the server at most as long as it may be silent now. Time in which nobody waits does not count against
    /// the server, but for the exchange as a whole.
    async fn within<T>(&self, http_status: u16, step: impl Future<Output = T>) -> Result<T, Failure> {
        let until = if self.has_token { Instant::now() + self.idle } else { self.first_token };
        let step = timeout_at(until.min(self.end), step);
        step.await.map_err(|_elapsed| {
            let text = self.silence(until >= self.end);
            Failure { http_status, ..Failure::without_response(Kind::Silence, text) }
        })
    }

    /// What is told of it. `is_over`: the exchange as a whole took too long.
    fn silence(&self, is_over: bool) -> String {
        if is_over {
            format!("no complete answer within {} ms", self.limits.total.as_millis())
        } else if self.has_token {
            format!("nothing came for {} ms", self.idle.as_millis())
        } else {
            format!("no token came within {} ms", self.limits.first_token.as_millis())
        }
    }
}

#[cfg(test)]
mod tests;
