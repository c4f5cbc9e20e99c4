//! Streamed answers: bytes into events, and events into an answer. Pure.
//!
//! Promises that the pieces of a stream, put together, are the blocks of its answer; that a tool call is a piece only
//! when it is whole and may be used; and that a stream whose provider did not say that it is over is no answer.

use std::fmt::Debug;

use serde_json::Value;

use super::json::Json;
use super::sse::Event;
use super::{ANSWER_BYTES_MAX, Adapter, DecodeError, Limits, Malformed, Parameters, ndjson, sse};
use crate::chat::{Answer, Delta, Prompt, Usage};
use crate::failure::Kind;

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

    /// The bytes ended as the server had announced, and not within an event. Whether that is a last word too.
    fn is_over_at_end(&mut self) -> bool {
        false
    }

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
    pub(crate) fn json(&self) -> Result<Json<'_>, Malformed> {
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

/// Listens to one stream: bytes in, pieces of the answer out.
#[derive(Debug)]
pub(crate) struct Listener {
    frames: Frames,
    reader: Box<dyn Reader>,
    /// Nothing more will be pushed.
    end: Option<Ended>,
}

/// How the bytes of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With the end that the server had announced, by a length or by chunks.
    Told,
    /// The connection was closed, as a cut does too.
    Closed,
}

impl Listener {
    pub(crate) fn new(adapter: &Adapter, prompt: &Prompt, parameters: &Parameters<'_>) -> Self {
        let frames = match adapter.framing {
            Framing::Sse => Frames::Sse(sse::Decoder::new(LIMITS)),
            Framing::Ndjson => Frames::Ndjson(ndjson::Decoder::new(LIMITS)),
        };
        Self { frames, reader: (adapter.reader)(prompt, parameters), end: None }
    }

    /// Takes the next bytes; hear everything before the next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// Nothing more will come.
    pub(crate) fn end(&mut self, end: Ended) {
        self.end = Some(end);
    }

    /// Hears the next event; none until more is pushed.
    ///
    /// # Errors
    /// [`Broken`]; where the bytes ended before the answer did, as a cut.
    pub(crate) fn hear(&mut self) -> Result<Option<Heard>, Broken> {
        let event = match self.frames.event().map_err(Malformed::from)? {
            None if self.end.is_some() => self.frames.rest().map_err(Malformed::from)?,
            event => event,
        };
        match event {
            Some(event) => self.reader.hear(&event).map(Some),
            None => match self.end {
                None => Ok(None),
                Some(Ended::Told) if !self.frames.is_within_event() && self.reader.is_over_at_end() => {
                    Ok(Some(Heard::End))
                }
                Some(Ended::Told | Ended::Closed) => Err(Malformed::cut().into()),
            },
        }
    }

    /// The pieces since the last time.
    pub(crate) fn take(&mut self) -> Vec<Delta> {
        self.reader.take()
    }

    /// See [`Reader::usage_so_far`].
    pub(crate) fn usage_so_far(&self) -> Option<Usage> {
        self.reader.usage_so_far()
    }

    /// The answer, once [`Heard::End`] was heard.
    pub(crate) fn finish(self) -> Result<Answer, Malformed> {
        self.reader.finish()
    }
}

impl Broken {
    /// As a failure. An error that stands in the stream means what it had meant as an answer of its own.
    pub(crate) fn kind(&self, adapter: &Adapter) -> Kind {
        match self {
            Self::Malformed(malformed) => malformed.kind(),
            Self::Told { status, body } => {
                let said = (adapter.message)(body).unwrap_or_default();
                (adapter.failure)(Kind::of_status(*status), said)
            }
        }
    }
}

/// Cuts one stream into events.
#[derive(Debug)]
enum Frames {
    Sse(sse::Decoder),
    Ndjson(ndjson::Decoder),
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Sse(decoder) => decoder.push(bytes),
            Self::Ndjson(decoder) => decoder.push(bytes),
        }
    }

    fn event(&mut self) -> Result<Option<Event>, DecodeError> {
        match self {
            Self::Sse(decoder) => decoder.event(),
            Self::Ndjson(decoder) => Ok(decoder.line()?.map(unnamed)),
        }
    }

    /// Whether the bytes so far end in the middle of an event.
    fn is_within_event(&self) -> bool {
        match self {
            Self::Sse(decoder) => decoder.is_within_event(),
            // A last line needs no end, and was read by now.
            Self::Ndjson(_) => false,
        }
    }

    /// The last event, where the stream's end is the end of it too.
    fn rest(&mut self) -> Result<Option<Event>, DecodeError> {
        match self {
            Self::Sse(_) => Ok(None),
            Self::Ndjson(decoder) => Ok(decoder.rest()?.map(unnamed)),
        }
    }
}

fn unnamed(data: String) -> Event {
    Event { name: String::new(), data }
}
