//! Requests as the provider checks them.

mod blocks;
mod format;
mod messages;
mod thinking;
mod tools;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::wire::check::{given, is_within, list, unknown};
use crate::wire::question::{Delivery, Question, Refused};
use crate::wire::text;

/// What a request may say, without a header that asks for a preview of more.
const FIELDS: [&str; 16] = [
    "cache_control",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// Reads a request as strictly as the provider does where clients go wrong.
pub(crate) fn read(headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
    if !has_key(headers) {
        return Err(Refused::new(401, "x-api-key header is required"));
    }
    if headers.get("anthropic-version").is_none() {
        return Err(invalid("anthropic-version: header is required"));
    }
    let model = text(body, "model").ok_or_else(|| invalid("model: Field required"))?;
    if let Some(field) = unknown(body, &FIELDS) {
        return Err(invalid(format!("{field}: Extra inputs are not permitted")));
    }
    numbers(body)?;
    let messages = list(body, "messages");
    messages::check(messages)?;
    let tools = tools::read(body)?;
    let choice = tools::choice(body, &tools)?;
    let texts: Vec<String> =
        messages.iter().filter_map(|message| message.get("content")).map(blocks::said).collect();
    let system = body.get("system").map(blocks::said).unwrap_or_default();
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().cloned().unwrap_or_default(),
        turns: messages.len(),
        prompt_chars: system.chars().count() + texts.iter().map(|text| text.chars().count()).sum::<usize>(),
        thinks: thinking::read(body, &choice)?,
        tools,
        choice,
        shape: format::read(body)?,
        stop: stop(body)?,
        delivery: delivery(body)?,
    })
}

/// The key comes in the header that the provider documents, or as a bearer token, as its newer clients send it.
fn has_key(headers: &HeaderMap) -> bool {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    headers.get("x-api-key").is_some_and(|key| !key.is_empty())
        || bearer.is_some_and(|value| value.starts_with("Bearer "))
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused::new(400, message)
}

fn numbers(body: &Value) -> Result<(), Refused> {
    if body.get("max_tokens").and_then(Value::as_u64).is_none_or(|tokens| tokens == 0) {
        return Err(invalid("max_tokens: Field required"));
    }
    for field in ["temperature", "top_p"] {
        if given(body, field).is_some_and(|value| !is_within(value, &(0.0..=1.0))) {
            return Err(invalid(format!("{field}: range: 0..1")));
        }
    }
    if given(body, "top_k").is_some_and(|value| value.as_u64().is_none()) {
        return Err(invalid("top_k: Input should be a valid integer"));
    }
    Ok(())
}

fn stop(body: &Value) -> Result<Vec<String>, Refused> {
    let Some(stops) = given(body, "stop_sequences") else { return Ok(Vec::new()) };
    let stops = stops.as_array().ok_or_else(|| invalid("stop_sequences: Input should be a valid list"))?;
    let read = |(at, stop): (usize, &Value)| match stop.as_str() {
        None => Err(invalid(format!("stop_sequences.{at}: Input should be a valid string"))),
        Some(stop) if stop.trim().is_empty() => {
            Err(invalid("stop_sequences: each stop sequence must contain non-whitespace"))
        }
        Some(stop) => Ok(stop.to_owned()),
    };
    stops.iter().enumerate().map(read).collect()
}

fn delivery(body: &Value) -> Result<Delivery, Refused> {
    match given(body, "stream") {
        None | Some(Value::Bool(false)) => Ok(Delivery::Plain),
        Some(Value::Bool(true)) => Ok(Delivery::Stream { has_usage: true }),
        Some(_) => Err(invalid("stream: Input should be a valid boolean")),
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
            ("tool_choice", json!({ "type": "auto" })),
            ("temperature", json!(1.5)),
            ("top_p", json!("x")),
            ("top_k", json!(-1)),
            ("stop_sequences", json!("x")),
            ("stop_sequences", json!([" "])),
            ("thinking", json!({ "type": "enabled" })),
            ("output_config", json!({ "format": { "type": "json_object" } })),
            ("seed", json!(7)),
            ("response_format", json!({ "type": "text" })),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }

    #[test]
    fn the_key_may_be_a_bearer_token() {
        let mut headers = headers();
        headers.remove("x-api-key");
        let body = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "x" }] });
        assert_eq!(read(&headers, &body).map_err(|refused| refused.status), Err(401));
        headers.insert("authorization", "Bearer k".parse().expect("a value"));
        assert!(read(&headers, &body).is_ok());
    }

    #[test]
    fn a_question_is_read_with_all_that_the_answer_depends_on() {
        let body = json!({
            "model": "m", "max_tokens": 5, "system": "be brief", "stream": true,
            "messages": [{ "role": "user", "content": "hi" }],
            "stop_sequences": ["END"], "temperature": 1, "top_p": 0.9,
        });
        let question = read(&headers(), &body).expect("reads");
        assert_eq!((question.last_text.as_str(), question.turns, question.prompt_chars), ("hi", 1, 10));
        assert_eq!(question.stop, ["END"]);
        assert_eq!(question.delivery, Delivery::Stream { has_usage: true });
    }
}
