//! The control protocol, as JSON in both directions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a model does, request by request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// One step a request.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// True: after the last step comes the first again (a flapping model).
    #[serde(default)]
    pub repeat: bool,
    /// What happens once the steps are used up. Absent: what the model's name asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Step>,
}

impl Script {
    /// Each step once, then what the model's name asks for.
    #[must_use]
    pub fn once(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// The same for every request.
    #[must_use]
    pub fn always(step: Step) -> Self {
        Self { then: Some(step), ..Self::default() }
    }

    /// The steps over and over.
    #[must_use]
    pub fn cycle(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), repeat: true, then: None }
    }

    /// The step for once the others are used up.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.then = Some(step);
        self
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Waited before acting, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// What is done.
    pub action: Action,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self { delay_ms: 0, action }
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Action::Reply(reply).into()
    }
}

impl Step {
    /// An error status without a delay.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Action::Status(StatusFault::new(code)).into()
    }

    /// An error status with `Retry-After`.
    #[must_use]
    pub fn status_after(code: u16, retry_after: RetryAfter) -> Self {
        Action::Status(StatusFault { retry_after, ..StatusFault::new(code) }).into()
    }

    /// An answer with this text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Reply { text: Some(text.into()), ..Reply::default() }.into()
    }

    /// An answer that calls tools.
    #[must_use]
    pub fn tools(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        Reply { tool_calls: calls.into_iter().collect(), ..Reply::default() }.into()
    }

    /// The same after a while.
    #[must_use]
    pub fn after_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }
}

/// What is done with a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An answer that sums up the last user text.
    #[default]
    Echo,
    /// An answer.
    Reply(Reply),
    /// An HTTP error in the provider's own shape.
    Status(StatusFault),
    /// A 200 that is no answer.
    Malformed(Malformed),
    /// The connection ends in the middle of the body.
    Cut,
    /// The connection is reset, without an answer.
    Reset,
    /// No answer, until the client gives up.
    Silence,
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

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Text; absent with tool calls: none, without: a summary of the last user text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Tools that the model wants called, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Absent: `tool_use` with tool calls, else `end_turn`. Ollama knows `end_turn` and `max_tokens` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// Absent: a quarter of the characters, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A tool that the model wants called. A name that was not offered as it stands becomes the offered one
/// that differs only by `_` for `.` (Anthropic takes no dots), as a real model knows no other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// Name.
    pub name: String,
    /// Usually an object; anything else is sent as it is.
    pub input: Value,
}

/// Why the model stopped, in Anthropic's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// It wants tools called.
    ToolUse,
    /// The limit was reached.
    MaxTokens,
    /// A stop sequence came.
    StopSequence,
    /// It declined.
    Refusal,
}

/// Tokens that the answer claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Of the prompt.
    pub input_tokens: u64,
    /// Of the answer.
    pub output_tokens: u64,
}

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
    /// `/v1/messages` or `/api/chat`.
    pub path: String,
    /// Lower-case names. Of `authorization` and `x-api-key` only the presence is kept.
    pub headers: BTreeMap<String, String>,
    /// The body; a string where it is not JSON.
    pub body: Value,
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
    /// The connection was cut in the middle of the body.
    Cut,
    /// The connection was reset.
    Reset,
    /// The client went away first, or the simulator stopped.
    Abandoned,
}
