//! Text that must not be shown.

use std::fmt;

use reqwest::Url;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

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
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// The URL of a proxy, which may hold a password. Its `Debug` is blank.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// Takes what is a URL of HTTP or HTTPS.
    pub(crate) fn parse(text: &Secret) -> Option<Self> {
        let url: Url = text.reveal().parse().ok()?;
        matches!(url.scheme(), "http" | "https").then_some(Self(url))
    }

    /// The URL, for the one client that uses it.
    #[must_use]
    pub(crate) fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ProxyUrl(hidden)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    /// The usual error would show a value of the wrong type.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer);
        text.map(Self).map_err(|_shows_the_value| D::Error::custom("a value that is not shown must be text"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Some(Secret::new("sk-1"))), "Some(Secret(hidden))");
        let proxy = ProxyUrl::parse(&Secret::new("http://ada:sk-1@proxy.example:3128"));
        assert_eq!(format!("{proxy:?}"), "Some(ProxyUrl(hidden))");
    }
}
