//! Anthropic Messages, version 2023-06-01 (<https://docs.anthropic.com/en/api/messages>).

mod schema;
mod stream;
mod write;

use bulkhead_edge::Secret;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use write::request;

use super::draft::{Draft, Input};
use super::json::Json;
use super::stream::Framing;
use super::{Abilities, Adapter, COUNT_MAX, Malformed, Parameters, count, field, named, text};
use crate::chat::{Answer, Prompt, StopReason, ToolChoiceMode, Usage};
use crate::failure::Kind;

/// The row of the table.
pub(super) static ADAPTER: Adapter = Adapter {
    name: "anthropic",
    needs_key: true,
    path: "/v1/messages",
    headers,
    inexpressible,
    request,
    answer,
    framing: Framing::Sse,
    reader: stream::reader,
    failure,
    told: stream::told,
    message,
};

/// The provider's temperatures end here; ours go to 2 as those of others do.
const TEMPERATURE_MAX: f64 = 1.0;

/// The least that a model can be told to think, in tokens.
const THINKING_TOKENS_MIN: u32 = 1_024;
/// The least of `top_p` for a model that thinks.
const TOP_P_THINKING_MIN: f64 = 0.95;

/// Marks a signature as the encrypted form of thinking that the provider does not show, which goes back in a block of
/// another type. No signature holds a colon: they are Base64.
pub(crate) const REDACTED: &str = "redacted_thinking:";

fn headers(key: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let version = HeaderName::from_static("anthropic-version");
    headers.insert(version, HeaderValue::from_static("2023-06-01"));
    if let Some(Ok(mut value)) = key.map(|key| HeaderValue::try_from(key.reveal())) {
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-api-key"), value);
    }
    headers
}

/// The provider takes no stop sequence of white space alone, repeats no answer, and its temperatures end earlier. A model
/// that thinks, thinks so much at least and less than its whole answer, chooses its tools itself, and samples as it likes
/// (<https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>).
fn inexpressible(
    prompt: &Prompt,
    _abilities: Abilities,
    max_output_tokens_default: u32,
) -> Vec<&'static str> {
    let blank = prompt.stop_sequences.iter().any(|sequence| sequence.trim().is_empty());
    let thinks = prompt.thinking_tokens_max.is_some();
    let forced = matches!(prompt.tool_choice.mode, ToolChoiceMode::Required | ToolChoiceMode::Named(_));
    let is_hot = prompt.temperature.is_some_and(|temperature| temperature > TEMPERATURE_MAX);
    let answer_tokens_max = prompt.max_output_tokens.unwrap_or(max_output_tokens_default);
    let thinkable = THINKING_TOKENS_MIN..answer_tokens_max;
    let is_no_measure = prompt.thinking_tokens_max.is_some_and(|tokens| !thinkable.contains(&tokens));
    named([
        (prompt.seed.is_some(), field::SEED),
        (blank, field::STOP_SEQUENCES),
        (is_hot, field::TEMPERATURE),
        (is_no_measure, field::THINKING_TOKENS_MAX),
        (thinks && prompt.temperature.is_some_and(|value| value < TEMPERATURE_MAX), field::TEMPERATURE),
        (thinks && prompt.top_p.is_some_and(|value| value < TOP_P_THINKING_MIN), field::TOP_P),
        (thinks && forced, field::TOOL_CHOICE_MODE),
    ])
}

/// The signature under which encrypted thinking is carried.
fn redacted(encrypted: &str) -> String {
    format!("{REDACTED}{encrypted}")
}

fn answer(body: &Json<'_>, prompt: &Prompt, parameters: &Parameters<'_>) -> Result<Answer, Malformed> {
    let content = body.get("content").and_then(Json::as_list);
    let content = content.ok_or_else(|| Malformed::new("the answer has no list `content`"))?;
    let stop_reason = read_stop_reason(text(body, "stop_reason")?)?;
    let mut draft = Draft::new(prompt, parameters);
    for block in whole(content, stop_reason) {
        read_block(block, &mut draft)?;
    }
    let usage = body.get("usage").ok_or_else(|| Malformed::new("the answer has no `usage`"))?;
    let mut counted = Counted::default();
    counted.add(usage)?;
    draft.finish(stop_reason, counted.usage()?, text(body, "model")?)
}

