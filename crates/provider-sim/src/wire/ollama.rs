//! Ollama chat.

mod read;
mod stream;

use serde_json::{Value, json};

pub(super) use read::read;
pub(super) use stream::frames;

use super::{Answer, Call, Moment, Question};
use crate::control::StopReason;

/// Version that `/api/version` claims.
pub(crate) const VERSION: &str = "0.12.0-simulated";

/// A success in one piece.
pub(super) fn answer(question: &Question, answer: &Answer, moment: Moment) -> Value {
    let mut message = message(&answer.said().unwrap_or_default());
    if let Some(thinking) = &answer.thinking {
        message["thinking"] = json!(thinking);
    }
    if !answer.calls.is_empty() {
        message["tool_calls"] = answer.calls.iter().map(tool_call).collect();
    }
    done(question, answer, message, moment)
}

fn message(content: &str) -> Value {
    json!({ "role": "assistant", "content": content })
}

fn tool_call(call: &Call) -> Value {
    json!({ "function": { "name": call.name, "arguments": call.arguments.value() } })
}

/// The line that is not the last one.
fn line(question: &Question, message: Value, moment: Moment) -> Value {
    json!({
        "model": question.model,
        "created_at": moment.now.to_string(),
        "message": message,
        "done": false,
    })
}

/// The last line, or the only one.
fn done(question: &Question, answer: &Answer, message: Value, moment: Moment) -> Value {
    let length = answer.stop_reason == StopReason::MaxTokens;
    json!({
        "model": question.model,
        "created_at": moment.now.to_string(),
        "message": message,
        "done": true,
        "done_reason": if length { "length" } else { "stop" },
        "total_duration": 1_000_000,
        "load_duration": 0,
        "prompt_eval_count": answer.usage.input_tokens,
        "prompt_eval_duration": 500_000,
        "eval_count": answer.usage.output_tokens,
        "eval_duration": 500_000,
    })
}

/// A failure.
pub(super) fn error(status: u16, message: Option<&str>) -> Value {
    let usual = match status {
        404 => "model not found, try pulling it first",
        429 => "too many requests",
        503 => "server busy, please try again. maximum pending requests exceeded",
        500..=599 => "llama runner process has terminated",
        _ => "invalid request",
    };
    json!({ "error": message.unwrap_or(usual) })
}

/// A conversation that was not to be truncated and would have to be.
pub(super) fn too_long() -> (u16, Value) {
    (400, error(400, Some("the input length exceeds the context length")))
}
