//! Ollama chat, without streaming.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Question, Refused, text};
use crate::control::StopReason;

/// Version that `/api/version` claims.
pub(crate) const VERSION: &str = "0.12.0-simulated";

/// Reads a request.
pub(crate) fn read(body: &Value) -> Result<Question, Refused> {
    let model = text(body, "model").ok_or_else(|| Refused::new(400, "model is required"))?;
    if body.get("stream").and_then(Value::as_bool) != Some(false) {
        return Err(Refused::new(400, "the simulator does not stream; send \"stream\": false"));
    }
    let none = Vec::new();
    let messages = body.get("messages").and_then(Value::as_array).unwrap_or(&none);
    let texts: Vec<&str> =
        messages.iter().map(|message| text(message, "content").unwrap_or_default()).collect();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let names = tools.iter().filter_map(|tool| text(tool.get("function")?, "name"));
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().copied().unwrap_or_default().to_owned(),
        turns: messages.len(),
        prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
        tools: names.map(str::to_owned).collect(),
    })
}

/// A success.
pub(crate) fn answer(question: &Question, answer: &Answer, now: Timestamp) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text.as_deref().unwrap_or_default() });
    if !answer.tool_calls.is_empty() {
        let call =
            |(name, input): &(String, Value)| json!({ "function": { "name": name, "arguments": input } });
        message["tool_calls"] = answer.tool_calls.iter().map(call).collect();
    }
    let length = answer.stop_reason == StopReason::MaxTokens;
    json!({
        "model": question.model,
        "created_at": now.to_string(),
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
pub(crate) fn error(status: u16, message: Option<&str>) -> Value {
    let usual = match status {
        404 => "model not found, try pulling it first",
        429 => "too many requests",
        503 => "server busy, please try again. maximum pending requests exceeded",
        500..=599 => "llama runner process has terminated",
        _ => "invalid request",
    };
    json!({ "error": message.unwrap_or(usual) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_with_its_tools() {
        let body = json!({
            "model": "llama3.2", "stream": false,
            "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": "hi" }],
            "tools": [{ "type": "function", "function": { "name": "fs.read", "parameters": {} } }],
        });
        let question = read(&body).expect("reads");
        assert_eq!((question.last_text.as_str(), question.turns, question.prompt_chars), ("hi", 2, 10));
        assert_eq!(question.tools, ["fs.read"]);
    }

    #[test]
    fn streaming_is_refused_rather_than_answered_in_one_piece() {
        let body = json!({ "model": "m", "messages": [] });
        assert_eq!(read(&body).map_err(|refused| refused.status), Err(400));
    }
}
