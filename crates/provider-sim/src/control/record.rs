//! What was received and what became of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The requests that were received.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// How many older ones no longer stand here, of all models; 0 unless there were more than 10,000 of
    /// them, or 64 MiB.
    pub forgotten: u64,
    /// Oldest first.
    pub requests: Vec<RecordedRequest>,
}

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedRequest {
    /// From 1, over all models, without gaps.
    pub sequence: u64,
    /// When its body was complete.
    pub received_at: Timestamp,
    /// From the body; empty where it names none.
    pub model: String,
    /// `/v1/messages`, `/v1/chat/completions` or `/api/chat`.
    pub path: String,
    /// Lower-case names. Of `authorization` and `x-api-key` only the presence is kept.
    pub headers: BTreeMap<String, String>,
    /// The body; a string where it is not JSON.
    pub body: Value,
    /// Pieces of text, thinking or tool arguments that were sent so far; 0 for a plain answer that is
    /// whole.
    #[serde(default)]
    pub pieces_sent: u64,
    /// What became of it.
    pub answered: Answered,
    /// When that was known; absent while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    /// Not answered yet.
    Pending,
    /// An HTTP status.
    Status(u16),
    /// A 200 whose body is unusable.
    Malformed,
    /// A 200 whose stream ended with an error event.
    Failed,
    /// The connection was cut in the middle of the body.
    Cut,
    /// The connection was reset.
    Reset,
    /// The client went away first, or the simulator stopped. Known as soon as the connection ends, also in the middle
    /// of a stream.
    Abandoned,
}
