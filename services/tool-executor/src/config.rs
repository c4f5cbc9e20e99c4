//! The table `[tool-executor]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::settings::{EdgeInput, PeerInput};
use bulkhead_edge::{EdgeSettings, Mistakes, PeerSettings, Settings};
use bulkhead_outbox::Limit;
use serde::Deserialize;

use crate::engine::EngineSettings;
use crate::fs::{FsConfig, LabelInput, RootInput};
use crate::store::Limits;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The folder of its store.
    pub data: PathBuf,
    /// The policy's file; none: the built-in one.
    pub policy: Option<PathBuf>,
    /// Public keys of the approval service, one a file.
    pub grant_keys: Vec<PathBuf>,
    /// What may wait for others.
    pub limits: Limits,
    /// The audit service.
    pub audit: PeerSettings,
    /// The approval service.
    pub approval: ApprovalSettings,
    /// The engine's knobs.
    pub engine: EngineSettings,
    /// What the file tools may touch.
    pub fs: FsConfig,
}

/// How people are asked.
#[derive(Debug, Clone)]
pub struct ApprovalSettings {
    /// The approval service.
    pub peer: PeerSettings,
    /// Bound of one call to it.
    pub timeout: Duration,
    /// How long people have to decide.
    pub expires_in: Duration,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    edge: EdgeInput,
    data: PathBuf,
    policy: Option<PathBuf>,
    grant_keys: Vec<PathBuf>,
    #[serde(default = "defaults::outbox_events_max")]
    outbox_events_max: i64,
    #[serde(default = "defaults::pending_max_per_principal")]
    pending_max_per_principal: i64,
    #[serde(default = "defaults::audit_confirm_timeout_ms")]
    audit_confirm_timeout_ms: u64,
    #[serde(default = "defaults::approval_timeout_ms")]
    approval_timeout_ms: u64,
    #[serde(default = "defaults::approval_expires_in_ms")]
    approval_expires_in_ms: u64,
    #[serde(default = "defaults::approval_recheck_ms")]
    approval_recheck_ms: u64,
    audit: PeerInput,
    approval: PeerInput,
    #[serde(default)]
    root: Vec<RootInput>,
    label: Option<Vec<LabelInput>>,
    undo_retention_days: Option<u32>,
}

mod defaults {
    /// At about 1 KiB an event, 10 MiB and an hour of a busy agent.
    pub(super) fn outbox_events_max() -> i64 {
        bulkhead_outbox::Limit::default().0
    }

    /// A hundred: more than people decide in an hour, and one agent in a loop neither buries the others' calls
    /// nor fills the disk with its plans (at most a few MiB each).
    pub(super) fn pending_max_per_principal() -> i64 {
        100
    }

    /// Five seconds: a healthy audit service confirms within a few milliseconds, a caller waits for thirty.
    pub(super) fn audit_confirm_timeout_ms() -> u64 {
        5_000
    }

    /// Five seconds: creating an approval is one fsync.
    pub(super) fn approval_timeout_ms() -> u64 {
        5_000
    }

    /// An hour: people are at lunch.
    pub(super) fn approval_expires_in_ms() -> u64 {
        3_600_000
    }

    /// A second; decisions usually arrive sooner, over the watch.
    pub(super) fn approval_recheck_ms() -> u64 {
        1_000
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
        let fs = FsConfig::check(input.root, input.label, input.undo_retention_days, &mut mistakes);
        let edge = input.edge.check(&mut mistakes);
        let config = Self {
            edge,
            data: input.data,
            policy: input.policy,
            grant_keys: input.grant_keys,
            limits: Limits {
                outbox: Limit(input.outbox_events_max),
                pending_per_principal: input.pending_max_per_principal,
            },
            audit: input.audit.into(),
            approval: ApprovalSettings {
                peer: input.approval.into(),
                timeout: Duration::from_millis(input.approval_timeout_ms),
                expires_in: Duration::from_millis(input.approval_expires_in_ms),
            },
            engine: EngineSettings {
                recheck_interval: Duration::from_millis(input.approval_recheck_ms),
                acknowledge_timeout: Duration::from_millis(input.audit_confirm_timeout_ms),
            },
            fs,
        };
        mistakes.finish(Some(config))
    }
}

impl Input {
    fn check_ranges(&self, mistakes: &mut Mistakes) {
        let bounded = [
            ("audit_confirm_timeout_ms", self.audit_confirm_timeout_ms, 1, 60_000),
            ("approval_timeout_ms", self.approval_timeout_ms, 1, 60_000),
            ("approval_expires_in_ms", self.approval_expires_in_ms, 1_000, 2_592_000_000),
            ("approval_recheck_ms", self.approval_recheck_ms, 10, 60_000),
        ];
        for (key, value, min, max) in bounded {
            if !(min..=max).contains(&value) {
                mistakes.add(key, format!("{value} must be {min} to {max} (milliseconds)"));
            }
        }
        if !(2..=10_000_000).contains(&self.outbox_events_max) {
            let value = self.outbox_events_max;
            mistakes.add(
                "outbox_events_max",
                format!("{value} must be 2 to 10000000 (events); a call needs room for two"),
            );
        }
        if !(1..=100_000).contains(&self.pending_max_per_principal) {
            let value = self.pending_max_per_principal;
            mistakes.add("pending_max_per_principal", format!("{value} must be 1 to 100000 (calls)"));
        }
        if self.grant_keys.is_empty() {
            mistakes.add(
                "grant_keys",
                "must name at least one public key of the approval service, or no approval could be verified",
            );
        }
    }
}
