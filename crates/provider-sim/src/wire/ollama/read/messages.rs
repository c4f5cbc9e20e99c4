//! The conversation.

use serde_json::Value;

use super::invalid;
use crate::wire::check::{is_base64, list};
use crate::wire::question::Refused;
use crate::wire::text;

/// Checks each message.
pub(super) fn check(messages: &[Value]) -> Result<(), Refused> {
    messages.iter().try_for_each(check_message)
}

fn check_message(message: &Value) -> Result<(), Refused> {
    let role = text(message, "role").unwrap_or_default();
    if !["system", "user", "assistant", "tool"].contains(&role) {
        return Err(invalid(format!(
            "invalid role: {role}, must be one of \"system\", \"user\", \"assistant\", or \"tool\""
        )));
    }
    if message.get("content").is_some_and(|content| !content.is_string() && !content.is_null()) {
        let place = "Go struct field ChatRequest.messages.content of type string";
        return Err(invalid(format!("json: cannot unmarshal into {place}")));
    }
    // Bare base64: with the head of a data URL it is none.
    if !list(message, "images").iter().all(|image| image.as_str().is_some_and(is_base64)) {
        return Err(invalid("illegal base64 data at input byte 4"));
    }
    let is_object = |call: &Value| call.pointer("/function/arguments").is_none_or(Value::is_object);
    if !list(message, "tool_calls").iter().all(is_object) {
        let place = "Go struct field ChatRequest.messages.tool_calls.function.arguments";
        return Err(invalid(format!("json: cannot unmarshal string into {place}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_those_that_the_server_takes() {
        let call = |arguments: Value| json!([{ "function": { "name": "f", "arguments": arguments } }]);
        for (message, is_taken) in [
            (json!({ "role": "user", "content": "x", "images": ["aGk="] }), true),
            (json!({ "role": "user", "content": "x", "images": ["data:image/png;base64,aGk="] }), false),
            (json!({ "role": "user", "content": [{ "type": "text", "text": "x" }] }), false),
            (json!({ "role": "assistant", "content": "", "tool_calls": call(json!({ "a": 1 })) }), true),
            (json!({ "role": "assistant", "content": "", "tool_calls": call(json!("{}")) }), false),
            (json!({ "role": "developer", "content": "x" }), false),
        ] {
            assert_eq!(check(std::slice::from_ref(&message)).is_ok(), is_taken, "{message}");
        }
    }
}
