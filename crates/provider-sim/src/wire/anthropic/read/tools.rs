//! Tools, and what the model is told about them.

use serde_json::Value;

use super::invalid;
use crate::wire::check::{given, is_name, list};
use crate::wire::question::{Choice, Offered, Refused};
use crate::wire::text;

/// The offered tools.
pub(super) fn read(body: &Value) -> Result<Vec<Offered>, Refused> {
    let tools = list(body, "tools").iter().enumerate();
    let tools: Vec<Offered> = tools.map(|(at, tool)| offered(at, tool)).collect::<Result<_, _>>()?;
    let mut names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("tools: Tool names must be unique."));
    }
    Ok(tools)
}

/// The provider's own rule for names, on which dotted ones fail.
fn offered(at: usize, tool: &Value) -> Result<Offered, Refused> {
    let name = text(tool, "name").unwrap_or_default();
    if !is_name(name, 128) {
        let right = "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'";
        return Err(invalid(format!("tools.{at}.custom.name: {right}")));
    }
    let schema = tool.get("input_schema").filter(|schema| schema.is_object());
    let schema = schema.ok_or_else(|| invalid(format!("tools.{at}.custom.input_schema: Field required")))?;
    Ok(Offered { name: name.to_owned(), schema: schema.clone() })
}

/// What the model has to do with them.
pub(super) fn choice(body: &Value, tools: &[Offered]) -> Result<Choice, Refused> {
    let Some(choice) = given(body, "tool_choice") else { return Ok(Choice::Free) };
    if tools.is_empty() {
        return Err(invalid("tool_choice may only be specified while providing tools."));
    }
    let kind = text(choice, "type").unwrap_or_default();
    check_parallel(kind, choice)?;
    match kind {
        "auto" => Ok(Choice::Free),
        "none" => Ok(Choice::Barred),
        "any" => Ok(Choice::Forced),
        "tool" => named(choice, tools),
        other => Err(invalid(format!(
            "tool_choice: Input tag '{other}' found using 'type' does not match any of the expected tags: 'any', 'auto', \
             'none', 'tool'"
        ))),
    }
}

fn check_parallel(kind: &str, choice: &Value) -> Result<(), Refused> {
    let field = "disable_parallel_tool_use";
    match choice.get(field) {
        None => Ok(()),
        Some(_) if kind == "none" => {
            Err(invalid(format!("tool_choice.none.{field}: Extra inputs are not permitted")))
        }
        Some(Value::Bool(_)) => Ok(()),
        Some(_) => Err(invalid(format!("tool_choice.{kind}.{field}: Input should be a valid boolean"))),
    }
}

fn named(choice: &Value, tools: &[Offered]) -> Result<Choice, Refused> {
    let name = text(choice, "name").ok_or_else(|| invalid("tool_choice.tool.name: Field required"))?;
    if tools.iter().all(|tool| tool.name != name) {
        return Err(invalid(format!("Tool '{name}' not found in provided tools")));
    }
    Ok(Choice::Named(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_choice_is_one_of_the_types_or_an_offered_tool() {
        for (choice, expected) in [
            (Value::Null, Ok(Choice::Free)),
            (json!({ "type": "auto", "disable_parallel_tool_use": true }), Ok(Choice::Free)),
            (json!({ "type": "none" }), Ok(Choice::Barred)),
            (json!({ "type": "any" }), Ok(Choice::Forced)),
            (json!({ "type": "tool", "name": "fs_read" }), Ok(Choice::Named("fs_read".into()))),
            (json!({ "type": "tool", "name": "fs_write" }), Err(400)),
            (json!({ "type": "tool" }), Err(400)),
            (json!({ "type": "required" }), Err(400)),
            (json!("auto"), Err(400)),
            (json!({ "type": "none", "disable_parallel_tool_use": true }), Err(400)),
            (json!({ "type": "any", "disable_parallel_tool_use": 1 }), Err(400)),
        ] {
            let body = json!({ "tools": [{ "name": "fs_read", "input_schema": {} }], "tool_choice": choice });
            let tools = read(&body).expect("tools");
            assert_eq!(super::choice(&body, &tools).map_err(|refused| refused.status), expected, "{choice}");
        }
    }

    #[test]
    fn no_name_is_offered_twice() {
        let tool = json!({ "name": "fs_read", "input_schema": {} });
        assert!(read(&json!({ "tools": [tool, tool] })).is_err());
    }
}
