//! What a stack has on disk, so that a test can say that nothing changed, or what did.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_canonical_json::sha256_hex;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::{Sandbox, eventually};

/// The stores, by the name of their service.
const STORES: [(&str, &str); 3] = [
    ("approval", "approval/approval.db"),
    ("tool-executor", "tool-executor/journal.sqlite"),
    ("model-router", "model-router/router.db"),
];
/// The router's outbox, which is no table but a folder of files.
const ROUTER_OUTBOX: &str = "model-router/outbox";
/// Tables that change by themselves: proofs of life, and events that are delivered. What was ever put into
/// an outbox shows in `sqlite_sequence`, and then in the audit log.
const RESTLESS: [&str; 3] = ["heartbeat", "outbox", "_sqlx_migrations"];

/// How long events may take to reach the audit log on a busy machine.
const DELIVERY_BOUND: Duration = Duration::from_secs(30);

/// Every table of every store, every file that agents can reach, and the audit log: a name, how many rows
/// or lines, and a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint(BTreeMap<String, (u64, String)>);

impl Footprint {
    /// Waits until every event has reached the audit log, and looks.
    ///
    /// # Errors
    /// When something cannot be read, or events stay where they are.
    pub async fn of(sandbox: &Sandbox) -> anyhow::Result<Self> {
        eventually("events to reach the audit log", DELIVERY_BOUND, || async {
            let before = Self::now(sandbox).await?;
            let after = Self::now(sandbox).await?;
            let delivered = after.0.iter().all(|(name, (rows, _))| !name.ends_with("/outbox") || *rows == 0);
            Ok((before == after && delivered).then_some(after))
        })
        .await
    }

    async fn now(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        for (service, file) in STORES {
            tables(service, &sandbox.data().join(file), &mut all).await?;
        }
        let waiting = bulkhead_outbox::waiting_in(&sandbox.data().join(ROUTER_OUTBOX))?;
        all.insert(ROUTER_OUTBOX.to_owned(), (u64::try_from(waiting)?, String::new()));
        files("audit log", &sandbox.data().join("audit/logs"), &mut all)?;
        files("workspace", &sandbox.workspace(), &mut all)?;
        Ok(Self(all))
    }

    /// How many rows a table has (`approval/votes`).
    #[must_use]
    pub fn rows(&self, table: &str) -> u64 {
        self.0.get(table).map_or(0, |(rows, _)| *rows)
    }

    /// Names, and how many rows or lines.
    pub fn sizes(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, (size, _))| (name.as_str(), *size))
    }

    /// What is not as it was, by name.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<String> {
        let names = self.0.keys().chain(before.0.keys().filter(|name| !self.0.contains_key(*name)));
        names.filter(|name| self.0.get(*name) != before.0.get(*name)).cloned().collect()
    }
}

async fn tables(service: &str, file: &Path, all: &mut BTreeMap<String, (u64, String)>) -> anyhow::Result<()> {
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    let mut store = options.connect().await.with_context(|| format!("cannot read {}", file.display()))?;
    let names = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table'").fetch_all(&mut store);
    for name in names.await? {
        let name: String = name.try_get("name")?;
        let (rows, text) = dump(&mut store, &name).await?;
        let digest = if RESTLESS.contains(&name.as_str()) { String::new() } else { sha256_hex(text) };
        if !RESTLESS.contains(&name.as_str()) || name == "outbox" {
            all.insert(format!("{service}/{name}"), (rows, digest));
        }
    }
    // One that is only dropped ends some time later, and the service that stops meanwhile is not the last to hold its store.
    store.close().await.with_context(|| format!("cannot close {}", file.display()))
}

/// The rows of a table as text, in their order.
async fn dump(store: &mut SqliteConnection, table: &str) -> anyhow::Result<(u64, String)> {
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?)")
        .bind(table)
        .fetch_all(&mut *store)
        .await?;
    let row: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    let query = format!(
        "SELECT count(*) AS rows, coalesce(group_concat({}, char(10)), '') AS text FROM \"{table}\"",
        row.join("||','||")
    );
    let found = sqlx::query(AssertSqlSafe(query)).fetch_one(store).await?;
    Ok((u64::try_from(found.try_get::<i64, _>("rows")?)?, found.try_get("text")?))
}

fn files(name: &str, folder: &Path, all: &mut BTreeMap<String, (u64, String)>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = format!("{name}/{}", entry.file_name().display());
        if entry.file_type()?.is_dir() {
            files(&name, &entry.path(), all)?;
        } else {
            let content = std::fs::read(entry.path())?;
            let lines = content.iter().filter(|byte| **byte == b'\n').count();
            all.insert(name, (u64::try_from(lines)?, sha256_hex(content)));
        }
    }
    Ok(())
}
