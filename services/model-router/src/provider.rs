//! Adapters between our conversation and the providers' wire formats. Pure: JSON in both directions.
//!
//! Adding a provider is one file and one row of [`ADAPTERS`].

mod abilities;
mod anthropic;
mod draft;
pub(crate) mod json;
mod lines;
mod names;
pub mod ndjson;
mod ollama;
mod openai;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod samples;
pub mod sse;
pub(crate) mod stream;
#[cfg(test)]
mod translation;

use std::borrow::Cow;

use base64::Engine as _;
use bulkhead_edge::Secret;
use http::HeaderMap;
use reqwest::Url;
use serde_json::Value;

use crate::chat::{Answer, Block, Media, Prompt, ResponseFormat, ToolResult};
use crate::failure::Kind;
use json::Json;
use stream::{Framing, Reader};

pub(crate) use anthropic::REDACTED;

pub use abilities::{Abilities, ThinkingSwitch};
pub use lines::{DecodeError, Limits};

/// One provider's wire format.
#[derive(Debug)]
pub struct Adapter {
    /// Name in the configuration and in traces.
    pub name: &'static str,
    /// Whether it works without a key.
    pub needs_key: bool,
    /// Where a conversation is posted, after the base URL.
    pub(crate) path: &'static str,
    /// Headers, the key among them.
    pub(crate) headers: fn(Option<&Secret>) -> HeaderMap,
    /// The fields of a request that the format has no words for, or none that the model understands. A request that sets one
    /// is not sent there. The number is the model's `max_output_tokens_default`.
    pub(crate) inexpressible: fn(&Prompt, Abilities, u32) -> Vec<&'static str>,
    /// The body of a request, written down.
    pub(crate) request: fn(&Prompt, &Parameters<'_>) -> serde_json::Result<Vec<u8>>,
    /// Reads the body of a success.
    pub(crate) answer: fn(&Json<'_>, &Prompt, &Parameters<'_>) -> Result<Answer, Malformed>,
    /// How a stream is cut into events.
    pub(crate) framing: Framing,
    /// Reads a stream of this answer.
    pub(crate) reader: fn(&Prompt, &Parameters<'_>) -> Box<dyn Reader>,
    /// Refines what a status means by the body of the failure.
    pub(crate) failure: fn(Kind, &str) -> Kind,
    /// The status of an error that stands where an answer, or an event of one, should; none where none does.
    pub(crate) told: fn(&Json<'_>) -> Option<u16>,
    /// Finds the provider's own words in the body of a failure, for `failure` alone: they may quote the
    /// prompt and are never passed on.
    pub(crate) message: fn(&Value) -> Option<&str>,
}

impl Adapter {
    /// Where a conversation is posted.
    #[must_use]
    pub fn endpoint(&self, base: &Url) -> Url {
        let mut endpoint = base.clone();
        endpoint.set_path(&format!("{}{}", base.path().trim_end_matches('/'), self.path));
        endpoint
    }
}

/// What a request needs beside the conversation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters<'a> {
    /// The provider's name of the model.
    pub(crate) provider_model: &'a str,
    /// Tokens of the answer at most.
    pub(crate) max_output_tokens: u32,
    /// Unique to the attempt; for providers that give their tool calls no ids.
    pub(crate) attempt_id: &'a str,
    /// What the model is said to be able to do.
    pub(crate) abilities: Abilities,
    /// The answer is wanted as a stream.
    pub(crate) stream: bool,
}

/// Why an answer cannot be used. The text never quotes the answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Malformed {
    what: String,
    kind: Kind,
}

impl Malformed {
    /// The answer breaks the provider's format.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), kind: Kind::Malformed }
    }

    /// It keeps the format, and the model wrote what cannot be used.
    pub(crate) fn unfit(what: &str) -> Self {
        Self { what: what.to_owned(), kind: Kind::Unfit }
    }

    /// A stream ended without its last word. What it carried may be anything but an answer.
    pub(crate) fn cut() -> Self {
        Self { what: "the stream ended before the answer did".to_owned(), kind: Kind::Reset }
    }

