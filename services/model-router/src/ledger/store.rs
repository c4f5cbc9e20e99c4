//! What was spent, on disk. A row holds the newest period of an account.

use bulkhead_sqlite::Store;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

use super::account::Sum;
use super::period::Period;
use super::{Entry, Key};

/// What the disk knows of an account in a period; nothing, where it knows only an older one.
pub(super) async fn sum(store: &Store, key: &Key, start: Option<Timestamp>) -> Result<Sum, sqlx::Error> {
    let read = "SELECT spent_usd_micros, exhausted_told FROM spending \
                WHERE budget = ? AND tenant = ? AND session_id = ? AND period_start_ms = ?";
    let row = sqlx::query(read)
        .bind(name(&key.budget, key.period))
        .bind(&key.tenant)
        .bind(&key.session_id)
        .bind(millis(start))
        .fetch_optional(store.readers())
        .await?;
    let Some(row) = row else { return Ok(Sum::default()) };
    Ok(Sum { spent: amount(row.try_get("spent_usd_micros")?)?, is_told: row.try_get("exhausted_told")? })
}

/// What each session of a tenant, or the tenant itself under an empty name, spent of a budget in a period.
pub(super) async fn all(
    store: &Store,
    budget: &str,
    period: Period,
    tenant: &str,
    start: Option<Timestamp>,
) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let read = "SELECT session_id, spent_usd_micros FROM spending \
                WHERE budget = ? AND tenant = ? AND period_start_ms = ?";
    let rows = sqlx::query(read).bind(name(budget, period)).bind(tenant).bind(millis(start));
    let rows = rows.fetch_all(store.readers()).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("session_id")?, amount(row.try_get("spent_usd_micros")?)?)))
        .collect()
}

/// Writes what was spent, inside the caller's transaction. A row of an older period begins anew. In one period a row never
/// shrinks, so that the same entries may be written again, or older ones after newer.
///
/// # Errors
/// When the store cannot be written; the caller must let its transaction fail.
pub(crate) async fn write(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    let raise = "INSERT INTO spending \
               (budget, tenant, session_id, period_start_ms, spent_usd_micros, exhausted_told) \
               VALUES (?, ?, ?, ?, ?, ?) \
               ON CONFLICT (budget, tenant, session_id) DO UPDATE SET \
               spent_usd_micros = CASE period_start_ms WHEN excluded.period_start_ms \
                   THEN MAX(spent_usd_micros, excluded.spent_usd_micros) ELSE excluded.spent_usd_micros END, \
               exhausted_told = CASE period_start_ms WHEN excluded.period_start_ms \
                   THEN MAX(exhausted_told, excluded.exhausted_told) ELSE excluded.exhausted_told END, \
               period_start_ms = excluded.period_start_ms \
               WHERE period_start_ms <= excluded.period_start_ms";
    for Entry { key, start, sum } in entries {
        sqlx::query(raise)
            .bind(name(&key.budget, key.period))
            .bind(&key.tenant)
            .bind(&key.session_id)
            .bind(millis(*start))
            .bind(i64::try_from(sum.spent).unwrap_or(i64::MAX))
            .bind(sum.is_told)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A budget that is counted over another span than before has a row of its own.
pub(super) fn name(budget: &str, period: Period) -> String {
    format!("{budget}/{}", period.as_str())
}

/// An endless period began before every other.
fn millis(start: Option<Timestamp>) -> i64 {
    start.map_or(0, Timestamp::as_millisecond)
}

/// Amounts are never negative; a row that says so was not written here.
fn amount(stored: i64) -> Result<u64, sqlx::Error> {
    u64::try_from(stored).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Rows that nobody can read again, at most so many.
pub(super) async fn unread(
    store: &Store,
    budgets: &[(String, Option<Timestamp>)],
    count: i64,
) -> Result<Vec<Stale>, sqlx::Error> {
    let kept: Vec<(&str, i64)> =
        budgets.iter().map(|(name, start)| (name.as_str(), millis(*start))).collect();
    let read = "SELECT budget, tenant, session_id, period_start_ms FROM spending WHERE NOT EXISTS \
                (SELECT 1 FROM json_each(?) AS kept \
                 WHERE kept.value ->> 0 = spending.budget AND spending.period_start_ms >= kept.value ->> 1) \
                LIMIT ?";
    sqlx::query_as(read).bind(json!(kept).to_string()).bind(count).fetch_all(store.readers()).await
}

/// A row that may go.
#[derive(Debug, sqlx::FromRow)]
pub(super) struct Stale {
    budget: String,
    tenant: String,
    session_id: String,
    period_start_ms: i64,
}

/// Removes rows, but for those that began a new period since they were read. Inside the caller's transaction.
pub(super) async fn remove(connection: &mut SqliteConnection, stale: &[Stale]) -> Result<(), sqlx::Error> {
    let remove = "DELETE FROM spending \
                  WHERE budget = ? AND tenant = ? AND session_id = ? AND period_start_ms = ?";
    for row in stale {
        sqlx::query(remove)
            .bind(&row.budget)
            .bind(&row.tenant)
            .bind(&row.session_id)
            .bind(row.period_start_ms)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
