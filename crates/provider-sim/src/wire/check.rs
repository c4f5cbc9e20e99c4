//! What requests to several providers are checked for. The words of a refusal are each provider's own.

use std::ops::RangeInclusive;

use serde_json::Value;

/// The field; absent and null are the same.
pub(super) fn given<'b>(body: &'b Value, field: &str) -> Option<&'b Value> {
    body.get(field).filter(|value| !value.is_null())
}

/// A list that may be absent.
pub(super) fn list<'b>(body: &'b Value, field: &str) -> &'b [Value] {
    body.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The first field that is none of these.
pub(super) fn unknown<'b>(body: &'b Value, known: &[&str]) -> Option<&'b str> {
    let fields = body.as_object().into_iter().flat_map(serde_json::Map::keys);
    fields.map(String::as_str).find(|field| !known.contains(field))
}

/// Whether a number is in a range.
pub(super) fn is_within(value: &Value, range: &RangeInclusive<f64>) -> bool {
    value.as_f64().is_some_and(|number| range.contains(&number))
}

/// Whether text is padded base64 (RFC 4648) of something.
pub(super) fn is_base64(text: &str) -> bool {
    let bytes = text.trim_end_matches('=');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !bytes.is_empty()
        && text.len().is_multiple_of(4)
        && text.len() - bytes.len() <= 2
        && bytes.bytes().all(plain)
}

/// Whether a name is one that both Anthropic and OpenAI take.
pub(super) fn is_name(name: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_told_from_what_is_none() {
        for (text, is) in
            [("aGk=", true), ("aGkK", true), ("", false), ("aGk", false), ("a===", false), ("a k=", false)]
        {
            assert_eq!(is_base64(text), is, "{text}");
        }
    }
}
