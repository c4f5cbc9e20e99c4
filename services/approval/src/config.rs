//! The table `[approval]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::settings::Table;
use bulkhead_edge::{EdgeSettings, PeerSettings};
use bulkhead_grant::SigningKey;
use bulkhead_outbox::Limit;

/// The contract's bounds on how long people may have: 1 second to 30 days.
const EXPIRY_MS_MIN: u64 = 1_000;
const EXPIRY_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// A grant of more than a day would outlive every reason there was to give it.
const GRANT_LIFETIME_MS_MAX: u64 = 24 * 3_600_000;
/// A million events are about a gigabyte.
const OUTBOX_EVENTS_LIMIT: u32 = 1_000_000;
/// A vote that settles is two events.
const OUTBOX_EVENTS_MIN: u32 = 2;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of its store.
    pub data: PathBuf,
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The audit service.
    pub audit: PeerSettings,
    /// Signs grants.
    pub grant_key: SigningKey,
    /// How long a grant may be used after the last vote.
    pub grant_lifetime: Duration,
    /// How long people have.
    pub expiry: ExpiryRange,
    /// Events that may wait for the audit service.
    pub outbox_limit: Limit,
}

/// How long people have to decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpiryRange {
    /// When the request does not say.
    pub default: Duration,
    /// At least.
    pub min: Duration,
    /// At most.
    pub max: Duration,
}

impl Config {
    /// Reads the table, and the files that it names.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let edge = table.table("edge", EdgeSettings::read);
        let audit = table.table("audit", PeerSettings::read);
        let data = table.required("data", "Folder of the store; made by the first start.");
        let grant_key = table.file(
            "grant_key",
            "File with the private key that signs grants. The executor pins the public half.",
            SigningKey::load,
        );
        let grant_lifetime = table.milliseconds(
            "grant_lifetime_ms",
            1_000..=GRANT_LIFETIME_MS_MAX,
            900_000,
            "How long a grant may be used after the last vote. A quarter of an hour: an executor that is being \
             restarted still finds its grant good, and a plan that was approved this morning does not run tonight.",
        );
        let max = table.milliseconds(
            "expiry_ms_max",
            EXPIRY_MS_MIN..=EXPIRY_MS_MAX,
            EXPIRY_MS_MAX,
            "The longest that people may have. Thirty days, the most that the contract allows.",
        );
        let default = table.milliseconds(
            "expiry_ms",
            EXPIRY_MS_MIN..=EXPIRY_MS_MAX,
            3_600_000,
            "How long people have where the request does not say; not more than expiry_ms_max. An hour, as the \
             contract says.",
        );
        let outbox_events_max = table.number(
            "outbox_events_max",
            OUTBOX_EVENTS_MIN..=OUTBOX_EVENTS_LIMIT,
            10_000,
            "Events that may wait for audit; beyond it changes are refused. At about 1 KiB an event, 10 MiB on disk \
             and an hour of a busy agent.",
        );
        if default > max {
            table
                .mistake("expiry_ms", format!("{} must not be more than expiry_ms_max", default.as_millis()));
        }
        Some(Self {
            data: data?,
            edge: edge?,
            audit: audit?,
            grant_key: grant_key?,
            grant_lifetime,
            expiry: ExpiryRange { default, min: Duration::from_millis(EXPIRY_MS_MIN), max },
            outbox_limit: Limit(i64::from(outbox_events_max)),
        })
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::Settings;

    use super::*;

    const PARTS: &str = r#"
        [approval.edge]
        listen = "127.0.0.1:0"
        tokens = "FOLDER/tokens.toml"
        [approval.audit]
        endpoint = "http://127.0.0.1:7104"
        token_file = "FOLDER/approval.token"
    "#;

    fn read(own: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        bulkhead_grant::write_new_key(&at("grant.key"), [7; 32]).expect("a key");
        let text =
            format!("[approval]\n{own}\n{PARTS}").replace("FOLDER", &folder.path().display().to_string());
        for (name, text) in [("tokens.toml", "# nobody"), ("approval.token", "t"), ("bulkhead.toml", &text)] {
            std::fs::write(at(name), text).expect("written");
        }
        let settings = Settings::load(&at("bulkhead.toml"), crate::NAME);
        settings.and_then(|settings| settings.read(Config::read)).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_contract() {
        let config = read("data = \"d\"\ngrant_key = \"FOLDER/grant.key\"").expect("valid");
        assert_eq!(config.expiry.default, Duration::from_secs(3_600));
        assert_eq!(config.expiry.max, Duration::from_secs(30 * 24 * 3_600));
        assert_eq!(config.grant_lifetime, Duration::from_secs(900));
        assert_eq!(config.outbox_limit.0, 10_000);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = "grant_key = \"FOLDER/absent.key\"\ngrant_lifetime_ms = 0\nexpiry_ms = 5000\n\
                     expiry_ms_max = 4000\noutbox_events_max = 1\ngrant_livetime_ms = 1";
        let told = read(wrong).expect_err("refused");
        let mistakes = [
            ":1: approval.data: is missing",
            ":2: approval.grant_key: cannot read",
            ":3: approval.grant_lifetime_ms: 0 must be 1000 to 86400000 milliseconds",
            ":4: approval.expiry_ms: 5000 must not be more than expiry_ms_max",
            ":6: approval.outbox_events_max: 1 must be",
            ":7: approval.grant_livetime_ms: is not known here; did you mean grant_lifetime_ms?",
        ];
        for mistake in mistakes {
            assert!(told.contains(mistake), "{mistake} is missing from {told}");
        }
    }
}
