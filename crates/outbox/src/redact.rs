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

/// What stands in place of a credential.
const REDACTED: &str = "[redacted]";

/// The text with every credential-shaped part replaced.
#[must_use]
pub fn redact_text(text: &str) -> String {
    let Some(credentials) = CREDENTIALS.as_ref() else { return REDACTED.to_owned() };
    let keep_name = |found: &Captures<'_>| match found.name("name") {
        Some(name) => format!("{}{REDACTED}", name.as_str()),
        None => REDACTED.to_owned(),
    };
    credentials.replace_all(text, keep_name).into_owned()
}

/// The value with every string in it redacted, keys included.
#[must_use]
pub fn redact_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redact_text(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(redact_value).collect()),
        Value::Object(entries) => Value::Object(
            entries.into_iter().map(|(key, value)| (redact_text(&key), redact_value(value))).collect(),
        ),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
