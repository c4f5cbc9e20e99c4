//! The table `[approval]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::settings::{EdgeInput, PeerInput};
use bulkhead_edge::{EdgeSettings, Mistakes, PeerSettings, Settings};
use bulkhead_outbox::Limit;
use serde::Deserialize;

/// The contract's bounds on how long people may have: 1 second to 30 days.
const EXPIRY_MS_MIN: u64 = 1_000;
const EXPIRY_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// A grant of more than a day would outlive every reason there was to give it.
const GRANT_LIFETIME_MS_MAX: u64 = 24 * 3_600_000;
/// A million events are about a gigabyte.
const OUTBOX_EVENTS_LIMIT: u32 = 1_000_000;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of its store.
    pub data: PathBuf,
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The audit service.
    pub audit: PeerSettings,
    /// The file with the private key that signs grants.
    pub grant_key: PathBuf,
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

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    data: PathBuf,
    grant_key: PathBuf,
    #[serde(default = "defaults::grant_lifetime_ms")]
    grant_lifetime_ms: u64,
    #[serde(default = "defaults::expiry_ms")]
    expiry_ms: u64,
    #[serde(default = "defaults::expiry_ms_max")]
    expiry_ms_max: u64,
    #[serde(default = "defaults::outbox_events_max")]
    outbox_events_max: u32,
    edge: EdgeInput,
    audit: PeerInput,
}

mod defaults {
    /// A quarter of an hour: an executor that is being restarted still finds its grant good, and a plan that
    /// was approved this morning does not run tonight.
    pub(super) fn grant_lifetime_ms() -> u64 {
        900_000
    }

    /// An hour, as the contract says.
    pub(super) fn expiry_ms() -> u64 {
        3_600_000
    }

    /// Thirty days, the most that the contract allows.
    pub(super) fn expiry_ms_max() -> u64 {
        super::EXPIRY_MS_MAX
    }

    /// At about 1 KiB an event, 10 MiB on disk and an hour of a busy agent.
    pub(super) fn outbox_events_max() -> u32 {
        10_000
    }
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(settings: Settings) -> Result<Self, Mistakes> {
        let input: Input = settings.parse()?;
        let mut mistakes = Mistakes::new();
        input.check_ranges(&mut mistakes);
        let edge = input.edge.check(&mut mistakes);
        mistakes.finish(Some(Self {
            data: input.data,
            edge,
            audit: input.audit.into(),
            grant_key: input.grant_key,
            grant_lifetime: Duration::from_millis(input.grant_lifetime_ms),
            expiry: ExpiryRange {
                default: Duration::from_millis(input.expiry_ms),
                min: Duration::from_millis(EXPIRY_MS_MIN),
                max: Duration::from_millis(input.expiry_ms_max),
            },
            outbox_limit: Limit(i64::from(input.outbox_events_max)),
        }))
    }
}

impl Input {
    fn check_ranges(&self, mistakes: &mut Mistakes) {
        let ranges = [
            ("grant_lifetime_ms", self.grant_lifetime_ms, 1_000, GRANT_LIFETIME_MS_MAX),
            ("expiry_ms_max", self.expiry_ms_max, EXPIRY_MS_MIN, EXPIRY_MS_MAX),
            ("expiry_ms", self.expiry_ms, EXPIRY_MS_MIN, self.expiry_ms_max),
            // A vote that settles is two events.
            ("outbox_events_max", self.outbox_events_max.into(), 2, OUTBOX_EVENTS_LIMIT.into()),
        ];
        for (key, value, min, max) in ranges {
            if !(min..=max).contains(&value) {
                mistakes.add(key, format!("{value} must be {min} to {max}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTS: &str = r#"
        [approval.edge]
        listen = "127.0.0.1:0"
        tokens = "tokens.toml"
        [approval.audit]
        endpoint = "http://127.0.0.1:7104"
        token_file = "approval.token"
    "#;

    fn read(own: &str) -> Result<Config, Mistakes> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bulkhead.toml");
        std::fs::write(&path, format!("[approval]\n{own}\n{PARTS}")).expect("written");
        Settings::load(&path, crate::NAME).and_then(Config::read)
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_the_contract() {
        let config = read("data = \"d\"\ngrant_key = \"k\"").expect("valid");
        assert_eq!(config.expiry.default, Duration::from_secs(3_600));
        assert_eq!(config.expiry.max, Duration::from_secs(30 * 24 * 3_600));
        assert_eq!(config.grant_lifetime, Duration::from_secs(900));
        assert_eq!(config.outbox_limit.0, 10_000);
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let wrong = "data = \"d\"\ngrant_key = \"k\"\ngrant_lifetime_ms = 0\nexpiry_ms = 5000\n\
                     expiry_ms_max = 4000\noutbox_events_max = 1";
        let text = read(wrong).expect_err("refused").to_string();
        for key in ["grant_lifetime_ms: 0", "expiry_ms: 5000", "outbox_events_max: 1"] {
            assert!(text.contains(key), "{key} is missing from {text}");
        }
        let unknown = read("data = \"d\"\ngrant_key = \"k\"\ncolour = 1").expect_err("refused").to_string();
        assert!(unknown.contains("colour"), "{unknown}");
    }
}
