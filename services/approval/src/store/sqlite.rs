//! The statements, each on a connection that its caller holds: the writer's inside its transaction, or a
//! reader's inside a snapshot. Here is what finds one approval, or the time of one.

mod list;
mod write;

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};

use super::StoreError;
use super::row::{self, to_json};
use crate::approval::{Approval, ApprovalId, Question};

pub(crate) use list::{Listed, changed_after, list, newest_revision};
pub(crate) use write::{beat, insert, save};

/// One approval of a tenant.
pub(crate) async fn load(
    c: &mut SqliteConnection,
    tenant: &str,
    id: ApprovalId,
) -> Result<Option<Approval>, StoreError> {
    let row = sqlx::query("SELECT * FROM approvals WHERE tenant = ? AND approval_id = ?")
        .bind(tenant)
        .bind(id.to_string())
        .fetch_optional(&mut *c)
        .await?;
    match row {
        Some(row) => complete(c, row::approval(&row)?).await.map(Some),
        None => Ok(None),
    }
}

/// Adds votes and grant.
async fn complete(c: &mut SqliteConnection, mut approval: Approval) -> Result<Approval, StoreError> {
    let id = approval.id.to_string();
    let votes = sqlx::query("SELECT * FROM votes WHERE approval_id = ? ORDER BY place")
        .bind(&id)
        .fetch_all(&mut *c)
        .await?;
    approval.votes = votes.iter().map(row::vote).collect::<sqlx::Result<_>>()?;
    let grant = sqlx::query("SELECT * FROM grants WHERE approval_id = ?").bind(&id).fetch_optional(c).await?;
    approval.grant = grant.as_ref().map(row::grant).transpose()?;
    Ok(approval)
}

/// An approval that still waits for the answer to the same question: same plan, same principal, same
/// requirements. One that expired is not joined, even before that was written down.
pub(crate) async fn find_equal(
    c: &mut SqliteConnection,
    question: &Question,
) -> Result<Option<Approval>, StoreError> {
    let row = sqlx::query(
        "SELECT * FROM approvals WHERE tenant = ? AND plan_digest = ? AND state = 'pending' \
         AND on_behalf_of = ? AND requirements = ? AND expire_time_ms > ? ORDER BY seq LIMIT 1",
    )
    .bind(&question.on_behalf_of.tenant)
    .bind(question.plan.digest())
    .bind(to_json(&question.on_behalf_of)?)
    .bind(to_json(&question.requirements)?)
    .bind(question.create_time.as_millisecond())
    .fetch_optional(&mut *c)
    .await?;
    match row {
        Some(row) => complete(c, row::approval(&row)?).await.map(Some),
        None => Ok(None),
    }
}

/// Tenants and names of approvals whose time is over and whose end is not written down, oldest first.
pub(crate) async fn due(
    c: &mut SqliteConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<(String, ApprovalId)>, StoreError> {
    let rows = sqlx::query(
        "SELECT tenant, approval_id FROM approvals WHERE state = 'pending' AND expire_time_ms <= ? \
         ORDER BY expire_time_ms LIMIT ?",
    )
    .bind(now.as_millisecond())
    .bind(limit)
    .fetch_all(c)
    .await?;
    let named = rows.iter().map(|row| Ok((row.try_get("tenant")?, row::id(row)?)));
    Ok(named.collect::<sqlx::Result<_>>()?)
}

/// How many wait for people, of every tenant.
pub(crate) async fn pending(c: &mut SqliteConnection) -> Result<u64, StoreError> {
    let count = "SELECT COUNT(*) FROM approvals WHERE state = 'pending'";
    let pending: i64 = sqlx::query_scalar(count).fetch_one(c).await?;
    Ok(u64::try_from(pending).unwrap_or(0))
}

/// When the next pending approval expires.
pub(crate) async fn next_expiry(c: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT expire_time_ms FROM approvals WHERE state = 'pending' ORDER BY expire_time_ms LIMIT 1",
    )
    .fetch_optional(c)
    .await?;
    Ok(row.as_ref().map(|row| row::time(row, "expire_time_ms")).transpose()?)
}

#[cfg(test)]
mod tests;
