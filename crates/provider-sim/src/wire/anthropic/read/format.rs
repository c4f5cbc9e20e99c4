//! The shape that the answer has to have.

use serde_json::{Value, json};

use super::invalid;
use crate::wire::check::given;
use crate::wire::question::{Refused, Shape};
use crate::wire::text;

/// The wanted shape.
pub(super) fn read(body: &Value) -> Result<Shape, Refused> {
    let format = given(body, "output_config").and_then(|config| given(config, "format"));
    let Some(format) = format else { return Ok(Shape::Text) };
    if text(format, "type") != Some("json_schema") {
        return Err(invalid("output_config.format.type: Input should be 'json_schema'"));
    }
    let schema = format.get("schema").filter(|schema| schema.is_object());
    let schema = schema.ok_or_else(|| invalid("output_config.format.schema: Field required"))?;
    check(schema)?;
    Ok(Shape::Schema(schema.clone()))
}

/// What no grammar is made of.
const UNSUPPORTED: [&str; 13] = [
    "contains",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "maxItems",
    "maxLength",
    "maximum",
    "minLength",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "patternProperties",
    "uniqueItems",
];

/// Checks a schema and those within it.
fn check(schema: &Value) -> Result<(), Refused> {
    let unsupported: Vec<&str> =
        UNSUPPORTED.into_iter().filter(|keyword| schema.get(keyword).is_some()).collect();
    if !unsupported.is_empty() {
        let kind = text(schema, "type").unwrap_or("any");
        return Err(invalid(format!(
            "output_config.format.schema: For '{kind}' type, properties {} are not supported",
            unsupported.join(", ")
        )));
    }
    if schema.get("minItems").and_then(Value::as_u64).is_some_and(|least| least > 1) {
        return Err(invalid(
            "output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported",
        ));
    }
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    if schema.get("type") == Some(&json!("object")) && !is_closed {
        return Err(invalid(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten().map(|(_, property)| property);
    let any = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    properties.chain(schema.get("items")).chain(any).try_for_each(check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_those_that_a_grammar_can_be_made_of() {
        let closed = json!({ "type": "object", "additionalProperties": false });
        let open = json!({ "type": "object" });
        let around = |inner: &Value| json!({ "type": "object", "additionalProperties": false, "properties": { "a": inner } });
        for (schema, is_taken) in [
            (closed.clone(), true),
            (open.clone(), false),
            (around(&closed), true),
            (around(&open), false),
            (json!("x"), false),
            (around(&json!({ "type": "integer", "minimum": 0 })), false),
            (around(&json!({ "type": "array", "items": closed, "minItems": 1 })), true),
            (around(&json!({ "type": "array", "items": closed, "minItems": 2 })), false),
            (around(&json!({ "anyOf": [open, { "type": "null" }] })), false),
        ] {
            let body = json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
            assert_eq!(read(&body).is_ok(), is_taken, "{schema}");
        }
        assert_eq!(read(&json!({ "output_config": { "effort": "low" } })), Ok(Shape::Text));
    }
}
