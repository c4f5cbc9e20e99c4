//! What was spent, on disk. A row holds the newest period of an account in one store.
//!
//! To the rows of a store only its router adds, and in one period they only grow. So a row may be copied to other stores, by
//! anybody and however often: of two copies the larger is the newer (a grow-only counter: Shapiro et al., 2011).

use bulkhead_sqlite::Store;
use jiff::Timestamp;
use serde_json::json;
use sqlx::{Row as _, SqliteConnection};

use super::account::Known;
use super::period::Period;
use super::{Entry, Key};

/// The id of a store, and how many routers have written what is spent there: what others know of it is old if that is more
/// than they know of.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Edition {
    pub(super) id: String,
    pub(super) terms: i64,
}

/// What a store says of itself.
pub(super) async fn edition(store: &Store) -> Result<Edition, sqlx::Error> {
    sqlx::query_as("SELECT id, terms FROM ledger").fetch_one(store.readers()).await
}

/// A router writes, perhaps for the first time.
async fn mark(connection: &mut SqliteConnection, edition: &Edition) -> Result<(), sqlx::Error> {
    let mark = sqlx::query("UPDATE ledger SET terms = ?1 WHERE terms < ?1").bind(edition.terms);
    mark.execute(connection).await.map(drop)
}

/// What the disk knows of an account in a period; nothing, where it knows only an older one.
pub(super) async fn known(
    store: &Store,
    own: &str,
    key: &Key,
    start: Option<Timestamp>,
) -> Result<Known, sqlx::Error> {
    let read = "SELECT COALESCE(SUM(spent_usd_micros) FILTER (WHERE origin = ?1), 0) AS own, \
                COALESCE(SUM(spent_usd_micros) FILTER (WHERE origin <> ?1), 0) AS others, \
                COALESCE(MAX(exhausted_told), 0) AS is_told FROM spending \
                WHERE budget = ?2 AND tenant = ?3 AND session_id = ?4 AND period_start_ms = ?5";
    let row = sqlx::query(read)
        .bind(own)
        .bind(name(&key.budget, key.period))
        .bind(&key.tenant)
        .bind(&key.session_id)
        .bind(millis(start))
        .fetch_one(store.readers())
        .await?;
    let (own, others) = (amount(row.try_get("own")?)?, amount(row.try_get("others")?)?);
    Ok(Known { own, others, is_told: row.try_get("is_told")? })
}

/// What each session of a tenant, or the tenant itself under an empty name, spent of a budget in a period.
pub(super) async fn all(
    store: &Store,
    budget: &str,
    period: Period,
    tenant: &str,
    start: Option<Timestamp>,
) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let read = "SELECT session_id, SUM(spent_usd_micros) AS spent FROM spending \
                WHERE budget = ? AND tenant = ? AND period_start_ms = ? GROUP BY session_id";
    let rows = sqlx::query(read).bind(name(budget, period)).bind(tenant).bind(millis(start));
    let rows = rows.fetch_all(store.readers()).await?;
    rows.iter().map(|row| Ok((row.try_get("session_id")?, amount(row.try_get("spent")?)?))).collect()
}

/// Writes what was spent, inside the caller's transaction. The same entries may be written again, or older ones after
/// newer.
///
/// # Errors
/// When the store cannot be written; the caller must let its transaction fail.
pub(crate) async fn write(connection: &mut SqliteConnection, entries: &[Entry]) -> Result<(), sqlx::Error> {
    if let Some(first) = entries.first() {
        mark(connection, &first.origin).await?;
    }
    for Entry { key, origin, start, sum } in entries {
        let row = Row {
            budget: name(&key.budget, key.period),
            tenant: key.tenant.clone(),
            session_id: key.session_id.clone(),
            origin: origin.id.clone(),
            period_start_ms: millis(*start),
            spent_usd_micros: i64::try_from(sum.spent).unwrap_or(i64::MAX).min(ROW_USD_MICROS_MAX),
            exhausted_told: sum.is_told,
        };
        raise(connection, &row).await?;
    }
    Ok(())
}

/// Of one row at most, nine billion dollars, so that the rows of a thousand stores can be summed.
const ROW_USD_MICROS_MAX: i64 = 1 << 53;

/// As it stands in the table.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(super) struct Row {
    /// The budget and its period.
    pub(super) budget: String,
    pub(super) tenant: String,
    pub(super) session_id: String,
    /// Id of the store that it is of.
    pub(super) origin: String,
    pub(super) period_start_ms: i64,
    pub(super) spent_usd_micros: i64,
    pub(super) exhausted_told: bool,
}

/// A row of an older period begins anew. In one period a row never shrinks.
async fn raise(connection: &mut SqliteConnection, row: &Row) -> Result<(), sqlx::Error> {
    let raise = "INSERT INTO spending \
               (budget, tenant, session_id, origin, period_start_ms, spent_usd_micros, exhausted_told) \
               VALUES (?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (budget, tenant, session_id, origin) DO UPDATE SET \
               spent_usd_micros = CASE period_start_ms WHEN excluded.period_start_ms \
                   THEN MAX(spent_usd_micros, excluded.spent_usd_micros) ELSE excluded.spent_usd_micros END, \
               exhausted_told = CASE period_start_ms WHEN excluded.period_start_ms \
                   THEN MAX(exhausted_told, excluded.exhausted_told) ELSE excluded.exhausted_told END, \
               period_start_ms = excluded.period_start_ms \
               WHERE period_start_ms <= excluded.period_start_ms";
    let raise = sqlx::query(raise)
        .bind(&row.budget)
        .bind(&row.tenant)
        .bind(&row.session_id)
        .bind(&row.origin)
        .bind(row.period_start_ms)
        .bind(row.spent_usd_micros)
        .bind(row.exhausted_told);
    raise.execute(connection).await.map(drop)
}

/// Rows after the given one, in the order of their keys; from the first, if none is given.
pub(super) async fn page(store: &Store, after: Option<&Row>, count: i64) -> Result<Vec<Row>, sqlx::Error> {
    let read = "SELECT * FROM spending WHERE (budget, tenant, session_id, origin) > (?, ?, ?, ?) \
                ORDER BY budget, tenant, session_id, origin LIMIT ?";
    // No budget's name is empty.
    let [budget, tenant, session_id, origin] = after.map_or([""; 4], |row| {
        [row.budget.as_str(), row.tenant.as_str(), row.session_id.as_str(), row.origin.as_str()]
    });
    let read = sqlx::query_as(read).bind(budget).bind(tenant).bind(session_id).bind(origin).bind(count);
    read.fetch_all(store.readers()).await
}

/// Takes copies of rows over. Inside the caller's transaction, and as often as may be.
pub(super) async fn copy(
    connection: &mut SqliteConnection,
    edition: &Edition,
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    mark(connection, edition).await?;
    for row in rows {
        raise(connection, row).await?;
    }
    Ok(())
}

impl Row {
    /// The account that it is of, and the start of the period that is going on there; none: its period is over, or nothing
    /// that is known here.
    pub(super) fn account(&self, now: Timestamp) -> Option<(Key, Option<Timestamp>)> {
        let (budget, period) = self.budget.rsplit_once('/')?;
        let period = Period::parse(period)?;
        let start = period.at(now).start;
        let (tenant, session_id) = (self.tenant.clone(), self.session_id.clone());
        let key = Key { budget: budget.to_owned(), period, tenant, session_id };
        (self.period_start_ms >= millis(start)).then_some((key, start))
    }
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
