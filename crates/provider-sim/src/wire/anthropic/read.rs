//! Requests as the provider checks them.

use axum::http::HeaderMap;
use serde_json::Value;

use crate::wire::question::{Choice, Delivery, Offered, Question, Refused, Shape};
use crate::wire::text;

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
        choice: Choice::Free,
        shape: Shape::Text,
        stop: vec![],
        thinks: false,
        delivery: delivery(body)?,
    })
}

fn invalid(message: &str) -> Refused {
    Refused::new(400, message)
}

fn delivery(body: &Value) -> Result<Delivery, Refused> {
    match body.get("stream") {
        None | Some(Value::Bool(false)) => Ok(Delivery::Plain),
        Some(Value::Bool(true)) => Ok(Delivery::Stream { has_usage: true }),
        Some(_) => Err(invalid("stream: Input should be a valid boolean")),
    }
}

fn tools(body: &Value) -> Result<Vec<Offered>, Refused> {
    let Some(tools) = body.get("tools").and_then(Value::as_array) else { return Ok(Vec::new()) };
    tools.iter().enumerate().map(|(at, tool)| offered(at, tool)).collect()
}

/// The provider's own rule for names, on which dotted ones fail.
fn offered(at: usize, tool: &Value) -> Result<Offered, Refused> {
    let name = text(tool, "name").unwrap_or_default();
    let fits = (1..=128).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if !fits {
        return Err(invalid(&format!(
            "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
        )));
    }
    let schema = tool.get("input_schema").filter(|schema| schema.is_object());
    let schema = schema.ok_or_else(|| invalid(&format!("tools.{at}.custom.input_schema: Field required")))?;
    Ok(Offered { name: name.to_owned(), schema: schema.clone() })
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
    use serde_json::json;

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
            ("stream", json!("yes")),
            ("tools", json!([{ "name": "fs.read", "input_schema": {} }])),
            ("tools", json!([{ "name": "fs_read" }])),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }
}
