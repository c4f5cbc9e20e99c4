//! Anthropic Messages, version 2023-06-01.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, Question, Refused, text};

/// Reads a request as strictly as the provider does where clients go wrong.
pub(crate) fn read(headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
    if headers.get("x-api-key").is_none_or(|key| key.is_empty()) {
        return Err(Refused::new(401, "x-api-key header is required"));
    }
    if headers.get("anthropic-version").is_none() {
        return Err(invalid("anthropic-version: header is required"));
    }
    let model = text(body, "model").ok_or_else(|| invalid("model: Field required"))?;
    if body.get("max_tokens").and_then(Value::as_u64).is_none_or(|tokens| tokens == 0) {
        return Err(invalid("max_tokens: Field required"));
    }
    if body.get("stream").and_then(Value::as_bool) == Some(true) {
        return Err(invalid("stream: the simulator does not stream"));
    }
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| invalid("messages: at least one message is required"))?;
    let tools = tools(body)?;
    let texts: Vec<String> = messages.iter().filter_map(|message| message.get("content")).map(said).collect();
    let system = body.get("system").map(said).unwrap_or_default();
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().cloned().unwrap_or_default(),
        turns: messages.len(),
        prompt_chars: system.chars().count() + texts.iter().map(|text| text.chars().count()).sum::<usize>(),
        tools,
    })
}

/// A success.
pub(crate) fn answer(question: &Question, answer: &Answer, sequence: u64) -> Value {
    let said = answer.text.iter().map(|text| json!({ "type": "text", "text": text }));
    let wanted = answer.tool_calls.iter().enumerate().map(|(at, (name, input))| {
        let id = format!("toolu_sim_{sequence:06}_{at}");
        json!({ "type": "tool_use", "id": id, "name": name, "input": input })
    });
    json!({
        "id": format!("msg_sim_{sequence:06}"),
        "type": "message",
        "role": "assistant",
        "model": question.model,
        "content": said.chain(wanted).collect::<Vec<_>>(),
        "stop_reason": answer.stop_reason,
        "stop_sequence": null,
        "usage": { "input_tokens": answer.usage.input_tokens, "output_tokens": answer.usage.output_tokens },
    })
}

/// A failure.
pub(crate) fn error(status: u16, message: Option<&str>, sequence: u64) -> Value {
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

/// The header `request-id`.
pub(crate) fn request_id(sequence: u64) -> String {
    format!("req_sim_{sequence:06}")
}

fn invalid(message: &str) -> Refused {
    Refused::new(400, message)
}

fn tools(body: &Value) -> Result<Vec<String>, Refused> {
    let Some(tools) = body.get("tools").and_then(Value::as_array) else { return Ok(Vec::new()) };
    tools.iter().enumerate().map(|(at, tool)| tool_name(at, tool)).collect()
}

/// The provider's own rule for names, on which dotted ones fail.
fn tool_name(at: usize, tool: &Value) -> Result<String, Refused> {
    let name = text(tool, "name").unwrap_or_default();
    let fits = (1..=128).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !fits {
        return Err(invalid(&format!(
            "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        )));
    }
    if tool.get("input_schema").is_none_or(|schema| !schema.is_object()) {
        return Err(invalid(&format!("tools.{at}.custom.input_schema: Field required")));
    }
    Ok(name.to_owned())
}

/// The text in a string, a block or a list of blocks, tool results included.
fn said(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(said).collect::<Vec<_>>().join("\n"),
        Value::Object(block) => {
            block.get("text").or_else(|| block.get("content")).map(said).unwrap_or_default()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        let pairs = [("x-api-key", "k"), ("anthropic-version", "2023-06-01")];
        pairs
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn the_last_word_is_found_in_strings_blocks_and_tool_results() {
        let last = [
            json!("hi"),
            json!([{ "type": "text", "text": "hi" }]),
            json!([{ "type": "tool_result", "tool_use_id": "t", "content": "hi" }]),
        ];
        for content in last {
            let messages = json!([{ "role": "user", "content": content }]);
            let body = json!({ "model": "m", "max_tokens": 5, "messages": messages });
            assert_eq!(read(&headers(), &body).expect("reads").last_text, "hi");
        }
    }

    #[test]
    fn what_the_provider_refuses_is_refused() {
        let good = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
        assert!(read(&headers(), &good).is_ok());
        assert_eq!(read(&HeaderMap::new(), &good).map_err(|refused| refused.status), Err(401));
        for (field, value) in [
            ("model", json!("")),
            ("max_tokens", json!(0)),
            ("messages", json!([])),
            ("stream", json!(true)),
            ("tools", json!([{ "name": "fs.read", "input_schema": {} }])),
            ("tools", json!([{ "name": "fs_read" }])),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }
}
