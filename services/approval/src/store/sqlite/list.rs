//! Many approvals at once, bounded so that an answer fits into a message.

use bulkhead_edge::page::Page;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::load;
use crate::approval::Approval;
use crate::store::row::{self, integer};
use crate::store::{StateFilter, StoreError};

/// An answer ends with the approval that brings it to this size, in bytes. Together with one more of the
/// largest approvals it stays below the 8 MiB that callers decode.
const PAGE_BYTES: usize = 3 << 20;

/// Approvals and the cursor after the last of them; no cursor: there are no more.
#[derive(Debug)]
pub(crate) struct Listed {
    /// Newest first.
    pub(crate) approvals: Vec<Approval>,
    /// Where the next page starts.
    pub(crate) next: Option<u64>,
}

/// A page of a tenant's approvals, newest first. It may be shorter than asked for when they are large.
pub(crate) async fn list(
    c: &mut SqliteConnection,
    tenant: &str,
    filter: StateFilter,
    page: Page,
    now: Timestamp,
) -> Result<Listed, StoreError> {
    let rows = rows(c, tenant, filter, page, now).await?;
    let wanted = rows.len().min(usize::try_from(page.size).unwrap_or(usize::MAX));
    let approvals = load_some(c, tenant, &rows[..wanted]).await?;
    let more = approvals.len() < rows.len();
    let last = approvals.len().checked_sub(1).and_then(|at| rows.get(at)).filter(|_| more);
    let next = last.map(|row| row.try_get::<i64, _>("seq")).transpose()?;
    Ok(Listed { approvals, next: next.and_then(|seq| u64::try_from(seq).ok()) })
}

/// Cursors and names of a page and of one more. What is overdue counts as expired, as it does wherever an
/// approval is shown.
async fn rows(
    c: &mut SqliteConnection,
    tenant: &str,
    filter: StateFilter,
    page: Page,
    now: Timestamp,
) -> Result<Vec<SqliteRow>, StoreError> {
    const ANY: &str =
        "SELECT seq, approval_id FROM approvals WHERE tenant = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3";
    // The index is named because the few that are pending, which people ask for most, would otherwise be
    // looked for among all that ever were.
    const IN_STATE: &str = "SELECT seq, approval_id FROM approvals INDEXED BY approvals_by_state \
         WHERE tenant = ?1 AND seq < ?2 AND state IN (?4, ?5) \
         AND CASE WHEN state = 'pending' AND expire_time_ms <= ?6 THEN 'expired' ELSE state END = ?4 \
         ORDER BY seq DESC LIMIT ?3";
    let shown = filter.as_str();
    let query = sqlx::query(if shown.is_some() { IN_STATE } else { ANY })
        .bind(tenant)
        .bind(page.after.map_or(Ok(i64::MAX), integer)?)
        .bind(i64::from(page.size) + 1);
    let query = match shown {
        Some(shown) => query.bind(shown).bind(filter.stored_as()).bind(now.as_millisecond()),
        None => query,
    };
    Ok(query.fetch_all(c).await?)
}

/// A tenant's approvals that changed after a revision, in the order of their last change. Bounded by size:
/// ask again from the last one until there are none.
pub(crate) async fn changed_after(
    c: &mut SqliteConnection,
    tenant: &str,
    revision: u64,
) -> Result<Vec<Approval>, StoreError> {
    // No revision is ever beyond this, so a larger one only means that nothing follows.
    let revision = i64::try_from(revision).unwrap_or(i64::MAX);
    let rows = sqlx::query(
        "SELECT approval_id FROM approvals WHERE tenant = ? AND revision > ? ORDER BY revision LIMIT 100",
    )
    .bind(tenant)
    .bind(revision)
    .fetch_all(&mut *c)
    .await?;
    load_some(c, tenant, &rows).await
}

/// The revision of a tenant's last change; 0: there was none.
pub(crate) async fn newest_revision(c: &mut SqliteConnection, tenant: &str) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT revision FROM revisions WHERE tenant = ?").bind(tenant);
    let revision = row.fetch_optional(c).await?.map(|row| row.try_get::<i64, _>("revision")).transpose()?;
    u64::try_from(revision.unwrap_or(0))
        .map_err(|error| StoreError::Corrupt(sqlx::Error::Decode(Box::new(error))))
}

/// Loads the approvals that the rows name, until they fill an answer; always the first.
async fn load_some(
    c: &mut SqliteConnection,
    tenant: &str,
    rows: &[SqliteRow],
) -> Result<Vec<Approval>, StoreError> {
    let mut approvals = Vec::with_capacity(rows.len());
    let mut bytes = 0;
    for row in rows {
        if bytes >= PAGE_BYTES {
            break;
        }
        // Rows are never removed, so one that was just listed is there.
        let approval = load(c, tenant, row::id(row)?).await?.ok_or(sqlx::Error::RowNotFound)?;
        bytes += approval.weight();
        approvals.push(approval);
    }
    Ok(approvals)
}
