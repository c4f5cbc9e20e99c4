//! Requests as the provider checks them.

mod format;
mod messages;
mod tools;

use axum::http::HeaderMap;
use serde_json::Value;

use crate::wire::check::{given, is_within, list, unknown};
use crate::wire::question::{Delivery, Question, Refused};
use crate::wire::text;

/// What a request may say, apart from what the provider has long replaced.
const FIELDS: [&str; 33] = [
    "audio",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
/// Stop sequences at most.
const STOPS_MAX: usize = 4;

/// Reads a request as strictly as the provider does where clients go wrong.
pub(crate) fn read(headers: &HeaderMap, body: &Value) -> Result<Question, Refused> {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
    if bearer.is_none_or(|value| !value.starts_with("Bearer ")) {
        return Err(Refused::new(401, "You didn't provide an API key."));
    }
    let model = text(body, "model").ok_or_else(|| invalid("you must provide a model parameter"))?;
    if let Some(field) = unknown(body, &FIELDS) {
        return Err(invalid(format!("Unrecognized request argument supplied: {field}")));
    }
    let messages = list(body, "messages");
    messages::check(messages)?;
    numbers(body)?;
    let texts: Vec<String> = messages.iter().map(messages::said).collect();
    let tools = tools::read(body)?;
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().cloned().unwrap_or_default(),
        turns: messages.len(),
        prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
        choice: tools::choice(body, &tools)?,
        tools,
        shape: format::read(body, &texts)?,
        stop: stop(body)?,
        thinks: false,
        delivery: delivery(body)?,
    })
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused::new(400, message)
}

fn numbers(body: &Value) -> Result<(), Refused> {
    for (field, range) in [("temperature", 0.0..=2.0), ("top_p", 0.0..=1.0)] {
        if given(body, field).is_some_and(|value| !is_within(value, &range)) {
            let (from, to) = range.into_inner();
            return Err(invalid(format!("Invalid '{field}': expected a value between {from} and {to}.")));
        }
    }
    let limits = ["max_tokens", "max_completion_tokens"].map(|field| (field, given(body, field)));
    for (field, limit) in limits {
        if limit.is_some_and(|limit| limit.as_u64().is_none_or(|limit| limit == 0)) {
            return Err(invalid(format!(
                "Invalid '{field}': integer below minimum value. Expected a value >= 1."
            )));
        }
    }
    if limits.iter().all(|(_, limit)| limit.is_some()) {
        let both = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(invalid(both));
    }
    if given(body, "seed").is_some_and(|seed| seed.as_i64().is_none()) {
        return Err(invalid("Invalid type for 'seed': expected an integer."));
    }
    if given(body, "n").is_some_and(|n| n.as_u64() != Some(1)) {
        return Err(invalid("Invalid 'n': the simulator gives one choice."));
    }
    Ok(())
}

fn stop(body: &Value) -> Result<Vec<String>, Refused> {
    let wrong = || invalid("Invalid type for 'stop': expected a string or an array of strings.");
    match given(body, "stop") {
        None => Ok(Vec::new()),
        Some(Value::String(stop)) => Ok(vec![stop.clone()]),
        Some(Value::Array(stops)) if stops.len() > STOPS_MAX => Err(invalid(format!(
            "Invalid 'stop': array too long. Expected an array with maximum length {STOPS_MAX}, but got an array with \
             length {} instead.",
            stops.len()
        ))),
        Some(Value::Array(stops)) => {
            stops.iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn delivery(body: &Value) -> Result<Delivery, Refused> {
    let streams = match given(body, "stream") {
        None => false,
        Some(stream) => {
            stream.as_bool().ok_or_else(|| invalid("Invalid type for 'stream': expected a boolean."))?
        }
    };
    let options = given(body, "stream_options");
    if !streams && options.is_some() {
        return Err(invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled."));
    }
    let has_usage = options.and_then(|options| options.get("include_usage")).and_then(Value::as_bool);
    Ok(if streams { Delivery::Stream { has_usage: has_usage == Some(true) } } else { Delivery::Plain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
        for (field, value) in [
            ("model", json!("")),
            ("messages", json!([])),
            ("stream", json!("yes")),
            ("stream_options", json!({ "include_usage": true })),
            ("tools", json!([{ "type": "function", "function": { "name": "fs.read" } }])),
            ("tool_choice", json!("none")),
            ("stop", json!(["a", "b", "c", "d", "e"])),
            ("stop", json!([1])),
            ("seed", json!("x")),
            ("temperature", json!(2.1)),
            ("top_p", json!(-0.1)),
            ("n", json!(2)),
            ("max_tokens", json!(0)),
            ("response_format", json!({ "type": "xml" })),
            ("top_k", json!(5)),
        ] {
            let mut body = good.clone();
            body[field] = value;
            assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400), "{field}");
        }
    }

    #[test]
    fn a_limit_is_given_once() {
        let mut body =
            json!({ "model": "m", "messages": [{ "role": "user", "content": "x" }], "max_tokens": 5 });
        assert!(read(&headers(), &body).is_ok());
        body["max_completion_tokens"] = json!(5);
        assert_eq!(read(&headers(), &body).map_err(|refused| refused.status), Err(400));
    }

    #[test]
    fn stop_sequences_come_alone_or_in_a_list() {
        for (stop, expected) in
            [(json!("a"), vec!["a"]), (json!(["a", "b"]), vec!["a", "b"]), (json!(null), vec![])]
        {
            let messages = json!([{ "role": "user", "content": "x" }]);
            let body = json!({ "model": "m", "messages": messages, "stop": stop });
            assert_eq!(read(&headers(), &body).expect("reads").stop, expected);
        }
    }
}
