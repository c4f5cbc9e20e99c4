//! The shape that the answer has to have.

use serde_json::{Value, json};

use super::invalid;
use crate::wire::check::{given, is_name};
use crate::wire::question::{Refused, Shape};
use crate::wire::text;

/// The wanted shape, given the texts of the conversation.
pub(super) fn read(body: &Value, texts: &[String]) -> Result<Shape, Refused> {
    let Some(format) = given(body, "response_format") else { return Ok(Shape::Text) };
    match text(format, "type").unwrap_or_default() {
        "text" => Ok(Shape::Text),
        "json_object" => object(texts),
        "json_schema" => schema(format),
        other => Err(invalid(format!(
            "Invalid value: '{other}'. Supported values are: 'json_object', 'json_schema', and 'text'."
        ))),
    }
}

/// Without the word, models of this mode wrote blanks without end.
fn object(texts: &[String]) -> Result<Shape, Refused> {
    if texts.iter().any(|text| text.to_lowercase().contains("json")) {
        return Ok(Shape::Object);
    }
    Err(invalid(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    ))
}

fn schema(format: &Value) -> Result<Shape, Refused> {
    let wanted = given(format, "json_schema");
    let wanted =
        wanted.ok_or_else(|| invalid("Missing required parameter: 'response_format.json_schema'."))?;
    let name = text(wanted, "name").unwrap_or_default();
    if !is_name(name, 64) {
        let right = "string does not match pattern '^[a-zA-Z0-9_-]{1,64}$'";
        return Err(invalid(format!("Invalid 'response_format.json_schema.name': {right}.")));
    }
    let schema = wanted.get("schema").cloned().unwrap_or_else(|| json!({}));
    if !schema.is_object() {
        return Err(invalid("Invalid type for 'response_format.json_schema.schema': expected an object."));
    }
    if wanted.get("strict") == Some(&Value::Bool(true)) {
        check_strict(name, &schema)?;
    }
    Ok(Shape::Schema(schema))
}

/// Strict schemas are closed, and require each of their properties.
fn check_strict(name: &str, schema: &Value) -> Result<(), Refused> {
    let wrong = |what: &str| invalid(format!("Invalid schema for response_format '{name}': {what}"));
    let properties = schema.get("properties").and_then(Value::as_object);
    if schema.get("type") == Some(&json!("object")) || properties.is_some() {
        if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(wrong("'additionalProperties' is required to be supplied and to be false."));
        }
        let required = schema.get("required").and_then(Value::as_array);
        let is_required = |name: &str| required.is_some_and(|names| names.contains(&json!(name)));
        if let Some(missing) = properties.into_iter().flatten().find(|(name, _)| !is_required(name)) {
            return Err(wrong(&format!(
                "'required' is required to be supplied and to be an array including every key in properties. Missing \
                 '{}'.",
                missing.0
            )));
        }
    }
    let inner = properties.into_iter().flatten().map(|(_, property)| property).chain(schema.get("items"));
    inner.into_iter().try_for_each(|schema| check_strict(name, schema))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(format: &Value, said: &str) -> Result<Shape, u16> {
        read(&json!({ "response_format": format }), &[said.to_owned()]).map_err(|refused| refused.status)
    }

    #[test]
    fn a_shape_is_text_an_object_or_a_schema() {
        let schema = json!({ "type": "object" });
        let by_schema = json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": schema } });
        for (format, expected) in [
            (Value::Null, Ok(Shape::Text)),
            (json!({ "type": "text" }), Ok(Shape::Text)),
            (json!({ "type": "json_object" }), Ok(Shape::Object)),
            (by_schema, Ok(Shape::Schema(schema.clone()))),
            (json!({ "type": "json_schema" }), Err(400)),
            (json!({ "type": "json_schema", "json_schema": { "name": "a b", "schema": schema } }), Err(400)),
            (json!({ "type": "json_schema", "json_schema": { "name": "a", "schema": "x" } }), Err(400)),
            (json!({ "type": "xml" }), Err(400)),
        ] {
            assert_eq!(shape(&format, "Answer in JSON."), expected, "{format}");
        }
        assert_eq!(shape(&json!({ "type": "json_object" }), "Answer."), Err(400));
    }

    #[test]
    fn strict_schemas_are_closed_and_require_everything() {
        let text = json!({ "type": "string" });
        let inner = json!({ "type": "object", "properties": { "b": text } });
        for (schema, is_taken) in [
            (
                json!({
                    "type": "object", "properties": { "a": text }, "required": ["a"], "additionalProperties": false,
                }),
                true,
            ),
            (json!({ "type": "object", "properties": { "a": text }, "required": ["a"] }), false),
            (json!({ "type": "object", "properties": { "a": text }, "additionalProperties": false }), false),
            (
                json!({
                    "type": "object", "properties": { "a": inner }, "required": ["a"], "additionalProperties": false,
                }),
                false,
            ),
        ] {
            let wanted = json!({ "name": "a", "schema": schema, "strict": true });
            let format = json!({ "type": "json_schema", "json_schema": wanted });
            assert_eq!(shape(&format, "x").is_ok(), is_taken, "{schema}");
        }
    }
}
