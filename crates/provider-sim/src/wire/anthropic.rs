//! Anthropic Messages, version 2023-06-01.

mod read;
mod stream;

use serde_json::{Value, json};

pub(super) use read::read;
pub(super) use stream::frames;

use super::{Answer, Call, Moment, Question};
use crate::control::{StopReason, Usage};

/// A signature of thinking, which only the provider can check.
const SIGNATURE: &str = "c2ltdWxhdGVk";

/// A success in one piece.
pub(super) fn answer(question: &Question, answer: &Answer, moment: Moment) -> Value {
    let thought = answer
        .thinking
        .iter()
        .map(|thinking| json!({ "type": "thinking", "thinking": thinking, "signature": SIGNATURE }));
    let said = answer.said().map(|text| json!({ "type": "text", "text": text }));
    let called = answer.calls.iter().map(|call| tool_use(call, &call.arguments.value(), moment));
    let mut message = message(question, moment);
    message["content"] = thought.chain(said).chain(called).collect();
    message["stop_reason"] = stop_reason(answer.stop_reason);
    message["stop_sequence"] = json!(answer.stop_sequence);
    message["usage"] = prompt_usage(answer.usage);
    message["usage"]["output_tokens"] = json!(answer.usage.output_tokens);
    message
}

/// A message that has said nothing yet.
fn message(question: &Question, moment: Moment) -> Value {
    json!({
        "id": format!("msg_sim_{:06}", moment.sequence),
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    })
}

fn tool_use(call: &Call, input: &Value, moment: Moment) -> Value {
    let id = format!("toolu_sim_{:06}_{}", moment.sequence, call.number);
    json!({ "type": "tool_use", "id": id, "name": call.name, "input": input })
}

/// The provider counts cached tokens beside the others, not among them.
fn prompt_usage(usage: Usage) -> Value {
    let cached = usage.cache_read_tokens.saturating_add(usage.cache_creation_tokens);
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(cached),
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
    })
}

fn stop_reason(reason: StopReason) -> Value {
    match reason {
        StopReason::EndTurn => json!("end_turn"),
        StopReason::ToolUse => json!("tool_use"),
        StopReason::MaxTokens => json!("max_tokens"),
        StopReason::StopSequence => json!("stop_sequence"),
        StopReason::Refusal | StopReason::ContentFilter => json!("refusal"),
    }
}

/// A failure.
pub(super) fn error(status: u16, message: Option<&str>, sequence: u64) -> Value {
    let (kind, usual) = match status {
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "Your credit balance is too low to access the Anthropic API."),
        403 => ("permission_error", "Your API key does not have permission to use this resource."),
        404 => ("not_found_error", "model not found"),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => ("rate_limit_error", "This request would exceed your rate limit."),
        504 => ("timeout_error", "Request timed out"),
        529 => ("overloaded_error", "Overloaded"),
        500..=599 => ("api_error", "Internal server error"),
        _ => ("invalid_request_error", "The request is not valid"),
    };
    json!({
        "type": "error",
        "error": { "type": kind, "message": message.unwrap_or(usual) },
        "request_id": request_id(sequence),
    })
}

/// A conversation longer by one token than what the model takes.
pub(super) fn too_long(question: &Question, sequence: u64) -> (u16, Value) {
    let tokens = question.prompt_tokens();
    let message = format!("prompt is too long: {tokens} tokens > {} maximum", tokens.saturating_sub(1));
    (400, error(400, Some(&message), sequence))
}

/// The header `request-id`.
pub(crate) fn request_id(sequence: u64) -> String {
    format!("req_sim_{sequence:06}")
}
