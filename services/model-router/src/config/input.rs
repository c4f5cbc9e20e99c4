//! The serde shape of the table, with the reason for each default.

use std::path::PathBuf;

use bulkhead_edge::Mistakes;
use bulkhead_edge::settings::{EdgeInput, PeerInput};
use serde::Deserialize;

use crate::secret::Secret;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Input {
    pub(super) edge: EdgeInput,
    pub(super) audit: PeerInput,
    pub(super) data: PathBuf,
    #[serde(default = "defaults::outbox_events_max")]
    pub(super) outbox_events_max: i64,
    #[serde(default = "defaults::local_networks")]
    pub(super) local_networks: Vec<String>,
    #[serde(default)]
    pub(super) cloud_proxy: Option<Secret>,
    #[serde(default = "defaults::patience_ms")]
    pub(super) patience_ms: u64,
    #[serde(default = "defaults::retry_base_ms")]
    pub(super) retry_base_ms: u64,
    #[serde(default = "defaults::retry_cap_ms")]
    pub(super) retry_cap_ms: u64,
    #[serde(default = "defaults::unusable_ms")]
    pub(super) unusable_ms: u64,
    #[serde(default = "defaults::circuit_failures")]
    pub(super) circuit_failures: u32,
    #[serde(default = "defaults::circuit_open_ms")]
    pub(super) circuit_open_ms: u64,
    #[serde(default, rename = "model")]
    pub(super) models: Vec<ModelInput>,
    #[serde(default, rename = "route")]
    pub(super) routes: Vec<RouteInput>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelInput {
    pub(super) name: String,
    pub(super) provider: String,
    /// Secret until it is known to hold no password.
    pub(super) base_url: Secret,
    pub(super) provider_model: String,
    pub(super) local: bool,
    #[serde(default)]
    pub(super) api_key_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) api_key_env: Option<String>,
    /// Allows `http` to a cloud model that is not at a local address.
    #[serde(default)]
    pub(super) plain_http: bool,
    #[serde(default = "defaults::max_output_tokens_default")]
    pub(super) max_output_tokens_default: u32,
    #[serde(default = "defaults::connect_timeout_ms")]
    pub(super) connect_timeout_ms: u64,
    #[serde(default = "defaults::request_timeout_ms")]
    pub(super) request_timeout_ms: u64,
    #[serde(default = "defaults::attempts_max")]
    pub(super) attempts_max: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteInput {
    pub(super) name: String,
    pub(super) chain: Vec<String>,
}

impl Input {
    pub(super) fn check_ranges(&self, mistakes: &mut Mistakes) {
        let bounded = [
            ("patience_ms", self.patience_ms, 0, 600_000),
            ("retry_base_ms", self.retry_base_ms, 1, 60_000),
            ("retry_cap_ms", self.retry_cap_ms, 1, 600_000),
            ("unusable_ms", self.unusable_ms, 1, 86_400_000),
            ("circuit_failures", self.circuit_failures.into(), 1, 1_000),
            ("circuit_open_ms", self.circuit_open_ms, 1, 3_600_000),
        ];
        for (key, value, min, max) in bounded {
            check_range(key, value, min, max, mistakes);
        }
        if !(1..=1_000_000).contains(&self.outbox_events_max) {
            mistakes.add("outbox_events_max", format!("{} must be 1 to 1000000", self.outbox_events_max));
        }
    }
}

pub(super) fn check_range(key: &str, value: u64, min: u64, max: u64, mistakes: &mut Mistakes) {
    if !(min..=max).contains(&value) {
        mistakes.add(key, format!("{value} must be {min} to {max}"));
    }
}

mod defaults {
    /// At about 1 KiB an event, 10 MiB and an hour of a busy agent.
    pub(super) fn outbox_events_max() -> i64 {
        10_000
    }

    /// This machine alone.
    pub(super) fn local_networks() -> Vec<String> {
        ["127.0.0.0/8", "::1/128"].map(str::to_owned).into()
    }

    /// Ten seconds: most rate limits that pass at all pass sooner, and a person is still there.
    pub(super) fn patience_ms() -> u64 {
        10_000
    }

    /// A fifth of a second, about the round trip to a cloud model.
    pub(super) fn retry_base_ms() -> u64 {
        200
    }

    /// Five seconds; beyond it another model is the better use of the time.
    pub(super) fn retry_cap_ms() -> u64 {
        5_000
    }

    /// A minute: a corrected key is noticed soon, a wrong one is not tried all the time.
    pub(super) fn unusable_ms() -> u64 {
        60_000
    }

    /// Five in a row, more than one request alone makes.
    pub(super) fn circuit_failures() -> u32 {
        5
    }

    /// A quarter of a minute, about a restart of a local model.
    pub(super) fn circuit_open_ms() -> u64 {
        15_000
    }

    /// Room for a long answer, within the limits of all current models.
    pub(super) fn max_output_tokens_default() -> u32 {
        4_096
    }

    /// Two seconds: a host that does not answer by then is down or far too busy.
    pub(super) fn connect_timeout_ms() -> u64 {
        2_000
    }

    /// Two minutes: long answers without streaming take that long.
    pub(super) fn request_timeout_ms() -> u64 {
        120_000
    }

    /// The first attempt and two retries.
    pub(super) fn attempts_max() -> u32 {
        3
    }
}
