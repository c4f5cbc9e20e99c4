//! The table `[<service>.edge.jwt]` of a configuration file.

use std::path::PathBuf;
use std::time::Duration;

use super::{ClaimNames, JwtSettings, KeySource, Verifier};
use crate::PrincipalKind;
use crate::settings::Table;

/// Longest `clock_skew_ms`: whoever needs more has a clock to mend.
const CLOCK_SKEW_MS_MAX: u64 = 300_000;
/// Shortest and longest `jwks_refresh_ms`.
const REFRESH_MS: std::ops::RangeInclusive<u64> = 1_000..=86_400_000;

impl JwtSettings {
    /// Reads a table `jwt`.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let issuer = table.required::<String>("issuer", "The only `iss` that is taken, byte for byte.");
        let audience = table.required::<String>(
            "audience",
            "What `aud` must be or contain: a token for another service of the same issuer is none for us.",
        );
        let file = table
            .optional::<PathBuf>("jwks_file", "File with the key set. Exactly one of this and jwks_url.");
        let url = table.optional::<String>(
            "jwks_url",
            "URL of the key set: https, or http to a loopback address. Exactly one of this and jwks_file.",
        );
        let refresh = table.milliseconds(
            "jwks_refresh_ms",
            REFRESH_MS,
            300_000,
            "Between two fetches of jwks_url. Five minutes: how long a key that was taken back at the issuer may still \
             be good here.",
        );
        let clock_skew = table.milliseconds(
            "clock_skew_ms",
            0..=CLOCK_SKEW_MS_MAX,
            60_000,
            "How far the issuer's clock may be off ours. A minute, which machines without good time keeping stay within.",
        );
        let kinds = table.or(
            "kinds",
            vec![PrincipalKind::Agent, PrincipalKind::Person],
            "Kinds of principal that the issuer may name. Not `service`: who is one may act for others, which an issuer \
             of people's tokens has no say in.",
        );
        let claims = ClaimNames {
            name: claim(table, "name_claim", "sub", "Claim with the name; the default is RFC 7519's."),
            tenant: claim(table, "tenant_claim", "tenant", "Claim with the tenant."),
            kind: claim(table, "kind_claim", "kind", "Claim with the kind of principal."),
            owner: claim(table, "owner_claim", "owner", "Claim with the person that an agent belongs to."),
            roles: claim(table, "roles_claim", "roles", "Claim with the roles; the default is RFC 9068's."),
        };
        if kinds.is_empty() {
            table.mistake("kinds", "must name at least one of agent, person and service");
        }
        let keys = key_source(table, file, url, refresh);
        let settings = Self {
            issuer: not_empty(table, "issuer", issuer)?,
            audience: not_empty(table, "audience", audience)?,
            keys: keys?,
            clock_skew,
            kinds,
            claims,
        };
        if let KeySource::File(_) = &settings.keys {
            table.loaded("jwks_file", Verifier::open(settings.clone()))?;
        }
        Some(settings)
    }
}

fn claim(table: &mut Table<'_>, key: &'static str, default: &str, meaning: &'static str) -> String {
    let name = table.or(key, default.to_owned(), meaning);
    not_empty(table, key, Some(name)).unwrap_or_default()
}

fn not_empty(table: &mut Table<'_>, key: &str, text: Option<String>) -> Option<String> {
    if text.as_ref().is_some_and(String::is_empty) {
        table.mistake(key, "must not be empty");
    }
    text
}

fn key_source(
    table: &mut Table<'_>,
    file: Option<PathBuf>,
    url: Option<String>,
    refresh: Duration,
) -> Option<KeySource> {
    match (file, url) {
        (Some(file), None) => Some(KeySource::File(file)),
        (None, Some(url)) => {
            let trusted = trusted(&url);
            if trusted.is_none() {
                // The text is not repeated: it may hold a password.
                table.mistake(
                    "jwks_url",
                    "must be https://…, or http://… to a loopback address, without a user",
                );
            }
            trusted.map(|url| KeySource::Url { url, refresh })
        }
        (file, _) => {
            // One that is there and wrong has been told already.
            if file.is_some() || !(table.has("jwks_file") || table.has("jwks_url")) {
                table.mistake("jwks_file", "there must be either `jwks_file` or `jwks_url`");
            }
            None
        }
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
    use crate::Settings;

    fn read(keys: &str) -> Result<JwtSettings, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bulkhead.toml");
        let jwt = "[audit.edge.jwt]\nissuer = \"https://login.example.org/\"\naudience = \"bulkhead\"";
        std::fs::write(&path, format!("{jwt}\n{keys}")).expect("written");
        let settings = Settings::load(&path, "audit").expect("read");
        let read = settings.read(|table| table.table("edge", |table| table.table("jwt", JwtSettings::read)));
        read.map_err(|mistakes| mistakes.to_string())
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
