//! What can be done with a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Reply;

/// What is done with a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An answer that sums up the last user text.
    #[default]
    Echo,
    /// An answer.
    Reply(Reply),
    /// An answer in one piece, also to a request for a stream, as some servers give it.
    Unstreamed(Reply),
    /// An HTTP error in the provider's own shape.
    Status(StatusFault),
    /// A 200 that is no answer.
    Malformed(Malformed),
    /// An answer that goes wrong on its way.
    StreamFault(StreamFault),
    /// Calls of tools that no agent can run.
    ToolFault(ToolFault),
    /// The provider's own error for a conversation that does not fit the model.
    ContextLength,
    /// The connection ends in the middle of the body.
    Cut,
    /// The connection is reset, without an answer.
    Reset,
    /// No answer, until the client gives up.
    Silence,
}

impl Action {
    /// The answer it has, whole or not.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Reply(reply) | Self::Unstreamed(reply) => Some(reply),
            Self::StreamFault(fault) => Some(&fault.reply),
            Self::Echo
            | Self::Status(_)
            | Self::Malformed(_)
            | Self::ToolFault(_)
            | Self::ContextLength
            | Self::Cut
            | Self::Reset
            | Self::Silence => None,
        }
    }
}

/// An HTTP error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusFault {
    /// 400 to 599.
    pub code: u16,
    /// What it says about trying again.
    #[serde(default)]
    pub retry_after: RetryAfter,
    /// Text of the error; absent: a usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Further headers, such as `anthropic-ratelimit-requests-reset`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

impl StatusFault {
    /// The plain error.
    #[must_use]
    pub fn new(code: u16) -> Self {
        Self { code, retry_after: RetryAfter::None, message: None, headers: BTreeMap::new() }
    }
}

/// The header `Retry-After`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// Not sent.
    #[default]
    None,
    /// Delay in seconds.
    Seconds(u64),
    /// A date at least this many seconds, and less than one more, after the answer.
    HttpDate(u64),
    /// This text, sense or not.
    Raw(String),
}

/// A body that no client can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Malformed {
    /// The first half of a good answer.
    Truncated,
    /// JSON of another shape.
    WrongShape,
    /// HTML, as proxies answer.
    Html,
}

/// What is wrong with a call. The tool is the one that the request forces, else the first that it offers; where it
/// offers none, `simulated_tool`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolFault {
    /// The arguments are no JSON. A format that has no text for them gets a string.
    BadJson,
    /// The arguments are JSON that the tool's schema does not allow.
    WrongInput,
    /// The tool is `simulated_tool`, whatever was offered.
    Unoffered,
    /// Two calls have the same id. Ollama's have none.
    SameId,
}

/// An answer that goes wrong on its way.
///
/// A plain answer has two pieces, the halves of its body: what happens to a stream after some pieces happens to it
/// between them, and what a stream would say in an event is its HTTP status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamFault {
    /// What goes wrong.
    pub how: StreamBreak,
    /// Pieces of text, thinking or tool arguments that come before, at most as many as there are; absent: half of
    /// them, rounded up. [`StreamBreak::Unterminated`] has them all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_pieces: Option<usize>,
    /// The answer that would have come.
    #[serde(default)]
    pub reply: Reply,
}

impl StreamFault {
    /// In the middle of an echo.
    #[must_use]
    pub fn new(how: StreamBreak) -> Self {
        Self { how, after_pieces: None, reply: Reply::default() }
    }

    /// After so many pieces.
    #[must_use]
    pub fn after(mut self, pieces: usize) -> Self {
        self.after_pieces = Some(pieces);
        self
    }
}

/// What goes wrong with a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamBreak {
    /// The connection ends in the middle of an event.
    Cut,
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and the connection stays open.
    Stall,
    /// Nothing more comes but what keeps a connection alive and is no part of an answer, ten times a second: `ping`
    /// events, comments, empty lines, or blanks in a plain answer.
    Pings,
    /// The last piece comes again and again without end, as fast as it is read, or at the reply's pace.
    Endless,
    /// An event, or a line, comes that never ends.
    Bloated,
    /// In place of a piece come bytes that are neither UTF-8 nor JSON; then all goes on.
    Garbage,
    /// The body ends as a whole one does, in the middle of the answer.
    Ended,
    /// The whole answer and its reason to stop come, but not the last word: `message_stop`, `[DONE]`, or the line that
    /// is `done`. The body ends as a whole one does.
    Unterminated,
    /// An error event says that the provider is overloaded; then the body ends.
    Overloaded,
    /// An error event in the words for this HTTP status; then the body ends.
    Error(u16),
}
