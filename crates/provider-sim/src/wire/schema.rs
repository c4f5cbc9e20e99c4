//! Values that a JSON Schema allows, and some that it does not.

use serde_json::{Map, Value, json};

/// The smallest value that the schema allows, as far as types, required properties, constants and enumerations say.
pub(super) fn smallest(schema: &Value) -> Value {
    let first_of = |field: &str| schema.get(field).and_then(Value::as_array).and_then(|list| list.first());
    if let Some(value) = schema.get("const").or_else(|| first_of("enum")) {
        return value.clone();
    }
    if let Some(branch) = first_of("anyOf").or_else(|| first_of("oneOf")) {
        return smallest(branch);
    }
    match kinds(schema).first().copied() {
        Some("string") => json!(""),
        Some("number" | "integer") => schema.get("minimum").cloned().unwrap_or_else(|| json!(0)),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ => Value::Object(required(schema)),
    }
}

/// A value that the schema does not allow: properties of another type, or no properties where some are required, or
/// no object.
pub(super) fn wrong(schema: &Value) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let typed = properties.filter(|(_, property)| !kinds(property).is_empty());
    let other: Map<String, Value> =
        typed.filter_map(|(name, property)| Some((name.clone(), another(property)?))).collect();
    let requires = schema.get("required").and_then(Value::as_array).is_some_and(|names| !names.is_empty());
    if !other.is_empty() || requires { Value::Object(other) } else { json!(["wrong"]) }
}

fn required(schema: &Value) -> Map<String, Value> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let property = |name: &str| schema.get("properties").and_then(|properties| properties.get(name));
    let value = |name: &str| property(name).map_or(Value::Null, smallest);
    names.filter_map(Value::as_str).map(|name| (name.to_owned(), value(name))).collect()
}

/// A value of a type that the schema does not name.
fn another(schema: &Value) -> Option<Value> {
    let kinds = kinds(schema);
    let values = [("string", json!("wrong")), ("boolean", json!(true)), ("null", Value::Null)];
    values.into_iter().find(|(kind, _)| !kinds.contains(kind)).map(|(_, value)| value)
}

fn kinds(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_value_has_what_is_required_and_no_more() {
        let text = json!({ "type": "string" });
        for (schema, expected) in [
            (json!({}), json!({})),
            (json!({ "type": "object", "properties": { "a": text } }), json!({})),
            (json!({ "type": "object", "properties": { "a": text }, "required": ["a"] }), json!({ "a": "" })),
            (json!({ "type": "integer", "minimum": 3 }), json!(3)),
            (json!({ "type": ["boolean", "null"] }), json!(false)),
            (json!({ "type": "string", "enum": ["low", "high"] }), json!("low")),
            (json!({ "anyOf": [{ "type": "array" }, { "type": "null" }] }), json!([])),
            (
                json!({ "required": ["a"], "properties": {
                    "a": { "type": "object", "required": ["b"], "properties": { "b": { "type": "number" } } },
                } }),
                json!({ "a": { "b": 0 } }),
            ),
        ] {
            assert_eq!(smallest(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_wrong_value_is_one_that_the_schema_forbids() {
        for (schema, expected) in [
            (json!({ "type": "object" }), json!(["wrong"])),
            (json!({ "type": "object", "required": ["a"] }), json!({})),
            (json!({ "properties": { "a": { "type": "string" } } }), json!({ "a": true })),
            (json!({ "properties": { "a": { "type": ["integer", "null"] } } }), json!({ "a": "wrong" })),
        ] {
            assert_eq!(wrong(&schema), expected, "{schema}");
        }
    }
}
