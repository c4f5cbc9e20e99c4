//! OpenAI Chat Completions (<https://platform.openai.com/docs/api-reference/chat>), and the many servers that speak
//! it: vLLM, llama.cpp, OpenRouter. Their base URL ends where OpenAI's does, with `/v1`.

mod body;
mod stream;
mod write;

use bulkhead_edge::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use write::{request_to_openai, request_to_others};

use super::draft::{Draft, Input};
use super::json::Json;
use super::stream::Framing;
use super::{Adapter, Malformed, Parameters, count, field, has_media_in_results, has_pdf, list, named, text};
use crate::chat::{Answer, Object, Prompt, StopReason, Usage};
use crate::failure::Kind;

/// OpenAI itself. Its newer models refuse `max_tokens`.
pub(super) static OPENAI: Adapter = Adapter {
    name: "openai",
    needs_key: true,
    inexpressible: |prompt, _abilities, _max_output_tokens_default| {
        named([
            (prompt.stop_sequences.len() > STOP_SEQUENCES_MAX, field::STOP_SEQUENCES),
            (prompt.thinking_tokens_max.is_some(), field::THINKING_TOKENS_MAX),
            (has_media_in_results(prompt), field::RESULT_PARTS),
        ])
    },
    request: request_to_openai,
    ..OF_OTHERS
};

/// Servers with the same interface, some of which know only the older `max_tokens` and ask for no key.
pub(super) static COMPATIBLE: Adapter = OF_OTHERS;

const OF_OTHERS: Adapter = Adapter {
    name: "openai-compatible",
    needs_key: false,
    path: "/chat/completions",
    headers,
    // How much a model reasons is a word here and no number, where there is one at all.
    inexpressible: |prompt, _abilities, _max_output_tokens_default| {
        named([
            (prompt.thinking_tokens_max.is_some(), field::THINKING_TOKENS_MAX),
            (has_pdf(prompt), field::DOCUMENT),
            (has_media_in_results(prompt), field::RESULT_PARTS),
        ])
    },
    request: request_to_others,
    answer,
    framing: Framing::Sse,
    reader: stream::reader,
    failure,
    told: stream::told,
    message,
};

/// Stop sequences that OpenAI takes; other servers have no such limit.
const STOP_SEQUENCES_MAX: usize = 4;

/// Codes and types that decide what a failure is, whatever its sentence says. The third is llama.cpp's.
const TELLING: [&str; 4] =
    ["insufficient_quota", "context_length_exceeded", "exceed_context_size_error", "model_not_found"];

fn headers(key: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Ok(mut value)) = key.map(|key| HeaderValue::try_from(format!("Bearer {}", key.reveal()))) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

fn answer(body: &Json<'_>, prompt: &Prompt, parameters: &Parameters<'_>) -> Result<Answer, Malformed> {
    let choices = body.get("choices").and_then(Json::as_list);
    let choice = choices.and_then(<[_]>::first);
    let choice = choice.ok_or_else(|| Malformed::new("the answer has no first choice"))?;
    let message = choice.get("message").filter(|message| message.is_object());
    let message = message.ok_or_else(|| Malformed::new("the choice has no `message`"))?;
    let word = text(choice, "finish_reason")?;
    let refusal = said(message, "refusal")?;
    let mut draft = Draft::new(prompt, parameters);
    draft.thinking(thought(message).unwrap_or_default(), "")?;
    draft.text(said(message, "content")?.unwrap_or_default())?;
    draft.text(refusal.unwrap_or_default())?;
    read_calls(message, breaks_off(word, refusal.is_some()), &mut draft)?;
    let stop_reason = match refusal {
        Some(_) => StopReason::Refusal,
        None => read_stop_reason(word, draft.has_calls())?,
    };
    // Some servers do not count; that is told as zero.
    let usage = body.get("usage").filter(|usage| !usage.is_null()).map(counted).transpose()?;
    draft.finish(stop_reason, usage.unwrap_or_default(), text(body, "model")?)
}

fn counted(usage: &Json<'_>) -> Result<Usage, Malformed> {
    let part = |details: &str, field: &str| usage.get(details).map_or(Ok(0), |details| count(details, field));
    Ok(Usage {
        input_tokens: count(usage, "prompt_tokens")?,
        output_tokens: count(usage, "completion_tokens")?,
        cache_read_input_tokens: part("prompt_tokens_details", "cached_tokens")?,
        cache_creation_input_tokens: 0,
        reasoning_output_tokens: part("completion_tokens_details", "reasoning_tokens")?,
    })
}

