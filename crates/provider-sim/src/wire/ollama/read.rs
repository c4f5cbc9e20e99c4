//! Requests as the server checks them.

use serde_json::{Value, json};

use crate::wire::question::{Choice, Delivery, Offered, Question, Refused, Shape};
use crate::wire::text;

/// Reads a request.
pub(crate) fn read(body: &Value) -> Result<Question, Refused> {
    let model = text(body, "model").ok_or_else(|| Refused::new(400, "model is required"))?;
    let none = Vec::new();
    let messages = body.get("messages").and_then(Value::as_array).unwrap_or(&none);
    let texts: Vec<&str> =
        messages.iter().map(|message| text(message, "content").unwrap_or_default()).collect();
    let tools = body.get("tools").and_then(Value::as_array).unwrap_or(&none);
    Ok(Question {
        model: model.to_owned(),
        last_text: texts.last().copied().unwrap_or_default().to_owned(),
        turns: messages.len(),
        prompt_chars: texts.iter().map(|text| text.chars().count()).sum(),
        tools: tools.iter().filter_map(offered).collect(),
        choice: Choice::Free,
        shape: Shape::Text,
        stop: vec![],
        thinks: false,
        delivery: delivery(body)?,
    })
}

/// Answers are streamed unless the request says otherwise.
fn delivery(body: &Value) -> Result<Delivery, Refused> {
    match body.get("stream") {
        None | Some(Value::Null | Value::Bool(true)) => Ok(Delivery::Stream { has_usage: true }),
        Some(Value::Bool(false)) => Ok(Delivery::Plain),
        Some(_) => Err(Refused::new(
            400,
            "json: cannot unmarshal into Go struct field ChatRequest.stream of type bool",
        )),
    }
}

fn offered(tool: &Value) -> Option<Offered> {
    let function = tool.get("function")?;
    let schema = function.get("parameters").cloned().unwrap_or_else(|| json!({ "type": "object" }));
    Some(Offered { name: text(function, "name")?.to_owned(), schema })
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
        assert_eq!((question.tools[0].name.as_str(), question.delivery), ("fs.read", Delivery::Plain));
    }

    #[test]
    fn answers_are_streamed_unless_the_request_says_otherwise() {
        let body = json!({ "model": "m", "messages": [] });
        assert_eq!(read(&body).map(|question| question.delivery), Ok(Delivery::Stream { has_usage: true }));
    }
}
