//! Streams in parts, and how each format frames them.

use serde_json::Value;

/// Bytes that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) part: Part,
}

/// What a frame is to the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Opens or closes something.
    Around,
    /// A piece of text, thinking or tool arguments.
    Piece,
    /// Says why the model stopped, or what it used.
    Ending,
    /// The last word, without which the answer is not whole.
    Terminator,
}

impl Frame {
    pub(crate) fn around(bytes: Vec<u8>) -> Self {
        Self { bytes, part: Part::Around }
    }

    pub(crate) fn piece(bytes: Vec<u8>) -> Self {
        Self { bytes, part: Part::Piece }
    }

    pub(crate) fn ending(bytes: Vec<u8>) -> Self {
        Self { bytes, part: Part::Ending }
    }

    pub(crate) fn terminator(bytes: Vec<u8>) -> Self {
        Self { bytes, part: Part::Terminator }
    }
}

/// A server-sent event without a name.
pub(super) fn event(body: &Value) -> Vec<u8> {
    format!("data: {body}\n\n").into_bytes()
}

/// A server-sent event with a name.
pub(super) fn named_event(name: &str, body: &Value) -> Vec<u8> {
    format!("event: {name}\ndata: {body}\n\n").into_bytes()
}

/// A line of NDJSON.
pub(super) fn line(body: &Value) -> Vec<u8> {
    format!("{body}\n").into_bytes()
}
