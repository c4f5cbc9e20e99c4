//! What an event says besides its fields.
//!
//! Promises a JSON object in canonical form that holds nothing which looks like a credential and fits into a line. What is
//! too large or has no canonical form is replaced by its size and hash.

use bulkhead_canonical_json as canonical;
use serde::Serialize;
use serde_json::{Value, json};

use crate::redact::{may_hold_one_in_json, redact_value};

/// Attributes at most; with the other fields the line stays well below 65,535 bytes.
const BYTES_MAX: usize = 48 << 10;

/// Before they are stored.
#[derive(Debug, Clone)]
pub(crate) enum Attributes {
    /// To be redacted and written.
    Value(Value),
    /// Canonical, in brackets, with nothing that looks like a credential.
    Written(String),
}

impl Attributes {
    /// Writes those of a type, and takes its value only where there is more to look for.
    pub(crate) fn of(attributes: &impl Serialize) -> Self {
        match canonical::of(&[attributes]) {
            Ok(nested) if !may_hold_one_in_json(&nested) => Self::Written(nested),
            Ok(_) | Err(_) => Self::Value(serde_json::to_value(attributes).unwrap_or_else(|error| {
                tracing::error!(%error, "attributes that are no JSON are left out of an event");
                json!({})
            })),
        }
    }

    /// As they are stored, in an event of `kind`.
    pub(crate) fn into_json(self, kind: &str) -> String {
        match self {
            Self::Written(nested) => fitting(nested),
            Self::Value(value) => {
                // The log nests them one level deeper, so what would only just fit here is judged as it will stand.
                let nested = Value::Array(vec![redact_value(value)]);
                canonical::of_value(&nested).map_or_else(
                    |error| {
                        tracing::error!(%error, kind, "attributes without a canonical form");
                        summary(without_brackets(&nested.to_string()))
                    },
                    fitting,
                )
            }
        }
    }
}

/// Without the brackets.
fn fitting(mut nested: String) -> String {
    let text = without_brackets(&nested);
    if text.len() > BYTES_MAX {
        return summary(text);
    }
    nested.pop();
    nested.remove(0);
    nested
}

fn without_brackets(nested: &str) -> &str {
    nested.strip_prefix('[').and_then(|nested| nested.strip_suffix(']')).unwrap_or(nested)
}

fn summary(text: &str) -> String {
    let sha256 = canonical::sha256_hex(text);
    json!({ "omitted_bytes": text.len(), "omitted_sha256": sha256 }).to_string()
}
