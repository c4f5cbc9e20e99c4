//! The proxy for cloud models.

use std::fmt;

use bulkhead_edge::Secret;
use reqwest::Url;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let proxy = ProxyUrl::parse(&Secret::new("http://ada:sk-1@proxy.example:3128"));
        assert_eq!(format!("{proxy:?}"), "Some(ProxyUrl(hidden))");
    }
}
