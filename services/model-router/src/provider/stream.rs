//! Streamed answers: bytes into events, and events into an answer. Pure.
//!
//! Promises that the pieces of a stream, put together, are the blocks of its answer; that a tool call is a piece only
//! when it is whole and may be used; and that a stream whose provider did not say that it is over is no answer.

use std::fmt::Debug;

use serde_json::Value;

use super::sse::Event;
use super::{ANSWER_BYTES_MAX, DecodeError, Limits, Malformed, ndjson, sse};
use crate::chat::{Answer, Delta, Usage};

/// Of a stream: an event may hold a whole answer, and around each token stand a few hundred bytes of envelope.
pub(crate) const LIMITS: Limits =
    Limits { event_bytes_max: ANSWER_BYTES_MAX, total_bytes_max: 16 * ANSWER_BYTES_MAX };

/// What an event said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing of the answer: the server lives.
    Nothing,
    /// A piece of the answer, though maybe not one that can be given out yet.
    Content,
    /// The provider's last word.
    End,
}

/// Reads one stream of one provider.
pub(crate) trait Reader: Debug + Send {
    /// Takes the next event. After an error or [`Heard::End`] there is nothing more to say.
    ///
    /// # Errors
    /// [`Broken`].
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken>;

    /// The pieces since the last time.
    fn take(&mut self) -> Vec<Delta>;

    /// What the provider counted so far; none if it did not say. It may grow.
    fn usage_so_far(&self) -> Option<Usage>;

    /// The answer.
    ///
    /// # Errors
    /// [`Malformed`], of the kind of a connection that was reset, unless the provider's last word was heard.
    fn finish(self: Box<Self>) -> Result<Answer, Malformed>;
}

/// Why a stream gives no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// What it says cannot be used.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The provider says in the stream what it had else said with a status.
    #[error("the provider reported an error in the stream (as HTTP {status})")]
    Told {
        /// The status that the same error has as an answer of its own.
        status: u16,
        /// As the body of such an answer.
        body: Value,
    },
}

impl From<DecodeError> for Malformed {
    fn from(error: DecodeError) -> Self {
        Self::new(error.to_string())
    }
}

impl Event {
    /// Its data as JSON.
    pub(crate) fn json(&self) -> Result<Value, Malformed> {
        serde_json::from_str(&self.data).map_err(|error| {
            Malformed::new(format!(
                "an event of the stream is not JSON (line {}, column {})",
                error.line(),
                error.column()
            ))
        })
    }
}

/// How a stream is cut into events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events.
    Sse,
    /// A line, an event.
    Ndjson,
}

/// Cuts one stream into events.
#[derive(Debug)]
pub(crate) enum Frames {
    Sse(sse::Decoder),
    Ndjson(ndjson::Decoder),
}

impl Frames {
    pub(crate) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Sse => Self::Sse(sse::Decoder::new(LIMITS)),
            Framing::Ndjson => Self::Ndjson(ndjson::Decoder::new(LIMITS)),
        }
    }

    /// Takes the next piece; ask for events until there are none before the next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Sse(decoder) => decoder.push(bytes),
            Self::Ndjson(decoder) => decoder.push(bytes),
        }
    }

    /// The next event; none until more is pushed.
    pub(crate) fn event(&mut self) -> Result<Option<Event>, DecodeError> {
        match self {
            Self::Sse(decoder) => decoder.event(),
            Self::Ndjson(decoder) => Ok(decoder.line()?.map(unnamed)),
        }
    }

    /// The last event, where the stream's end is the end of it too.
    pub(crate) fn rest(&mut self) -> Result<Option<Event>, DecodeError> {
        match self {
            Self::Sse(_) => Ok(None),
            Self::Ndjson(decoder) => Ok(decoder.rest()?.map(unnamed)),
        }
    }
}

fn unnamed(data: String) -> Event {
    Event { name: String::new(), data }
}
