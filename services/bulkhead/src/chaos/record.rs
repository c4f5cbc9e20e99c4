//! What the services have on disk once they have stopped: journals, outboxes, and the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use bulkhead_audit::verify::{Finding, VerifyOptions, verify};
use bulkhead_outbox::waiting_in;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Row as _, SqliteConnection};

use super::house::{FRAGILE, FRAGILE_FILE};
use crate::serve::Service;
use crate::up::Layout;

/// Stores that have an outbox, below the service's folder.
const STORES: [(Service, &str); 2] =
    [(Service::ToolExecutor, "journal.sqlite"), (Service::Approval, "approval.db")];
/// The router's outbox, which is a folder of files.
const ROUTER_OUTBOX: &str = "outbox";

/// An execution as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Journalled {
    /// `SUCCEEDED`, as the journal writes it.
    pub(super) state: String,
    /// The approval that it rests on, if it was gated.
    pub(super) approval_id: Option<String>,
}

/// What the log says of one subject.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// How many lines of each kind, with the outcome after a space.
    pub(super) lines: BTreeMap<String, usize>,
}

impl Told {
    /// How many lines there are of a kind, whatever their outcome.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.lines
            .iter()
            .filter(|(line, _)| line.split(' ').next() == Some(kind))
            .map(|(_, count)| count)
            .sum()
    }

    /// Whether there is a line of this kind and outcome.
    pub(super) fn has(&self, kind: &str, outcome: &str) -> bool {
        self.lines.contains_key(&format!("{kind} {outcome}"))
    }
}

/// Everything on disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    /// By execution id.
    pub(super) journal: BTreeMap<String, Journalled>,
    /// Events that are still in an outbox.
    pub(super) undelivered: BTreeMap<&'static str, i64>,
    /// By subject.
    pub(super) log: BTreeMap<String, Told>,
    /// When the grant of an approval runs out.
    pub(super) not_after: BTreeMap<String, Timestamp>,
    /// Effects that rest on an approval: which approval, and when the effect began.
    pub(super) gated: Vec<(String, Timestamp)>,
    /// Request ids of the model calls in the log.
    pub(super) model_calls: BTreeSet<String>,
    /// What `bulkhead audit verify` finds.
    pub(super) findings: Vec<Finding>,
    /// Lines in the log.
    pub(super) log_lines: u64,
    /// The file in which nothing can be taken back.
    pub(super) fragile: String,
}

/// Reads everything. The services must have stopped.
pub(super) async fn read(layout: &Layout) -> anyhow::Result<Records> {
    let mut records = Records::default();
    for (service, file) in STORES {
        let mut store = open(&layout.data(service).join(file)).await?;
        let waiting = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut store).await?;
        records.undelivered.insert(service.name(), waiting);
        if service == Service::ToolExecutor {
            records.journal = journal(&mut store).await?;
        }
    }
    records.undelivered.insert(Service::ModelRouter.name(), router_waiting(layout)?);
    read_log(&layout.data(Service::Audit).join("logs"), &mut records)?;
    let fragile = layout.root().join(FRAGILE).join(FRAGILE_FILE);
    records.fragile =
        std::fs::read_to_string(&fragile).with_context(|| format!("cannot read {}", fragile.display()))?;
    // Everything has drained: nothing may be excused as still on its way.
    let options = VerifyOptions {
        key: Some(layout.log_key().with_extension("pub")),
        open_for: SignedDuration::ZERO,
        ..VerifyOptions::default()
    };
    let report = verify(&layout.data(Service::Audit), &options).context("cannot verify the log")?;
    records.log_lines = report.tree_size;
    records.findings = report.findings;
    Ok(records)
}

/// States of the journal in which something is still to come. UNKNOWN is one: a file tool can always find out.
pub(super) const OPEN: [&str; 4] = ["PLANNED", "AWAITING_APPROVAL", "RUNNING", "UNKNOWN"];

/// How many executions are open and events wait in outboxes now, while the services run.
pub(super) async fn unfinished(layout: &Layout) -> anyhow::Result<i64> {
    let mut all = router_waiting(layout)?;
    for (service, file) in STORES {
        let mut store = open(&layout.data(service).join(file)).await?;
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(&mut store).await?;
        all += waiting;
        if service == Service::ToolExecutor {
            let journal = journal(&mut store).await?;
            let open = journal.values().filter(|execution| OPEN.contains(&execution.state.as_str())).count();
            all += i64::try_from(open)?;
        }
    }
    Ok(all)
}

fn router_waiting(layout: &Layout) -> anyhow::Result<i64> {
    let folder = layout.data(Service::ModelRouter).join(ROUTER_OUTBOX);
    waiting_in(&folder).with_context(|| format!("cannot read {}", folder.display()))
}

async fn open(file: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    options.connect().await.with_context(|| format!("cannot read {}", file.display()))
}

async fn journal(store: &mut SqliteConnection) -> anyhow::Result<BTreeMap<String, Journalled>> {
    let rows =
        sqlx::query("SELECT execution_id, state, approval_id FROM executions").fetch_all(store).await?;
    let mut journal = BTreeMap::new();
    for row in rows {
        let (state, approval_id) = (row.try_get("state")?, row.try_get("approval_id")?);
        journal.insert(row.try_get("execution_id")?, Journalled { state, approval_id });
    }
    Ok(journal)
}

/// The fields of a line that stories are told from.
#[derive(Debug, Deserialize)]
struct Line {
    kind: String,
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    subject_id: String,
    time: Timestamp,
    attributes: Attributes,
}

#[derive(Debug, Deserialize)]
struct Attributes {
    approval_id: Option<String>,
    grant_not_after: Option<Timestamp>,
}

fn read_log(folder: &Path, records: &mut Records) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        for line in text.lines() {
            let line: Line =
                serde_json::from_str(line).with_context(|| format!("{} holds no event", path.display()))?;
            if line.kind == "model.call" {
                records.model_calls.insert(line.subject_id.clone());
            }
            if let Some(not_after) = line.attributes.grant_not_after {
                records.not_after.insert(line.subject_id.clone(), not_after);
            }
            if let ("tool.intent", Some(approval_id)) = (line.kind.as_str(), line.attributes.approval_id) {
                records.gated.push((approval_id, line.time));
            }
            let told = records.log.entry(line.subject_id).or_default();
            *told.lines.entry(format!("{} {}", line.kind, line.outcome)).or_default() += 1;
        }
    }
    Ok(())
}
