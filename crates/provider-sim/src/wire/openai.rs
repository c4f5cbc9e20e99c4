//! OpenAI Chat Completions.

mod read;
mod stream;

use serde_json::{Value, json};

pub(super) use read::read;
pub(super) use stream::frames;

use super::{Answer, Call, Choice, Moment, Question};
use crate::control::{StopReason, Usage};

/// Where servers that show thinking put it. OpenAI itself shows none.
const THINKING: &str = "reasoning_content";

/// A success in one piece.
pub(super) fn answer(question: &Question, answer: &Answer, moment: Moment) -> Value {
    let refuses = answer.stop_reason == StopReason::Refusal;
    let mut message = json!({
        "role": "assistant",
        "content": answer.said().filter(|_| !refuses),
        "refusal": answer.said().filter(|_| refuses),
    });
    if let Some(thinking) = &answer.thinking {
        message[THINKING] = json!(thinking);
    }
    if !answer.calls.is_empty() {
        let call = |call: &Call| {
            let function = json!({ "name": call.name, "arguments": call.arguments.text() });
            json!({ "id": call_id(call, moment), "type": "function", "function": function })
        };
        message["tool_calls"] = answer.calls.iter().map(call).collect();
    }
    let choice = json!({
        "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(question, answer),
    });
    let mut body = envelope("chat.completion", question, moment);
    body["choices"] = json!([choice]);
    body["usage"] = usage(answer.usage);
    body
}

/// What is the same in an answer and in each chunk of a stream.
fn envelope(object: &str, question: &Question, moment: Moment) -> Value {
    json!({
        "id": format!("chatcmpl-sim-{:06}", moment.sequence),
        "object": object,
        "created": moment.now.as_second(),
        "model": question.model,
        "system_fingerprint": "fp_simulated",
    })
}

fn call_id(call: &Call, moment: Moment) -> String {
    format!("call_sim_{:06}_{}", moment.sequence, call.number)
}

fn finish_reason(question: &Question, answer: &Answer) -> &'static str {
    match answer.stop_reason {
        // A call that was asked for by name ends as a text does.
        StopReason::ToolUse if matches!(question.choice, Choice::Named(_)) => "stop",
        StopReason::EndTurn | StopReason::StopSequence | StopReason::Refusal => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens => "length",
        StopReason::ContentFilter => "content_filter",
    }
}

fn usage(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
    })
}

/// A failure.
pub(super) fn error(status: u16, message: Option<&str>) -> Value {
    let (kind, code, usual) = match status {
        401 => ("invalid_request_error", json!("invalid_api_key"), "Incorrect API key provided."),
        402 => ("insufficient_quota", json!("insufficient_quota"), "You exceeded your current quota."),
        404 => ("invalid_request_error", json!("model_not_found"), "The model does not exist."),
        429 => ("requests", json!("rate_limit_exceeded"), "Rate limit reached for requests."),
        503 => ("service_unavailable", Value::Null, "The engine is currently overloaded."),
        500..=599 => ("server_error", Value::Null, "The server had an error while processing your request."),
        _ => ("invalid_request_error", Value::Null, "The request is not valid."),
    };
    json!({ "error": { "message": message.unwrap_or(usual), "type": kind, "param": null, "code": code } })
}

/// A conversation longer by one token than what the model takes.
pub(super) fn too_long(question: &Question) -> (u16, Value) {
    let tokens = question.prompt_tokens();
    let message = format!(
        "This model's maximum context length is {} tokens. However, your messages resulted in {tokens} tokens. Please \
         reduce the length of the messages.",
        tokens.saturating_sub(1),
    );
    let mut body = error(400, Some(&message));
    body["error"]["param"] = json!("messages");
    body["error"]["code"] = json!("context_length_exceeded");
    (400, body)
}