    /// As a failure.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

/// Every provider.
pub static ADAPTERS: [&Adapter; 4] =
    [&anthropic::ADAPTER, &ollama::ADAPTER, &openai::OPENAI, &openai::COMPATIBLE];

/// Names of the request's fields, as the contract has them, for what a format cannot express.
mod field {
    pub(super) const DOCUMENT: &str = "messages.content.document";
    pub(super) const RESULT_PARTS: &str = "messages.content.tool_result.parts";
    pub(super) const SEED: &str = "seed";
    pub(super) const STOP_SEQUENCES: &str = "stop_sequences";
    pub(super) const TEMPERATURE: &str = "temperature";
    pub(super) const THINKING_TOKENS_MAX: &str = "thinking_tokens_max";
    pub(super) const TOOL_CHOICE_MODE: &str = "tool_choice.mode";
    pub(super) const TOOL_CHOICE_SINGLE_CALL: &str = "tool_choice.single_call";
    pub(super) const TOP_P: &str = "top_p";
}

/// The names of the fields that are set and cannot be expressed.
fn named<const N: usize>(fields: [(bool, &'static str); N]) -> Vec<&'static str> {
    fields.into_iter().filter_map(|(is_lacking, name)| is_lacking.then_some(name)).collect()
}

/// The blocks of a conversation, those within tool results left out.
fn blocks(prompt: &Prompt) -> impl Iterator<Item = &Block> {
    prompt.turns.iter().flat_map(|turn| &turn.blocks)
}

/// Whether a tool result holds what is no text, for formats in which results are text.
fn has_media_in_results(prompt: &Prompt) -> bool {
    let mut results = blocks(prompt).filter_map(|block| match block {
        Block::ToolResult(result) => Some(result),
        Block::Text(_) | Block::ToolUse(_) | Block::Thinking(_) | Block::Media(_) => None,
    });
    results.any(|result| result.parts.iter().any(is_binary))
}

/// Whether the conversation holds a document that is no text, for formats that take none.
fn has_pdf(prompt: &Prompt) -> bool {
    blocks(prompt).any(|block| matches!(block, Block::Media(Media::Pdf { .. })))
}

fn is_binary(block: &Block) -> bool {
    matches!(block, Block::Media(Media::Image { .. } | Media::Pdf { .. }))
}

/// What a tool answered, as text; formats without a flag for failures tell the model in a word.
fn result_text(result: &ToolResult) -> Cow<'_, str> {
    if result.parts.is_empty() && !result.is_error {
        return Cow::Borrowed(&result.content);
    }
    let texts = result.parts.iter().filter_map(|part| match part {
        Block::Text(text) => Some(text.into()),
        Block::Media(media) => plain_text(media),
        Block::ToolUse(_) | Block::ToolResult(_) | Block::Thinking(_) => None,
    });
    let content = Some(Cow::from(&result.content)).filter(|content| !content.is_empty());
    let all = content.into_iter().chain(texts).collect::<Vec<_>>().join("\n\n");
    if result.is_error { format!("Error: {all}").into() } else { all.into() }
}

/// A document that is text, as text.
fn plain_text(media: &Media) -> Option<Cow<'_, str>> {
    match media {
        Media::PlainText { title, text } if title.is_empty() => Some(text.into()),
        Media::PlainText { title, text } => Some(format!("{title}\n\n{text}").into()),
        Media::Image { .. } | Media::Pdf { .. } => None,
    }
}

fn base64(content: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(content)
}

/// The instructions before a conversation, with what a format can only ask for in words.
fn instructions(prompt: &Prompt, words: Option<String>) -> Option<Cow<'_, str>> {
    match (prompt.system.as_str(), words) {
        ("", words) => words.map(Cow::Owned),
        (system, None) => Some(Cow::Borrowed(system)),
        (system, Some(words)) => Some(format!("{system}\n\n{words}").into()),
    }
}

/// Asks for JSON in words. OpenAI refuses its JSON mode where no message has the word.
fn ask_for_json(format: &ResponseFormat) -> Option<String> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some("Answer with one JSON object and nothing else.".to_owned()),
        ResponseFormat::JsonSchema { schema, .. } => {
            let schema = Value::Object(schema.clone());
            Some(format!(
                "Answer with one JSON value that this JSON Schema accepts, and nothing else: {schema}"
            ))
        }
    }
}

/// A field that must be text.
fn text<'v>(value: &'v Json<'_>, field: &str) -> Result<&'v str, Malformed> {
    let text = value.get(field).and_then(Json::as_str);
    text.ok_or_else(|| Malformed::new(format!("the answer has no text field `{field}`")))
}

/// A list; absent and null count as empty.
fn list<'v>(value: &'v Json<'v>, field: &str) -> Result<&'v [Json<'v>], Malformed> {
    match value.get(field) {
        None | Some(Json::Null) => Ok(&[]),
        Some(list) => list.as_list().ok_or_else(|| Malformed::new(format!("the field `{field}` is no list"))),
    }
}

/// Largest answer that is read, in bytes: several times what any model writes, and less than a gRPC message
/// may carry.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// The largest integer that every JSON reader keeps exact (RFC 8259, section 6), and so the largest that an
/// audit event may hold.
const COUNT_MAX: u64 = (1 << 53) - 1;

/// A count; absent counts as zero, because some servers leave zeros out. No conversation comes near the
/// largest, so that more is nonsense and not cut to fit.
fn count(value: &Json<'_>, field: &str) -> Result<u64, Malformed> {
    match value.get(field) {
        None | Some(Json::Null) => Ok(0),
        Some(count) => {
            let count = count.as_u64().filter(|count| *count <= COUNT_MAX);
            count.ok_or_else(|| Malformed::new(format!("the field `{field}` is no count")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn counts_fit_into_an_audit_event() {
        let cases = [
            (json!({}), Some(0)),
            (json!({ "n": null }), Some(0)),
            (json!({ "n": 12 }), Some(12)),
            (json!({ "n": 9_007_199_254_740_991_u64 }), Some(9_007_199_254_740_991)),
            (json!({ "n": 9_007_199_254_740_992_u64 }), None),
            (json!({ "n": u64::MAX }), None),
            (json!({ "n": -1 }), None),
            (json!({ "n": 1.5 }), None),
        ];
        for (body, expected) in cases {
            let text = body.to_string();
            let read = serde_json::from_str(&text).expect("JSON");
            assert_eq!(count(&read, "n").ok(), expected, "{body}");
        }
    }
}
