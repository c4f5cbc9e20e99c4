//! Last line of defence: what looks like a credential does not leave the process in an event.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::Value;

/// Published shapes of credentials: provider keys (`sk-`), AWS access keys, GitHub and Slack tokens, Google
/// API keys, JSON web tokens, PEM private keys, bearer headers, and `password=`-like assignments.
static CREDENTIALS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let shapes = [
        r"sk-[A-Za-z0-9_-]{16,}",
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bgh[pousr]_[A-Za-z0-9]{20,}",
        r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
        r"\bAIza[A-Za-z0-9_-]{30,}",
        r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{5,}",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:[^-]|-[^-])*(?:-----END [A-Z ]*PRIVATE KEY-----)?",
        r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{8,}",
        r#"(?i)(?P<name>\b[a-z0-9_]*(?:password|passwd|secret|api_?key|access_?key|token)\b["']?\s*[:=]\s*["']?)[^\s"']{6,}"#,
    ];
    Regex::new(&shapes.join("|")).ok()
});

/// No shape has fewer bytes: a name such as `token`, a sign, and six more. Most of what events say is shorter.
const CREDENTIAL_BYTES_MIN: usize = 12;

/// What stands in place of a credential.
const REDACTED: &str = "[redacted]";

/// The text with every credential-shaped part replaced.
#[must_use]
pub fn redact_text(text: &str) -> String {
    if !may_hold_one(text) {
        return text.to_owned();
    }
    let Some(credentials) = CREDENTIALS.as_ref() else { return REDACTED.to_owned() };
    let keep_name = |found: &Captures<'_>| match found.name("name") {
        Some(name) => format!("{}{REDACTED}", name.as_str()),
        None => REDACTED.to_owned(),
    };
    credentials.replace_all(text, keep_name).into_owned()
}

/// Whether a text may hold what looks like a credential, by one look at it: each shape but that of GitHub's tokens has a
/// sign, a space or a capital letter in it, which the words that events are made of do not have.
fn may_hold_one(text: &str) -> bool {
    let is_word =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'.';
    text.len() >= CREDENTIAL_BYTES_MIN && (!text.bytes().all(is_word) || text.contains("gh"))
}

/// Whether a string in a JSON text may hold what looks like a credential, by one look at the text: it stands in brackets,
/// and nothing is between its parts. A credential has white space, `=` or a `:` that ends no key before its secret part, or
/// begins as one of the shapes does. What is escaped or beyond ASCII may be anything.
pub(crate) fn may_hold_one_in_json(nested: &str) -> bool {
    nested.as_bytes().windows(3).any(|three| match three {
        [_, _, ..=b' ' | b'=' | b'\\' | 0x7f..] => true,
        [_, before, b':'] => *before != b'"',
        b"sk-" | b"AKI" | b"ASI" | [b'g', b'h', _] | b"xox" | b"AIz" | b"eyJ" => true,
        _ => false,
    })
}

/// The value with every string in it redacted, keys included.
#[must_use]
pub fn redact_value(value: Value) -> Value {
    match value {
        Value::String(text) if may_hold_one(&text) => Value::String(redact_text(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(redact_value).collect()),
        Value::Object(entries) => Value::Object(entries.into_iter().map(redact_entry).collect()),
        other => other,
    }
}

fn redact_entry((key, value): (String, Value)) -> (String, Value) {
    let key = if may_hold_one(&key) { redact_text(&key) } else { key };
    (key, redact_value(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_are_replaced_and_the_rest_is_kept() {
        let cases = [
            ("use sk-ant-api03-aaaaaaaaaaaaaaaaaaaa now", "use [redacted] now"),
            ("AKIAABCDEFGHIJKLMNOP", "[redacted]"),
            ("ghp_0123456789012345678901234567890123", "[redacted]"),
            ("DB_PASSWORD=hunter2hunter2 next", "DB_PASSWORD=[redacted] next"),
            ("Authorization: Bearer abc.def-ghi_jkl", "Authorization: [redacted]"),
            ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "[redacted]"),
            ("notes/tokens.md, 12 bytes", "notes/tokens.md, 12 bytes"),
            ("the password is short", "the password is short"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact_text(text), expected);
        }
    }

    #[test]
    fn what_events_say_in_general_needs_no_second_look() {
        let said = r#"[{"attempts":[{"model":"claude-sonnet-4-5","outcome":"answered"}],"cost_usd_micros":null,"tokens":7}]"#;
        assert!(!may_hold_one_in_json(said));
    }

    proptest! {
        /// Of texts made of what credentials are made of.
        #[test]
        fn what_needs_no_second_look_holds_no_credential(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(vec![
                        "sk-", "AKIA", "ASIA", "gh", "p_", "xoxb-", "AIza", "eyJ", ".", "-----BEGIN ", "PRIVATE KEY-----",
                        "bearer ", "BEARER", "\u{a0}", "\t", "token", "my_api_key", "PASSWD", "pa\u{17f}\u{17f}word", "=",
                        ":", "\"", "'", "secret", "-",
                    ]).prop_map(str::to_owned),
                    "[A-Za-z0-9]{1,24}",
                ],
                0..7,
            ),
            is_key: bool,
        ) {
            let text = parts.concat();
            let value = if is_key { serde_json::json!([{ text: 1 }]) } else { serde_json::json!([{ "a": text }]) };
            if !may_hold_one_in_json(&value.to_string()) {
                prop_assert_eq!(redact_value(value.clone()), value);
            }
        }
    }

    #[test]
    fn the_shortest_and_plainest_credentials_are_found_too() {
        let plain = "a".repeat(40);
        for text in [
            format!("sk-{}", &plain[..16]),
            "AKIA0000000000000000".to_owned(),
            "ASIA0000000000000000".to_owned(),
            format!("ghp_{}", &plain[..20]),
            format!("xoxb-{}", &plain[..10]),
            format!("AIza{}", &plain[..30]),
            format!("eyJ{}.{}.{}", &plain[..10], &plain[..10], &plain[..5]),
            "-----BEGIN PRIVATE KEY-----".to_owned(),
            "bearer aaaaaaaa".to_owned(),
            "token:aaaaaa".to_owned(),
            "token=aaaaaa".to_owned(),
        ] {
            assert!(redact_text(&text).contains(REDACTED), "{text}");
            let value = serde_json::json!({ text.as_str(): [text] });
            assert!(may_hold_one_in_json(&serde_json::json!([{ "a": text }]).to_string()), "{text}");
            assert!(!redact_value(value).to_string().contains(&text), "{text}");
        }
    }
}
