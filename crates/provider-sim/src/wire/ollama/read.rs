//! Requests as the server checks them. What it does not know it passes over.

mod messages;

use serde_json::{Value, json};

use crate::wire::check::{given, list};
use crate::wire::question::{Choice, Delivery, Offered, Question, Refused, Shape};
use crate::wire::text;

/// Options with the type that the server names when it finds another.
const OPTIONS: [(&str, Type); 7] = [
    ("num_ctx", Type::Integer),
    ("num_predict", Type::Integer),
    ("seed", Type::Integer),
    ("temperature", Type::Float),
    ("top_k", Type::Integer),
    ("top_p", Type::Float),
    ("stop", Type::Array),
];

#[derive(Clone, Copy)]
enum Type {
    Integer,
    Float,
    Array,
}

/// Reads a request.
pub(crate) fn read(body: &Value) -> Result<Question, Refused> {
    let model = text(body, "model").ok_or_else(|| invalid("model is required"))?;
    let messages = list(body, "messages");
    messages::check(messages)?;
    let texts: Vec<&str> =
        messages.iter().map(|message| text(message, "content").unwrap_or_default()).collect();
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().copied().unwrap_or_default().to_owned(),
        turns: messages.len(),
        prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
        tools: list(body, "tools").iter().filter_map(offered).collect(),
        choice: Choice::Free,
        shape: shape(body)?,
        stop: options(body)?,
        thinks: thinks(body)?,
        delivery: delivery(body)?,
    })
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused::new(400, message)
}

/// Answers are streamed unless the request says otherwise.
fn delivery(body: &Value) -> Result<Delivery, Refused> {
    match given(body, "stream") {
        None | Some(Value::Bool(true)) => Ok(Delivery::Stream { has_usage: true }),
        Some(Value::Bool(false)) => Ok(Delivery::Plain),
        Some(_) => {
            Err(invalid("json: cannot unmarshal into Go struct field ChatRequest.stream of type bool"))
        }
    }
}

fn offered(tool: &Value) -> Option<Offered> {
    let function = tool.get("function")?;
    let schema = function.get("parameters").cloned().unwrap_or_else(|| json!({ "type": "object" }));
    Some(Offered { name: text(function, "name")?.to_owned(), schema })
}

fn shape(body: &Value) -> Result<Shape, Refused> {
    match given(body, "format") {
        None => Ok(Shape::Text),
        Some(Value::String(word)) if word.is_empty() => Ok(Shape::Text),
        Some(Value::String(word)) if word == "json" => Ok(Shape::Object),
        Some(schema @ Value::Object(_)) => Ok(Shape::Schema(schema.clone())),
        Some(other) => {
            Err(invalid(format!("invalid format: {other}; expected \"json\" or a valid JSON Schema object")))
        }
    }
}

fn thinks(body: &Value) -> Result<bool, Refused> {
    let levels = ["high", "medium", "low", "max"];
    match given(body, "think") {
        None => Ok(false),
        Some(Value::Bool(thinks)) => Ok(*thinks),
        Some(Value::String(level)) if levels.contains(&level.as_str()) => Ok(true),
        Some(other) => Err(invalid(format!(
            "invalid think value: {other} (must be \"high\", \"medium\", \"low\", \"max\", true, or false)"
        ))),
    }
}

/// Checks the options and returns the stop sequences.
fn options(body: &Value) -> Result<Vec<String>, Refused> {
    let Some(options) = given(body, "options") else { return Ok(Vec::new()) };
    for (name, kind) in OPTIONS {
        let (is_right, right) = match (given(options, name), kind) {
            (None, _) => continue,
            (Some(value), Type::Integer) => (value.is_i64(), "integer"),
            (Some(value), Type::Float) => (value.is_number(), "float32"),
            (Some(value), Type::Array) => (value.is_array(), "array"),
        };
        if !is_right {
            return Err(invalid(format!("option \"{name}\" must be of type {right}")));
        }
    }
    let wrong = || invalid("option \"stop\" must be of an array of strings");
    list(options, "stop").iter().map(|stop| stop.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
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
            "options": { "stop": ["END"], "seed": 7, "top_p": 0.9, "temperature": 1, "mirostat": 1 },
        });
        let question = read(&body).expect("reads");
        assert_eq!((question.last_text.as_str(), question.turns, question.prompt_chars), ("hi", 2, 10));
        assert_eq!((question.tools[0].name.as_str(), question.delivery), ("fs.read", Delivery::Plain));
        assert_eq!(question.stop, ["END"]);
    }

    #[test]
    fn answers_are_streamed_unless_the_request_says_otherwise() {
        let body = json!({ "model": "m", "messages": [] });
        assert_eq!(read(&body).map(|question| question.delivery), Ok(Delivery::Stream { has_usage: true }));
    }

    #[test]
    fn what_the_server_refuses_is_refused() {
        for (field, value) in [
            ("model", json!("")),
            ("stream", json!("yes")),
            ("format", json!("xml")),
            ("think", json!("hard")),
            ("options", json!({ "stop": "END" })),
            ("options", json!({ "stop": [1] })),
            ("options", json!({ "seed": 0.5 })),
            ("options", json!({ "top_p": "x" })),
            ("messages", json!([{ "role": "model", "content": "x" }])),
        ] {
            let mut body = json!({ "model": "m", "messages": [] });
            body[field] = value;
            assert_eq!(read(&body).map_err(|refused| refused.status), Err(400), "{body}");
        }
    }

    #[test]
    fn shapes_and_thinking_are_read() {
        let read = |field: &str, value: &Value| read(&json!({ "model": "m", field: value })).expect("reads");
        assert_eq!(read("format", &json!("json")).shape, Shape::Object);
        let schema = json!({ "type": "object" });
        assert_eq!(read("format", &schema).shape, Shape::Schema(schema));
        for (think, expected) in [(json!(true), true), (json!("low"), true), (json!(false), false)] {
            assert_eq!(read("think", &think).thinks, expected, "{think}");
        }
    }
}
