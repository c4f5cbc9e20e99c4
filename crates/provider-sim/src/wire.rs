//! The providers' wire formats, seen from their side. Pure: bytes in, bytes out.

mod answer;
mod anthropic;
mod check;
mod frame;
mod miscall;
mod ollama;
mod openai;
mod question;
mod schema;

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use answer::{Answer, Call};
pub(crate) use anthropic::request_id;
pub(crate) use frame::{Frame, Part};
pub(crate) use ollama::VERSION as OLLAMA_VERSION;
pub(crate) use question::{Choice, Delivery, Question, Refused};

/// Which provider is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Anthropic,
    Ollama,
    OpenAi,
}

/// What makes one answer differ from the next with the same words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    pub(crate) sequence: u64,
    pub(crate) now: Timestamp,
}

impl Provider {
    /// Reads a request as strictly as the provider does where clients go wrong.
    pub(crate) fn read(self, headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
        match self {
            Self::Anthropic => anthropic::read(headers, body),
            Self::Ollama => ollama::read(body),
            Self::OpenAi => openai::read(headers, body),
        }
    }

    /// A success in one piece.
    pub(crate) fn answer(self, question: &Question, answer: &Answer, moment: Moment) -> Value {
        match self {
            Self::Anthropic => anthropic::answer(question, answer, moment),
            Self::Ollama => ollama::answer(question, answer, moment),
            Self::OpenAi => openai::answer(question, answer, moment),
        }
    }

    /// A success in many.
    pub(crate) fn frames(self, question: &Question, answer: &Answer, moment: Moment) -> Vec<Frame> {
        match self {
            Self::Anthropic => anthropic::frames(question, answer, moment),
            Self::Ollama => ollama::frames(question, answer, moment),
            Self::OpenAi => openai::frames(question, answer, moment),
        }
    }

    /// A failure.
    pub(crate) fn error(self, status: u16, message: Option<&str>, moment: Moment) -> Value {
        match self {
            Self::Anthropic => anthropic::error(status, message, moment.sequence),
            Self::Ollama => ollama::error(status, message),
            Self::OpenAi => openai::error(status, message),
        }
    }

    /// The failure of a conversation that does not fit the model, with its status.
    pub(crate) fn too_long(self, question: &Question, moment: Moment) -> (u16, Value) {
        match self {
            Self::Anthropic => anthropic::too_long(question, moment.sequence),
            Self::Ollama => ollama::too_long(),
            Self::OpenAi => openai::too_long(question),
        }
    }

    /// JSON as an event of a stream.
    pub(crate) fn event(self, body: &Value) -> Vec<u8> {
        match self {
            Self::Anthropic => frame::named_event(text(body, "type").unwrap_or("message"), body),
            Self::Ollama => frame::line(body),
            Self::OpenAi => frame::event(body),
        }
    }

    /// Bytes that keep a stream alive and say nothing.
    pub(crate) fn ping(self) -> Vec<u8> {
        match self {
            Self::Anthropic => self.event(&json!({ "type": "ping" })),
            Self::Ollama => b"\n".to_vec(),
            Self::OpenAi => b": keep-alive\n\n".to_vec(),
        }
    }

    /// Type of a stream.
    pub(crate) fn stream_type(self) -> &'static str {
        match self {
            Self::Anthropic | Self::OpenAi => "text/event-stream; charset=utf-8",
            Self::Ollama => "application/x-ndjson",
        }
    }

    /// The status that says: overloaded.
    pub(crate) fn overloaded(self) -> u16 {
        match self {
            Self::Anthropic => 529,
            Self::Ollama | Self::OpenAi => 503,
        }
    }
}

/// The field as text; none when it is missing, empty or something else.
fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}
