//! OpenAI Chat Completions, without streaming.

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Answer, Question, Refused, text};
use crate::control::StopReason;

/// Reads a request as strictly as the provider does where clients go wrong.
pub(crate) fn read(headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer.is_none_or(|value| !value.starts_with("Bearer ")) {
        return Err(Refused::new(401, "You didn't provide an API key."));
    }
    let model = text(body, "model").ok_or_else(|| invalid("you must provide a model parameter"))?;
    if body.get("stream").and_then(Value::as_bool) == Some(true) {
        return Err(invalid("stream: the simulator does not stream"));
    }
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| invalid("Invalid 'messages': empty array."))?;
    answered_calls(messages)?;
    let texts: Vec<&str> =
        messages.iter().map(|message| text(message, "content").unwrap_or_default()).collect();
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().copied().unwrap_or_default().to_owned(),
        turns: messages.len(),
        prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
        tools: tools(body)?,
    })
}

/// A success.
pub(crate) fn answer(question: &Question, answer: &Answer, sequence: u64, now: Timestamp) -> Value {
    let mut message = json!({ "role": "assistant", "content": answer.text, "refusal": null });
    if !answer.tool_calls.is_empty() {
        let call = |(at, (name, input)): (usize, &(String, Value))| {
            let function = json!({ "name": name, "arguments": input.to_string() });
            json!({ "id": format!("call_sim_{sequence:06}_{at}"), "type": "function", "function": function })
        };
        message["tool_calls"] = answer.tool_calls.iter().enumerate().map(call).collect();
    }
    let finish_reason = match answer.stop_reason {
        StopReason::EndTurn | StopReason::StopSequence => "stop",
        StopReason::ToolUse => "tool_calls",
        StopReason::MaxTokens => "length",
        StopReason::Refusal => "content_filter",
    };
    let usage = answer.usage;
    json!({
        "id": format!("chatcmpl-sim-{sequence:06}"),
        "object": "chat.completion",
        "created": now.as_second(),
        "model": question.model,
        "choices": [{ "index": 0, "message": message, "finish_reason": finish_reason, "logprobs": null }],
        "usage": {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        },
    })
}

/// A failure.
pub(crate) fn error(status: u16, message: Option<&str>) -> Value {
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

fn invalid(message: &str) -> Refused {
    Refused::new(400, message)
}

/// The provider's rule on which conversations fail that put anything between calls and their results.
fn answered_calls(messages: &[Value]) -> Result<(), Refused> {
    let none = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let calls = message.get("tool_calls").and_then(Value::as_array).unwrap_or(&none);
        let answers = messages.iter().skip(at + 1).take(calls.len());
        let answered: Vec<Option<&str>> = answers.map(|answer| text(answer, "tool_call_id")).collect();
        for call in calls {
            if !answered.contains(&text(call, "id")) {
                return Err(invalid(
                    "An assistant message with 'tool_calls' must be followed by tool messages responding to each \
                     'tool_call_id'.",
                ));
            }
        }
    }
    Ok(())
}

fn tools(body: &Value) -> Result<Vec<String>, Refused> {
    let none = Vec::new();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let name = |(at, tool): (usize, &Value)| {
        let name = tool.get("function").and_then(|function| text(function, "name")).unwrap_or_default();
        let fits = (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let right = "string does not match pattern '^[a-zA-Z0-9_-]{1,64}$'";
        if fits {
            Ok(name.to_owned())
        } else {
            Err(invalid(&format!("Invalid 'tools[{at}].function.name': {right}.")))
        }
    };
    tools.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        [("authorization".parse().expect("a name"), "Bearer k".parse().expect("a value"))]
            .into_iter()
            .collect()
    }

    #[test]
    fn a_question_is_read_with_its_tools() {
        let body = json!({
            "model": "m",
            "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": "hi" }],
            "tools": [{ "type": "function", "function": { "name": "fs_read", "parameters": {} } }],
        });
        let question = read(&headers(), &body).expect("reads");
        assert_eq!((question.last_text.as_str(), question.turns, question.prompt_chars), ("hi", 2, 10));
        assert_eq!(question.tools, ["fs_read"]);
    }

    #[test]
    fn what_the_provider_refuses_is_refused() {
        let good = json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }] });
        assert!(read(&headers(), &good).is_ok());
        assert_eq!(read(&HeaderMap::new(), &good).map_err(|refused| refused.status), Err(401));
        let call = json!({ "role": "assistant", "content": null, "tool_calls": [{ "id": "c1" }] });
        for (field, value) in [
            ("model", json!("")),
            ("messages", json!([])),
            ("messages", json!([call, { "role": "user", "content": "x" }])),
            ("stream", json!(true)),
            ("tools", json!([{ "type": "function", "function": { "name": "fs.read" } }])),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }
}
