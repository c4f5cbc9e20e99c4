//! Requests as the provider checks them.

use axum::http::HeaderMap;
use serde_json::{Value, json};

use crate::wire::question::{Delivery, Offered, Question, Refused};
use crate::wire::text;

/// Reads a request as strictly as the provider does where clients go wrong.
pub(crate) fn read(headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer.is_none_or(|value| !value.starts_with("Bearer ")) {
        return Err(Refused::new(401, "You didn't provide an API key."));
    }
    let model = text(body, "model").ok_or_else(|| invalid("you must provide a model parameter"))?;
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
        delivery: delivery(body)?,
    })
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

fn delivery(body: &Value) -> Result<Delivery, Refused> {
    let streams = match body.get("stream") {
        None | Some(Value::Null) => false,
        Some(stream) => {
            stream.as_bool().ok_or_else(|| invalid("Invalid type for 'stream': expected a boolean."))?
        }
    };
    let options = body.get("stream_options").filter(|options| !options.is_null());
    if !streams && options.is_some() {
        return Err(invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
    }
    let has_usage = options.and_then(|options| options.get("include_usage")).and_then(Value::as_bool);
    Ok(if streams { Delivery::Stream { has_usage: has_usage == Some(true) } } else { Delivery::Plain })
}

fn tools(body: &Value) -> Result<Vec<Offered>, Refused> {
    let none = Vec::new();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    let offered = |(at, tool): (usize, &Value)| {
        let name = tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
        let fits = (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        let right = "string does not match pattern '^[a-zA-Z0-9_-]{1,64}$'";
        if !fits {
            return Err(invalid(&format!("Invalid 'tools[{at}].function.name': {right}.")));
        }
        // Left out, the tool takes no arguments.
        let schema = tool.pointer("/function/parameters").cloned();
        let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
        Ok(Offered { name: name.to_owned(), schema })
    };
    tools.iter().enumerate().map(offered).collect()
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
        assert_eq!(question.tools[0].name, "fs_read");
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
            ("stream", json!("yes")),
            ("stream_options", json!({ "include_usage": true })),
            ("tools", json!([{ "type": "function", "function": { "name": "fs.read" } }])),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }
}
