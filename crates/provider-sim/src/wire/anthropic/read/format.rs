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
    check_closed(schema)?;
    Ok(Shape::Schema(schema.clone()))
}

fn check_closed(schema: &Value) -> Result<(), Refused> {
    let is_closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    if schema.get("type") == Some(&json!("object")) && !is_closed {
        return Err(invalid(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        ));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flatten().map(|(_, property)| property);
    properties.chain(schema.get("items")).try_for_each(check_closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_are_closed() {
        let closed = json!({ "type": "object", "additionalProperties": false });
        let open = json!({ "type": "object" });
        let around = |inner: &Value| json!({ "type": "object", "additionalProperties": false, "properties": { "a": inner } });
        for (schema, is_taken) in [
            (closed.clone(), true),
            (open.clone(), false),
            (around(&closed), true),
            (around(&open), false),
            (json!("x"), false),
        ] {
            let body = json!({ "output_config": { "format": { "type": "json_schema", "schema": schema } } });
            assert_eq!(read(&body).is_ok(), is_taken, "{schema}");
        }
        assert_eq!(read(&json!({ "output_config": { "effort": "low" } })), Ok(Shape::Text));
    }
}
