//! Which schemas the provider's structured outputs take
//! (<https://platform.claude.com/docs/en/build-with-claude/structured-outputs>): a part of JSON Schema that can be made
//! into a grammar. Any other schema ends a request with 400, so what is not surely in that part counts as not taken: the
//! model is asked in words then.

use serde_json::Value;

use crate::chat::Object;

/// Types of values.
const TYPES: [&str; 7] = ["object", "array", "string", "integer", "number", "boolean", "null"];
/// Formats of strings.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];
/// Properties that may be left out, in the whole schema.
const OPTIONAL_MAX: usize = 24;
/// Values of more than one type, in the whole schema.
const UNIONS_MAX: usize = 16;

/// What makes a grammar large.
#[derive(Debug, Default)]
struct Weight {
    optional: usize,
    unions: usize,
}

/// Whether the provider takes it.
pub(super) fn is_taken(schema: &Object) -> bool {
    let mut weight = Weight::default();
    takes(schema, &mut weight) && weight.optional <= OPTIONAL_MAX && weight.unions <= UNIONS_MAX
}

fn takes(schema: &Object, weight: &mut Weight) -> bool {
    let says_what = ["type", "anyOf", "enum", "const"].iter().any(|field| schema.contains_key(*field));
    says_what
        && schema.iter().all(|(field, value)| takes_field(field, value, weight))
        && is_closed(schema, weight)
}

/// References are not among them: they may come back to where they are.
fn takes_field(field: &str, value: &Value, weight: &mut Weight) -> bool {
    match field {
        "type" => is_type(value, weight),
        "title" | "description" => value.is_string(),
        "enum" => value.as_array().is_some_and(|values| !values.is_empty() && values.iter().all(is_scalar)),
        "const" => is_scalar(value),
        "format" => value.as_str().is_some_and(|format| FORMATS.contains(&format)),
        "additionalProperties" => *value == Value::Bool(false),
        "required" => value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        "properties" => value.as_object().is_some_and(|all| all.values().all(|one| takes_any(one, weight))),
        "items" => takes_any(value, weight),
        "minItems" => value.as_u64().is_some_and(|least| least <= 1),
        "anyOf" => {
            weight.unions += 1;
            value
                .as_array()
                .is_some_and(|any| !any.is_empty() && any.iter().all(|one| takes_any(one, weight)))
        }
        _ => false,
    }
}

fn takes_any(schema: &Value, weight: &mut Weight) -> bool {
    schema.as_object().is_some_and(|schema| takes(schema, weight))
}

fn is_type(value: &Value, weight: &mut Weight) -> bool {
    let is_known = |value: &Value| value.as_str().is_some_and(|name| TYPES.contains(&name));
    match value {
        Value::Array(names) => {
            weight.unions += 1;
            // An object among others may be open or closed, which nobody says.
            !names.is_empty() && names.iter().all(|name| is_known(name) && *name != "object")
        }
        name => is_known(name),
    }
}

/// An object says all that it may hold.
fn is_closed(schema: &Object, weight: &mut Weight) -> bool {
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        return !schema.contains_key("properties");
    }
    let (properties, required) = (schema.get("properties"), schema.get("required"));
    let required = required.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names = properties.and_then(Value::as_object).into_iter().flat_map(Object::keys);
    weight.optional += names.filter(|name| !required.iter().any(|other| other == name.as_str())).count();
    properties.is_some() && schema.contains_key("additionalProperties")
}

fn is_scalar(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::samples;
    use serde_json::json;

    fn closed(properties: &Value, required: &Value) -> Value {
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    #[test]
    fn what_the_provider_surely_takes_is_told_from_what_it_may_refuse() {
        let of = |value: Value| closed(&json!({ "a": value }), &json!(["a"]));
        let inner = closed(&json!({}), &json!([]));
        let cases = [
            (of(json!({ "type": "string", "title": "A", "description": "One.", "format": "date" })), true),
            (of(json!({ "type": "string", "format": "regex" })), false),
            (of(json!({ "type": "string", "pattern": "^a" })), false),
            (of(json!({ "type": "string", "minLength": 1 })), false),
            (of(json!({ "type": "integer", "minimum": 0 })), false),
            (of(json!({ "enum": ["a", 1, true, null] })), true),
            (of(json!({ "enum": [{}] })), false),
            (of(json!({ "enum": [] })), false),
            (of(json!({ "const": 7 })), true),
            (of(json!({ "type": "array", "items": { "type": "number" }, "minItems": 1 })), true),
            (of(json!({ "type": "array", "items": { "type": "number" }, "minItems": 2 })), false),
            (of(json!({ "type": "array", "items": { "type": "number" }, "maxItems": 2 })), false),
            (of(json!({ "type": ["string", "null"] })), true),
            (of(json!({ "type": ["object", "null"] })), false),
            (of(json!({ "anyOf": [inner, { "type": "null" }] })), true),
            (of(json!({ "anyOf": [{ "type": "object" }, { "type": "null" }] })), false),
            (of(json!({ "oneOf": [{ "type": "null" }] })), false),
            (of(json!({ "$ref": "#" })), false),
            (of(json!({})), false),
            (of(json!(true)), false),
            (of(json!({ "type": "object" })), false),
            (of(inner), true),
            (json!({ "type": "object", "additionalProperties": false }), false),
            (json!({ "properties": {}, "additionalProperties": false }), false),
            (json!({ "type": "array", "items": { "type": "string" } }), true),
        ];
        for (schema, expected) in cases {
            assert_eq!(is_taken(&samples::object(schema.clone())), expected, "{schema}");
        }
    }

    #[test]
    fn a_grammar_that_would_be_too_large_is_not_asked_for() {
        let many = |count: usize, value: &Value| {
            let properties: Object = (0..count).map(|at| (format!("p{at}"), value.clone())).collect();
            let names: Vec<&String> = properties.keys().collect();
            [closed(&json!(properties), &json!([])), closed(&json!(properties), &json!(names))]
        };
        let text = json!({ "type": "string" });
        let either = json!({ "type": ["string", "null"] });
        for ([optional, required], taken) in [
            (many(24, &text), [true, true]),
            (many(25, &text), [false, true]),
            (many(16, &either), [true, true]),
            (many(17, &either), [false, false]),
        ] {
            let told = [optional, required].map(|schema| is_taken(&samples::object(schema)));
            assert_eq!(told, taken);
        }
    }
}
