//! Text that must not be shown.

use std::fmt;

use toml::de::DeValue;

use super::{Setting, Wrong};

/// A credential. It has no `Display`, and its `Debug` is blank.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text as it is.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

impl Setting for Secret {
    const KIND: &'static str = "text";

    fn take(value: &DeValue<'_>) -> Result<Self, Wrong> {
        String::take(value).map(Self)
    }

    fn show(&self) -> String {
        "(hidden)".to_owned()
    }
}

/// A variable of the process environment.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads secrets from the environment, at start"
)]
pub(super) fn variable(name: &str) -> Result<String, std::env::VarError> {
    std::env::var(name)
}

/// A key without the white space around it; it must fit into a header.
pub(super) fn usable(text: &str) -> Result<Secret, String> {
    let key = text.trim();
    let fits = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
    if fits {
        Ok(Secret::new(key))
    } else {
        Err("must hold one key of printable ASCII and nothing else".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Some(Secret::new("sk-1"))), "Some(Secret(hidden))");
    }

    #[test]
    fn a_key_is_one_word_of_ascii() {
        assert_eq!(usable(" sk-1\n"), Ok(Secret::new("sk-1")));
        for text in ["", " \n", "sk 1", "sk-ü", "sk\u{0}1"] {
            assert!(usable(text).is_err(), "{text:?}");
        }
    }
}
