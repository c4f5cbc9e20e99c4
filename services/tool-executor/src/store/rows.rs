//! Executions as rows.

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{Listed, ListedPage, StoreError, Waiting};
use crate::execution::{Execution, State};

/// A page ends with the record that brings it to this size, in bytes. Together with one more of the largest
/// it stays below the 8 MiB that callers decode.
const PAGE_BYTES: usize = 3 << 20;

/// Writes the one row that is there to be written.
pub(super) async fn beat(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO heartbeat (one, time_ms) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET time_ms = ?1",
    )
    .bind(now.as_millisecond())
    .execute(connection)
    .await?;
    Ok(())
}

/// The execution in a row's `record`.
pub(super) fn read(row: &SqliteRow) -> Result<Execution, StoreError> {
    let record: &str = row.try_get("record")?;
    serde_json::from_str(record).map_err(StoreError::Corrupt)
}

/// Takes rows until there are `size` of them or they fill a page; always the first. What stands behind them
/// is not decoded, and tells only that there is more.
pub(super) async fn read_page(
    mut rows: BoxStream<'_, sqlx::Result<SqliteRow>>,
    size: usize,
) -> Result<ListedPage, StoreError> {
    let (mut listed, mut bytes) = (Vec::new(), 0);
    while listed.len() < size && bytes < PAGE_BYTES {
        let Some(row) = rows.try_next().await? else { return Ok(ListedPage { listed, more: false }) };
        bytes += row.try_get::<&str, _>("record")?.len();
        listed.push(read_listed(&row)?);
    }
    Ok(ListedPage { listed, more: rows.next().await.transpose()?.is_some() })
}

/// An execution with its place.
fn read_listed(row: &SqliteRow) -> Result<Listed, StoreError> {
    let seq: i64 = row.try_get("seq")?;
    Ok(Listed { seq: seq.try_into().unwrap_or(0), execution: read(row)? })
}

/// What waits, without its record.
pub(super) fn read_waiting(row: &SqliteRow) -> Result<Waiting, StoreError> {
    let undecodable = |error| sqlx::Error::Decode(error);
    let id: &str = row.try_get("execution_id")?;
    let create_time = Timestamp::from_millisecond(row.try_get("create_time_ms")?);
    Ok(Waiting {
        id: id.parse().map_err(|error| undecodable(Box::new(error)))?,
        approval_id: row.try_get("approval_id")?,
        create_time: create_time.map_err(|error| undecodable(Box::new(error)))?,
    })
}

/// Writes a new execution.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    execution: &Execution,
) -> Result<(), StoreError> {
    let record = serde_json::to_string(execution).map_err(StoreError::Corrupt)?;
    sqlx::query(
        "INSERT INTO executions (execution_id, tenant, principal, session_id, state, approval_id, undo_of, \
         plan_digest, revision, create_time_ms, update_time_ms, record) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(execution.id.to_string())
    .bind(&execution.principal().tenant)
    .bind(execution.principal().to_string())
    .bind(&execution.context.session_id)
    .bind(execution.state.as_str())
    .bind(&execution.approval_id)
    .bind(execution.undo_of.map(|id| id.to_string()))
    .bind(execution.plan_digest())
    .bind(revision(execution))
    .bind(execution.create_time.as_millisecond())
    .bind(execution.update_time.as_millisecond())
    .bind(record)
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes an execution over what was read; false: it is not like that any more.
pub(super) async fn update(
    connection: &mut SqliteConnection,
    execution: &Execution,
    state: State,
    read_revision: u64,
) -> Result<bool, StoreError> {
    let record = serde_json::to_string(execution).map_err(StoreError::Corrupt)?;
    let done = sqlx::query(
        "UPDATE executions SET state = ?, approval_id = ?, plan_digest = ?, revision = ?, \
         update_time_ms = ?, record = ? WHERE execution_id = ? AND state = ? AND revision = ?",
    )
    .bind(execution.state.as_str())
    .bind(&execution.approval_id)
    .bind(execution.plan_digest())
    .bind(revision(execution))
    .bind(execution.update_time.as_millisecond())
    .bind(record)
    .bind(execution.id.to_string())
    .bind(state.as_str())
    .bind(i64::try_from(read_revision).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// One execution, as this connection sees it.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    id: Uuid,
) -> Result<Option<Execution>, StoreError> {
    let row = sqlx::query("SELECT record FROM executions WHERE execution_id = ?")
        .bind(id.to_string())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// The tenant's next revision.
pub(super) async fn next_revision(
    connection: &mut SqliteConnection,
    tenant: &str,
) -> Result<u64, StoreError> {
    let next: i64 =
        sqlx::query_scalar("SELECT COALESCE(MAX(revision), 0) + 1 FROM executions WHERE tenant = ?")
            .bind(tenant)
            .fetch_one(connection)
            .await?;
    Ok(next.try_into().unwrap_or(0))
}

fn revision(execution: &Execution) -> i64 {
    i64::try_from(execution.revision).unwrap_or(i64::MAX)
}