/// What compatible servers show of a model's thinking; each has one of the two names for it. The format does not know
/// them, so that anything but text is none of it.
fn thought<'m>(message: &'m Json<'_>) -> Option<&'m str> {
    let text = |field| message.get(field).and_then(Json::as_str).filter(|text| !text.is_empty());
    text("reasoning_content").or_else(|| text("reasoning"))
}

/// Text that may be absent, null or empty, which all mean that nothing was said.
fn said<'m>(message: &'m Json<'_>, field: &str) -> Result<Option<&'m str>, Malformed> {
    match message.get(field) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(words)) => Ok(Some(words.as_ref()).filter(|words| !words.is_empty())),
        Some(_) => Err(Malformed::new(format!("the field `{field}` is no text"))),
    }
}

fn read_calls(message: &Json<'_>, breaks_off: bool, draft: &mut Draft) -> Result<(), Malformed> {
    let calls = list(message, "tool_calls")?;
    for (at, call) in calls.iter().enumerate() {
        let function = call.get("function").ok_or_else(|| Malformed::new("a tool call has no `function`"))?;
        let said_arguments = function.get("arguments");
        if breaks_off && at + 1 == calls.len() && !is_whole(said_arguments) {
            break;
        }
        // Some servers leave the id out.
        draft.call(said(call, "id")?, text(function, "name")?, arguments(said_arguments))?;
    }
    Ok(())
}

/// Whether the limit of tokens, a filter or the model's own refusal may have cut the last call off, even before its arguments
/// began: then it is no call, and what cut it off is told.
fn breaks_off(word: &str, has_refused: bool) -> bool {
    has_refused || matches!(word, "length" | "content_filter")
}

fn is_whole(said_arguments: Option<&Json<'_>>) -> bool {
    match said_arguments {
        Some(Json::Text(text)) => serde_json::from_str::<Object>(text).is_ok(),
        other => other.is_some_and(Json::is_object),
    }
}

/// Text that holds a JSON object. Nothing at all is how some models call a tool without arguments, and some servers
/// give the object itself.
fn arguments(value: Option<&Json<'_>>) -> Input {
    match value {
        Some(Json::Text(text)) if text.trim().is_empty() => Input::Object(Object::new()),
        Some(Json::Text(text)) => Input::parse(text),
        other => Input::of(other),
    }
}

fn read_stop_reason(word: &str, has_calls: bool) -> Result<StopReason, Malformed> {
    match word {
        "length" => Ok(StopReason::MaxTokens),
        "content_filter" => Ok(StopReason::Refusal),
        // A call that was asked for by name ends with `stop`.
        "stop" | "tool_calls" if has_calls => Ok(StopReason::ToolUse),
        "stop" => Ok(StopReason::EndTurn),
        "tool_calls" => Err(Malformed::new("the model stopped for tools and called none")),
        _ => Err(Malformed::unfit("the answer has a finish reason that is not known")),
    }
}

fn failure(kind: Kind, message: &str) -> Kind {
    let message = message.to_lowercase();
    let says = |words: &str| message.contains(words);
    let too_long = says("context_length_exceeded")
        || says("exceed_context_size_error")
        || says("maximum context length")
        || says("exceeds the available context size");
    match kind {
        Kind::InvalidRequest | Kind::ServerError if too_long => Kind::ContextLength,
        Kind::InvalidRequest if says("model_not_found") => Kind::ModelNotFound,
        Kind::RateLimited | Kind::Forbidden if says("insufficient_quota") => Kind::Quota,
        // OpenRouter's word about one prompt, which is no reason to leave the model alone.
        Kind::Forbidden if says("flagged") || says("moderation") => Kind::InvalidRequest,
        kind => kind,
    }
}

/// The code or type, where that decides; else the sentence. vLLM leaves out the `error` around it.
fn message(body: &Value) -> Option<&str> {
    let word = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let telling = |word: &&str| TELLING.contains(word);
    let code = word("/error/code").filter(telling).or_else(|| word("/error/type").filter(telling));
    code.or_else(|| word("/error/message")).or_else(|| word("/message"))
}

#[cfg(test)]
mod tests;