/// The blocks that are whole. A call that stands where the answer was cut off may lack arguments, and nothing says whether
/// it does.
fn whole<'v>(content: &'v [Json<'v>], stop_reason: StopReason) -> &'v [Json<'v>] {
    match content.split_last() {
        Some((last, before)) if cuts_off(stop_reason) && is_call(last) => before,
        Some(_) | None => content,
    }
}

/// Whether an answer that ends so may end within a call: at the limit of tokens, or where a filter stepped in.
fn cuts_off(stop_reason: StopReason) -> bool {
    matches!(stop_reason, StopReason::MaxTokens | StopReason::Refusal)
}

fn is_call(block: &Json<'_>) -> bool {
    block.get("type").and_then(Json::as_str) == Some("tool_use")
}

/// Blocks of types that are not known are no part of the answer.
fn read_block(block: &Json<'_>, draft: &mut Draft) -> Result<(), Malformed> {
    match text(block, "type")? {
        "text" => draft.text(text(block, "text")?),
        "thinking" => {
            let signature = block.get("signature").and_then(Json::as_str);
            draft.thinking(text(block, "thinking")?, signature.unwrap_or_default())
        }
        "redacted_thinking" => draft.thinking("", &redacted(text(block, "data")?)),
        "tool_use" => {
            draft.call(Some(text(block, "id")?), text(block, "name")?, Input::of(block.get("input")))
        }
        _ => Ok(()),
    }
}

/// What the provider counted. A stream tells it more than once, and the last word counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
}

impl Counted {
    fn add(&mut self, usage: &Json<'_>) -> Result<(), Malformed> {
        for (field, counted) in [
            ("input_tokens", &mut self.input),
            ("output_tokens", &mut self.output),
            ("cache_read_input_tokens", &mut self.cache_read),
            ("cache_creation_input_tokens", &mut self.cache_creation),
        ] {
            if usage.get(field).is_some_and(|count| !count.is_null()) {
                *counted = count(usage, field)?;
            }
        }
        Ok(())
    }

    /// In our terms: the provider counts the cached part of a prompt apart, and thinking not at all.
    fn usage(self) -> Result<Usage, Malformed> {
        // Three counts that fit into 53 bits fit into 64 together.
        let input_tokens = self.input + self.cache_read + self.cache_creation;
        if input_tokens > COUNT_MAX {
            return Err(Malformed::new("the counts of the prompt's tokens are none"));
        }
        Ok(Usage {
            input_tokens,
            output_tokens: self.output,
            cache_read_input_tokens: self.cache_read,
            cache_creation_input_tokens: self.cache_creation,
            reasoning_output_tokens: 0,
        })
    }
}

fn read_stop_reason(word: &str) -> Result<StopReason, Malformed> {
    match word {
        "end_turn" => Ok(StopReason::EndTurn),
        "tool_use" => Ok(StopReason::ToolUse),
        "max_tokens" | "model_context_window_exceeded" => Ok(StopReason::MaxTokens),
        "stop_sequence" => Ok(StopReason::StopSequence),
        "refusal" => Ok(StopReason::Refusal),
        _ => Err(Malformed::unfit("the answer has a stop reason that is not known")),
    }
}

/// The provider tells two conditions by their words alone: a prompt that is too long, and credit that ran
/// out, both under 400.
fn failure(kind: Kind, message: &str) -> Kind {
    let says = |words: &str| message.to_lowercase().contains(words);
    if kind != Kind::InvalidRequest {
        return kind;
    }
    if says("prompt is too long") || says("exceed context limit") || says("context window") {
        Kind::ContextLength
    } else if says("credit balance is too low") {
        Kind::Quota
    } else {
        kind
    }
}

fn message(body: &Value) -> Option<&str> {
    body.pointer("/error/message")?.as_str()
}

#[cfg(test)]
mod tests;
