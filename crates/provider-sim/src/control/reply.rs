//! Answers, in words that fit every provider.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// Text; absent with tool calls: none, without: a summary of the last user text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The text in the pieces that a stream sends, instead of `text`, which must then be absent. A plain answer puts
    /// them together; `text` is streamed in pieces of a few characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<String>,
    /// Thinking before the text. OpenAI shows none; the field is that of servers which speak its format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<String>,
    /// Tools that the model wants called, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Absent: `tool_use` with tool calls, else `end_turn`. Ollama says `length` for `max_tokens`, else `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<StopReason>,
    /// Absent: a quarter of the characters, at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Waited before the first piece of a stream, in milliseconds; what comes before it (headers, `message_start`,
    /// the role) is sent at once. A plain answer waits as a whole.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_after_ms: u64,
    /// Waited before each further piece of a stream, in milliseconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pause_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn is_zero(count: &u64) -> bool {
    *count == 0
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It was done.
    #[default]
    EndTurn,
    /// It wants tools called.
    ToolUse,
    /// The limit was reached.
    MaxTokens,
    /// A stop sequence came.
    StopSequence,
    /// It declined. OpenAI puts the text under `refusal` and stops as usual; Ollama has no word for it.
    Refusal,
    /// A filter stopped it: `content_filter` for OpenAI, `refusal` for Anthropic. Ollama has none.
    ContentFilter,
}

/// Tokens that the answer claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    /// Of the prompt, cached ones included. Anthropic reports the cached ones apart.
    pub input_tokens: u64,
    /// Of the answer, reasoning included.
    pub output_tokens: u64,
    /// Of the prompt, read from the provider's cache. Ollama does not tell.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// Of the prompt, written to the provider's cache. Only Anthropic tells.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_creation_tokens: u64,
    /// Of the answer, for reasoning. Only OpenAI tells.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
}
