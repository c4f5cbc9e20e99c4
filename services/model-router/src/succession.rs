//! What is known of the models when a catalog takes the place of another. Pure.

use bulkhead_edge::Secret;
use reqwest::Url;

/// Whom a model's state is about: who is asked, and with which credential. Timeouts, weights and prices are no part of
/// it, so that changing them never lets a server be called before the time that it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Name in the configuration.
    pub name: &'a str,
    /// Its address is checked.
    pub local: bool,
    /// Wire format.
    pub provider: &'static str,
    /// Where it is.
    pub base_url: &'a Url,
    /// The provider's name for it.
    pub provider_model: &'a str,
    /// A new one gets a new chance.
    pub key: Option<&'a Secret>,
}

/// For each model after a change the place of the same model before it, whose state it keeps; none: it is new, or
/// another one.
#[must_use]
pub fn carry(before: &[Identity<'_>], after: &[Identity<'_>]) -> Vec<Option<usize>> {
    after.iter().map(|model| before.iter().position(|known| known == model)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn a_model_keeps_its_state_while_the_same_server_is_asked_with_the_same_key() {
        let (here, there) = (url("https://one.example"), url("https://two.example"));
        let (old, new) = (Secret::new("sk-1"), Secret::new("sk-2"));
        let known = Identity {
            name: "primary",
            local: false,
            provider: "anthropic",
            base_url: &here,
            provider_model: "large",
            key: Some(&old),
        };
        let other = Identity { name: "other", ..known };
        let cases = [
            ("as it was", known, Some(1)),
            ("another name", Identity { name: "third", ..known }, None),
            ("another place", Identity { base_url: &there, ..known }, None),
            ("another model there", Identity { provider_model: "small", ..known }, None),
            ("another format", Identity { provider: "openai", ..known }, None),
            ("another key", Identity { key: Some(&new), ..known }, None),
            ("no key", Identity { key: None, ..known }, None),
            ("now local", Identity { local: true, ..known }, None),
        ];
        for (change, model, kept) in cases {
            assert_eq!(carry(&[other, known], &[model]), [kept], "{change}");
        }
    }

    #[test]
    fn places_may_change_and_models_come_and_go() {
        let place = url("https://one.example");
        let named = |name| Identity {
            name,
            local: false,
            provider: "openai",
            base_url: &place,
            provider_model: "m",
            key: None,
        };
        let before = ["a", "b", "c"].map(named);
        assert_eq!(carry(&before, &["c", "d", "a"].map(named)), [Some(2), None, Some(0)]);
        assert_eq!(carry(&before, &[]), []);
        assert_eq!(carry(&[], &before), [None; 3]);
    }
}
