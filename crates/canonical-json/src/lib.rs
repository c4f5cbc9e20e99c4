//! JSON that two parties can sign: RFC 8785 text, read strictly.
//!
//! Promises that documents with different values never share a digest. RFC 8785 alone does not: most parsers
//! keep only one of two equal keys, and integers beyond 2^53 fold into their neighbours. Both are refused
//! before anything is hashed. What is hashed is what is used: a caller takes the parsed value, never the text
//! (`1.0` and `1` are one value, and so are fractions that no double tells apart).

mod fixed;
mod plain;
#[cfg(test)]
mod samples;
mod strict;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use fixed::is_plain_object;
pub use strict::{Depth, parse, parse_any_number};

/// Integers whose magnitude is above this do not survive RFC 8785 (which follows ECMAScript numbers).
pub const INTEGER_MAGNITUDE_MAX: u64 = 1 << 53;

/// Why a document was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CanonicalError {
    /// It is not JSON, or breaks one of the stricter rules; the message says which and where.
    #[error("not acceptable JSON: {0}")]
    Refused(#[source] serde_json::Error),
    /// It parsed and could not be written canonically.
    #[error("no canonical form: {0}")]
    NoCanonicalForm(#[source] serde_json::Error),
    /// The text is JSON, but not in canonical form.
    #[error("not in RFC 8785 form")]
    NotCanonical,
}

/// The RFC 8785 text of a value.
///
/// # Errors
/// [`CanonicalError::NoCanonicalForm`] for numbers that JSON cannot carry, and
/// [`CanonicalError::Refused`] for integers beyond 2^53.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, CanonicalError> {
    let plain = serde_json::to_string(value).map_err(CanonicalError::NoCanonicalForm)?;
    let strict: Value = parse(&plain)?;
    match plain::to_string(&strict) {
        Some(text) => Ok(text),
        None => serde_jcs::to_string(&strict).map_err(CanonicalError::NoCanonicalForm),
    }
}

/// The same of a value that is no text yet, whose keys cannot repeat.
///
/// # Errors
/// As of [`to_string`].
pub fn of_value(value: &Value) -> Result<String, CanonicalError> {
    plain::to_string(value).map_or_else(|| to_string(value), Ok)
}

/// The same of a type that holds JSON as [`Value`]s alone, never as text, and so cannot have a key twice.
///
/// # Errors
/// As of [`to_string`].
pub fn of<T: Serialize>(value: &T) -> Result<String, CanonicalError> {
    match plain::to_string(value) {
        Some(text) => Ok(text),
        None => of_value(&serde_json::to_value(value).map_err(CanonicalError::NoCanonicalForm)?),
    }
}

/// Parses text that must already be in RFC 8785 form.
///
/// # Errors
/// [`CanonicalError::Refused`] when it does not parse strictly, [`CanonicalError::NotCanonical`] when it is
/// JSON in another form.
pub fn parse_canonical(text: &str) -> Result<Value, CanonicalError> {
    let value = parse(text)?;
    if to_string(&value)? == text { Ok(value) } else { Err(CanonicalError::NotCanonical) }
}

/// SHA-256 as 64 lower-case hex digits.
#[must_use]
pub fn sha256_hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_and_space_is_dropped() {
        let value = parse(r#"{ "b": [1, 2.50], "a": "é" }"#).expect("parses");
        assert_eq!(to_string(&value).expect("canonical"), r#"{"a":"é","b":[1,2.5]}"#);
    }

    #[test]
    fn documents_that_could_share_a_digest_are_refused() {
        let refused = [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"a":1}}"#,
            "9007199254740993",
            "-9007199254740993",
            "[18446744073709551615]",
            "1e400",
            "9007199254740993.0",
            "",
            "{} {}",
            "nul",
            "-0.0",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "accepted {text}");
        }
    }

    #[test]
    fn the_largest_safe_integers_are_kept() {
        for text in ["9007199254740992", "-9007199254740992", "0", "-1", "0.5"] {
            assert_eq!(to_string(&parse(text).expect("parses")).expect("canonical"), text);
        }
    }

    #[test]
    fn a_document_that_is_only_passed_on_may_hold_any_number_and_no_key_twice() {
        let large = "[9007199254740993,-9007199254740993,18446744073709551615]";
        assert_eq!(parse_any_number(large).expect("parses").to_string(), large);
        assert!(parse_any_number("[-0.0,1e300]").is_ok());
        let deep = "[".repeat(65) + &"]".repeat(65);
        for text in [r#"{"a":1,"a":2}"#, "1e400", &deep] {
            assert!(parse_any_number(text).is_err(), "accepted {text}");
        }
    }

    #[test]
    fn only_canonical_text_passes_as_canonical() {
        assert!(parse_canonical(r#"{"a":1}"#).is_ok());
        for text in [r#"{"a": 1}"#, r#"{"b":1,"a":1}"#, r#"{"a":1.0}"#, r#"{"a":"\u0041"}"#] {
            assert!(matches!(parse_canonical(text), Err(CanonicalError::NotCanonical)), "accepted {text}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "[".repeat(200) + &"]".repeat(200);
        assert!(parse(&deep).is_err());
    }
}
