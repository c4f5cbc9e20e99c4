//! Tools, and what the model is told about them.

use serde_json::{Value, json};

use super::invalid;
use crate::wire::check::{given, is_name, list};
use crate::wire::question::{Choice, Offered, Refused};

/// The offered tools.
pub(super) fn read(body: &Value) -> Result<Vec<Offered>, Refused> {
    let tools = list(body, "tools").iter().enumerate();
    tools.map(|(at, tool)| offered(at, tool)).collect()
}

fn offered(at: usize, tool: &Value) -> Result<Offered, Refused> {
    let name = tool.pointer("/function/name").and_then(Value::as_str).unwrap_or_default();
    if !is_name(name, 64) {
        let right = "string does not match pattern '^[a-zA-Z0-9_-]{1,64}$'";
        return Err(invalid(format!("Invalid 'tools[{at}].function.name': {right}.")));
    }
    // Left out, the tool takes no arguments.
    let schema = tool.pointer("/function/parameters").cloned();
    let schema = schema.unwrap_or_else(|| json!({ "type": "object", "properties": {} }));
    Ok(Offered { name: name.to_owned(), schema })
}

/// What the model has to do with them.
pub(super) fn choice(body: &Value, tools: &[Offered]) -> Result<Choice, Refused> {
    for field in ["tool_choice", "parallel_tool_calls"] {
        if tools.is_empty() && given(body, field).is_some() {
            return Err(invalid(format!("'{field}' is only allowed when 'tools' are specified.")));
        }
    }
    if given(body, "parallel_tool_calls").is_some_and(|parallel| !parallel.is_boolean()) {
        return Err(invalid("Invalid type for 'parallel_tool_calls': expected a boolean."));
    }
    let Some(choice) = given(body, "tool_choice") else { return Ok(Choice::Free) };
    match choice.as_str() {
        Some("auto") => Ok(Choice::Free),
        Some("none") => Ok(Choice::Barred),
        Some("required") => Ok(Choice::Forced),
        Some(other) => Err(invalid(format!(
            "Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'."
        ))),
        None => named(choice, tools),
    }
}

fn named(choice: &Value, tools: &[Offered]) -> Result<Choice, Refused> {
    let name = choice.pointer("/function/name").and_then(Value::as_str);
    let name = name.filter(|_| choice.get("type") == Some(&json!("function")));
    let name = name.ok_or_else(|| invalid("Missing required parameter: 'tool_choice.function.name'."))?;
    if tools.iter().all(|tool| tool.name != name) {
        return Err(invalid(format!("Tool choice '{name}' not found in 'tools' parameter.")));
    }
    Ok(Choice::Named(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(choice: &Value) -> Result<Choice, u16> {
        let body = json!({
            "tools": [{ "type": "function", "function": { "name": "fs_read" } }], "tool_choice": choice,
        });
        let tools = read(&body).expect("tools");
        super::choice(&body, &tools).map_err(|refused| refused.status)
    }

    #[test]
    fn a_choice_is_one_of_the_words_or_an_offered_tool() {
        let function = |name: &str| json!({ "type": "function", "function": { "name": name } });
        for (choice, expected) in [
            (Value::Null, Ok(Choice::Free)),
            (json!("auto"), Ok(Choice::Free)),
            (json!("none"), Ok(Choice::Barred)),
            (json!("required"), Ok(Choice::Forced)),
            (json!("any"), Err(400)),
            (function("fs_read"), Ok(Choice::Named("fs_read".into()))),
            (function("fs_write"), Err(400)),
            (json!({ "type": "tool", "name": "fs_read" }), Err(400)),
        ] {
            assert_eq!(chosen(&choice), expected, "{choice}");
        }
    }

    #[test]
    fn nothing_is_said_about_tools_that_are_not_there() {
        for body in [json!({ "tool_choice": "none" }), json!({ "parallel_tool_calls": false })] {
            assert_eq!(super::choice(&body, &[]).map_err(|refused| refused.status), Err(400), "{body}");
        }
    }
}
