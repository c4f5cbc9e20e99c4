//! The table `[<service>.edge.jwt]` of a configuration file.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{ClaimNames, JwtSettings, KeySource};
use crate::{Mistakes, PrincipalKind};

/// Longest `clock_skew_ms`: whoever needs more has a clock to mend.
const CLOCK_SKEW_MS_MAX: u64 = 300_000;
/// Shortest and longest `jwks_refresh_ms`.
const REFRESH_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;

/// The serde shape of [`JwtSettings`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtInput {
    /// The only `iss` that is taken, byte for byte. Required.
    issuer: String,
    /// What `aud` must be or contain. Required: a token for another service of the same issuer is none for us.
    audience: String,
    /// File with the key set. Exactly one of this and `jwks_url`.
    jwks_file: Option<PathBuf>,
    /// URL of the key set: https, or http to a loopback address.
    jwks_url: Option<String>,
    /// Between two fetches of the URL, in milliseconds.
    #[serde(default = "defaults::jwks_refresh_ms")]
    jwks_refresh_ms: u64,
    /// How far the issuer's clock may be off ours, in milliseconds.
    #[serde(default = "defaults::clock_skew_ms")]
    clock_skew_ms: u64,
    /// Kinds of principal that the issuer may name.
    #[serde(default = "defaults::kinds")]
    kinds: Vec<PrincipalKind>,
    #[serde(default = "defaults::name_claim")]
    name_claim: String,
    #[serde(default = "defaults::tenant_claim")]
    tenant_claim: String,
    #[serde(default = "defaults::kind_claim")]
    kind_claim: String,
    #[serde(default = "defaults::owner_claim")]
    owner_claim: String,
    #[serde(default = "defaults::roles_claim")]
    roles_claim: String,
}

mod defaults {
    use crate::PrincipalKind;

    /// Five minutes: how long a key that was taken back at the issuer may still be good here.
    pub(super) fn jwks_refresh_ms() -> u64 {
        300_000
    }

    /// A minute, which machines without good time keeping stay within.
    pub(super) fn clock_skew_ms() -> u64 {
        60_000
    }

    /// Not `service`: who is one may act for others, which an issuer of people's tokens has no say in.
    pub(super) fn kinds() -> Vec<PrincipalKind> {
        vec![PrincipalKind::Agent, PrincipalKind::Person]
    }

    /// The claim that RFC 7519 has for it.
    pub(super) fn name_claim() -> String {
        "sub".to_owned()
    }

    pub(super) fn tenant_claim() -> String {
        "tenant".to_owned()
    }

    pub(super) fn kind_claim() -> String {
        "kind".to_owned()
    }

    pub(super) fn owner_claim() -> String {
        "owner".to_owned()
    }

    /// The claim that RFC 9068 has for it.
    pub(super) fn roles_claim() -> String {
        "roles".to_owned()
    }
}

