//! The RFC 8785 text of what needs none of its harder rules, which is nearly everything that is written: keys of ASCII,
//! whose order by UTF-16 is that of their bytes, and whole numbers, which ECMAScript writes as anybody does. Strings are
//! written as serde_json writes them, which is the RFC's way.

use serde_json::{Map, Value};

use crate::INTEGER_MAGNITUDE_MAX;

/// Levels that are surely no more than the strict reader takes; what is nested deeper is left to it.
const LEVELS_MAX: usize = 63;

/// The text; none: the value is not so plain.
pub(crate) fn to_string(value: &Value) -> Option<String> {
    let mut text = String::with_capacity(256);
    write(value, LEVELS_MAX, &mut text)?;
    Some(text)
}

fn write(value: &Value, depth_left: usize, text: &mut String) -> Option<()> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs))?;
            if magnitude > INTEGER_MAGNITUDE_MAX {
                return None;
            }
            text.push_str(&number.to_string());
        }
        Value::String(string) => quote(string, text)?,
        Value::Array(items) => {
            let depth_left = depth_left.checked_sub(1)?;
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(item, depth_left, text)?;
            }
            text.push(']');
        }
        Value::Object(entries) => {
            let depth_left = depth_left.checked_sub(1)?;
            text.push('{');
            for (at, (key, value)) in sorted(entries)?.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                quote(key, text)?;
                text.push(':');
                write(value, depth_left, text)?;
            }
            text.push('}');
        }
    }
    Some(())
}

fn sorted(entries: &Map<String, Value>) -> Option<Vec<(&String, &Value)>> {
    let mut sorted: Vec<_> = entries.iter().collect();
    if !sorted.iter().all(|(key, _)| key.is_ascii()) {
        return None;
    }
    if !sorted.is_sorted_by_key(|(key, _)| *key) {
        sorted.sort_unstable_by_key(|(key, _)| *key);
    }
    Some(sorted)
}

fn quote(string: &str, text: &mut String) -> Option<()> {
    // What has to be escaped is left to who knows how.
    if string.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        text.push('"');
        text.push_str(string);
        text.push('"');
    } else {
        text.push_str(&serde_json::to_string(string).ok()?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let key = prop_oneof!["[ -~]{0,6}", any::<String>()];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((key, inner), 0..6)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_plain_is_written_as_the_rfc_says(value in values()) {
            if let Some(text) = to_string(&value) {
                prop_assert_eq!(text, serde_jcs::to_string(&value).expect("canonical"));
            }
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_others() {
        for value in [
            json!(0.5),
            json!(9_007_199_254_740_993_u64),
            json!(-9_007_199_254_740_993_i64),
            json!({ "é": 1 }),
        ] {
            assert_eq!(to_string(&value), None, "{value}");
        }
        assert_eq!(
            to_string(&json!({ "b": [-1, "é\n"], "a": {} })).as_deref(),
            Some("{\"a\":{},\"b\":[-1,\"é\\n\"]}")
        );
    }
}
