//! The table `[tool-executor]` of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::settings::Table;
use bulkhead_edge::{EdgeSettings, PeerSettings};
use bulkhead_grant::PinnedKeys;
use bulkhead_outbox::Limit;

use crate::engine::EngineSettings;
use crate::fs::FsConfig;
use crate::policy::{DEFAULT_POLICY, Policy};
use crate::store::Limits;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// The folder of its store.
    pub data: PathBuf,
    /// What may be done freely, what with an approval, and what not at all.
    pub policy: Policy,
    /// Public keys of the approval service.
    pub grant_keys: PinnedKeys,
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

impl Config {
    /// Reads the table, and the files that it names.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let edge = table.table("edge", EdgeSettings::read);
        let audit = table.table("audit", PeerSettings::read);
        let peer = table.table("approval", PeerSettings::read);
        let data = table.required("data", "Folder of the journal; made by the first start.");
        let policy = table.optional_file(
            "policy",
            "Cedar policy. Without it the built-in default applies: creating is free, overwriting and deleting need a \
             person.",
            Policy::load,
        );
        let grant_keys = table.required::<Vec<PathBuf>>(
            "grant_keys",
            "Files with public keys of the approval service; a grant counts only when signed by one of them.",
        );
        let outbox_events_max = table.number(
            "outbox_events_max",
            2..=10_000_000,
            Limit::default().0,
            "Events that may wait for audit; beyond it changes are refused. A call needs room for two; at about 1 KiB \
             an event, the default is 10 MiB and an hour of a busy agent.",
        );
        let pending_per_principal = table.number(
            "pending_max_per_principal",
            1..=100_000,
            100,
            "Calls of one caller that may wait for people. A hundred: more than people decide in an hour, and one agent \
             in a loop neither buries the others' calls nor fills the disk with its plans (at most a few MiB each).",
        );
        let acknowledge_timeout = table.milliseconds(
            "audit_confirm_timeout_ms",
            1..=60_000,
            5_000,
            "How long an irreversible call waits for audit to have its intent. Five seconds: a healthy audit service \
             confirms within a few milliseconds, a caller waits for thirty.",
        );
        let timeout = table.milliseconds(
            "approval_timeout_ms",
            1..=60_000,
            5_000,
            "For one call to approval. Five seconds: creating an approval is one fsync.",
        );
        let expires_in = table.milliseconds(
            "approval_expires_in_ms",
            1_000..=2_592_000_000,
            3_600_000,
            "How long people have to decide. An hour: people are at lunch.",
        );
        let recheck_interval = table.milliseconds(
            "approval_recheck_ms",
            10..=60_000,
            1_000,
            "Between looks at what waits. A second; decisions usually arrive sooner, over the watch.",
        );
        let fs = FsConfig::read(table);
        let policy =
            if table.has("policy") { policy } else { table.loaded("policy", Policy::parse(DEFAULT_POLICY)) };
        let grant_keys = grant_keys.and_then(|files| pinned(table, &files));
        Some(Self {
            edge: edge?,
            data: data?,
            policy: policy?,
            grant_keys: grant_keys?,
            limits: Limits { outbox: Limit(outbox_events_max), pending_per_principal },
            audit: audit?,
            approval: ApprovalSettings { peer: peer?, timeout, expires_in },
            engine: EngineSettings { recheck_interval, acknowledge_timeout },
            fs,
        })
    }
}

fn pinned(table: &mut Table<'_>, files: &[PathBuf]) -> Option<PinnedKeys> {
    if files.is_empty() {
        let right =
            "must name at least one public key of the approval service, or no approval could be verified";
        table.mistake("grant_keys", right);
    }
    table.loaded("grant_keys", PinnedKeys::load(files.iter().map(PathBuf::as_path)))
}