impl JwtInput {
    /// Checks the values; nothing when one of them is wrong.
    pub fn check(self, mistakes: &mut Mistakes) -> Option<JwtSettings> {
        let refresh = Duration::from_millis(self.jwks_refresh_ms);
        let mut sound = true;
        let mut wrong = |key: &str, problem: String| {
            mistakes.add(&format!("edge.jwt.{key}"), problem);
            sound = false;
        };
        if !REFRESH_MS.contains(&self.jwks_refresh_ms) {
            let (min, max) = (REFRESH_MS.start(), REFRESH_MS.end());
            wrong(
                "jwks_refresh_ms",
                format!("{} must be {min} to {max} (milliseconds)", self.jwks_refresh_ms),
            );
        }
        if self.clock_skew_ms > CLOCK_SKEW_MS_MAX {
            wrong(
                "clock_skew_ms",
                format!("{} must be 0 to {CLOCK_SKEW_MS_MAX} (milliseconds)", self.clock_skew_ms),
            );
        }
        if self.kinds.is_empty() {
            wrong("kinds", "must name at least one of agent, person and service".to_owned());
        }
        let texts = [
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("name_claim", &self.name_claim),
            ("tenant_claim", &self.tenant_claim),
            ("kind_claim", &self.kind_claim),
            ("owner_claim", &self.owner_claim),
            ("roles_claim", &self.roles_claim),
        ];
        for (key, _empty) in texts.into_iter().filter(|(_key, text)| text.is_empty()) {
            wrong(key, "must not be empty".to_owned());
        }
        let keys = match (self.jwks_file, self.jwks_url) {
            (Some(file), None) => Some(KeySource::File(file)),
            (None, Some(url)) => match trusted(&url) {
                Some(url) => Some(KeySource::Url { url, refresh }),
                None => {
                    wrong(
                        "jwks_url",
                        format!("{url:?} must be https://…, or http://… to a loopback address"),
                    );
                    None
                }
            },
            _ => {
                wrong("jwks_file", "there must be either `jwks_file` or `jwks_url`".to_owned());
                None
            }
        };
        keys.filter(|_| sound).map(|keys| JwtSettings {
            issuer: self.issuer,
            audience: self.audience,
            keys,
            clock_skew: Duration::from_millis(self.clock_skew_ms),
            kinds: self.kinds,
            claims: ClaimNames {
                name: self.name_claim,
                tenant: self.tenant_claim,
                kind: self.kind_claim,
                owner: self.owner_claim,
                roles: self.roles_claim,
            },
        })
    }
}

/// A URL whose answer nobody on the way can change. Names are looked up by somebody else: only literal addresses
/// and `localhost` count as loopback.
fn trusted(text: &str) -> Option<reqwest::Url> {
    let url: reqwest::Url = text.parse().ok()?;
    let host = url.host_str()?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    let bare = url.username().is_empty() && url.password().is_none();
    (bare && (url.scheme() == "https" || (url.scheme() == "http" && loopback))).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &str) -> Result<JwtSettings, String> {
        let text = format!("issuer = \"https://login.example.org/\"\naudience = \"bulkhead\"\n{keys}");
        let input: JwtInput = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        let mut mistakes = Mistakes::new();
        let settings = input.check(&mut mistakes);
        mistakes.finish(settings).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let settings = read("jwks_url = \"https://login.example.org/keys\"").expect("sound");
        assert!(matches!(settings.keys, KeySource::Url { refresh, .. } if refresh.as_secs() == 300));
        assert_eq!(settings.clock_skew.as_secs(), 60);
        assert_eq!(settings.kinds, [PrincipalKind::Agent, PrincipalKind::Person]);
        assert_eq!(settings.claims.name, "sub");
    }

    #[test]
    fn a_url_that_others_can_answer_for_is_a_mistake() {
        for good in ["https://a.example/k", "http://127.0.0.1:1/k", "http://[::1]/k", "http://localhost/k"] {
            assert!(read(&format!("jwks_url = {good:?}")).is_ok(), "{good}");
        }
        for bad in
            ["http://a.example/k", "http://10.0.0.1/k", "file:///k", "k", "https://user:word@a.example/k"]
        {
            let mistakes = read(&format!("jwks_url = {bad:?}")).expect_err("a mistake");
            assert!(mistakes.contains("edge.jwt.jwks_url"), "{mistakes}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = "jwks_refresh_ms = 1\nclock_skew_ms = 300001\nkinds = []\nname_claim = \"\"";
        let mistakes = read(wrong).expect_err("mistakes");
        for key in ["jwks_refresh_ms", "clock_skew_ms", "kinds", "name_claim", "jwks_file"] {
            assert!(mistakes.contains(&format!("edge.jwt.{key}")), "{key}: {mistakes}");
        }
        let both =
            read("jwks_file = \"keys.json\"\njwks_url = \"https://a.example/k\"").expect_err("a mistake");
        assert!(both.contains("either"), "{both}");
    }
}
