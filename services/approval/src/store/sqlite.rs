//! The statements, each on a connection that its caller holds: the writer's inside its transaction, or a
//! reader's inside a snapshot.

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::row::{self, integer, to_json};
use super::{PENDING, StateFilter, StoreError};
use crate::approval::{Approval, ApprovalId, Question, Vote};

/// An answer ends with the approval that brings it to this size, in bytes. Together with one more of the
/// largest approvals it stays below the 8 MiB that callers decode.
const PAGE_BYTES: usize = 3 << 20;

/// Writes a new approval and gives it its revision.
pub(crate) async fn insert(c: &mut SqliteConnection, approval: Approval) -> Result<Approval, StoreError> {
    let revision = next_revision(c, approval.tenant()).await?;
    let question = &approval.question;
    sqlx::query(
        "INSERT INTO approvals (approval_id, tenant, revision, requested_by, on_behalf_of, plan_json, \
         plan_digest, tool, requirements, session_id, traceparent, create_time_ms, expire_time_ms, state) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(approval.id.to_string())
    .bind(approval.tenant())
    .bind(integer(revision)?)
    .bind(to_json(&question.requested_by)?)
    .bind(to_json(&question.on_behalf_of)?)
    .bind(question.plan.json())
    .bind(question.plan.digest())
    .bind(question.plan.tool())
    .bind(to_json(&question.requirements)?)
    .bind(&question.session_id)
    .bind(&question.traceparent)
    .bind(question.create_time.as_millisecond())
    .bind(question.expire_time.as_millisecond())
    .bind(PENDING)
    .execute(c)
    .await?;
    Ok(Approval { revision, ..approval })
}

/// Writes what became of an approval, if it is still at the revision that `approval` carries, and gives it
/// its next one. Votes are added, never altered.
pub(crate) async fn save(
    c: &mut SqliteConnection,
    approval: Approval,
    votes_before: usize,
) -> Result<Approval, StoreError> {
    let revision = next_revision(c, approval.tenant()).await?;
    let end = approval.settlement.as_ref();
    let updated = sqlx::query(
        "UPDATE approvals SET revision = ?, state = ?, settle_time_ms = ?, decision_traceparent = ? \
         WHERE approval_id = ? AND revision = ? AND state = 'pending'",
    )
    .bind(integer(revision)?)
    .bind(end.map_or(PENDING, |end| end.outcome.as_str()))
    .bind(end.map(|end| end.time.as_millisecond()))
    .bind(end.map_or("", |end| end.traceparent.as_str()))
    .bind(approval.id.to_string())
    .bind(integer(approval.revision)?)
    .execute(&mut *c)
    .await?;
    if updated.rows_affected() != 1 {
        return Err(StoreError::Conflict { id: approval.id, revision: approval.revision });
    }
    for (place, vote) in approval.votes.iter().enumerate().skip(votes_before) {
        insert_vote(c, approval.id, place, vote).await?;
    }
    insert_grant(c, &approval).await?;
    Ok(Approval { revision, ..approval })
}

async fn insert_vote(
    c: &mut SqliteConnection,
    id: ApprovalId,
    place: usize,
    vote: &Vote,
) -> Result<(), StoreError> {
    let place = i64::try_from(place).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO votes (approval_id, place, voter, roles, decision, reason, time_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id.to_string())
    .bind(place)
    .bind(to_json(&vote.voter)?)
    .bind(to_json(&vote.roles)?)
    .bind(vote.decision.as_str())
    .bind(&vote.reason)
    .bind(vote.time.as_millisecond())
    .execute(c)
    .await?;
    Ok(())
}

async fn insert_grant(c: &mut SqliteConnection, approval: &Approval) -> Result<(), StoreError> {
    let Some(grant) = &approval.grant else { return Ok(()) };
    sqlx::query("INSERT INTO grants (approval_id, payload_json, key_id, signature) VALUES (?, ?, ?, ?)")
        .bind(approval.id.to_string())
        .bind(&grant.payload_json)
        .bind(&grant.key_id)
        .bind(&grant.signature)
        .execute(c)
        .await?;
    Ok(())
}

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
    page: bulkhead_edge::page::Page,
    now: Timestamp,
) -> Result<Listed, StoreError> {
    // What is overdue counts as expired, as it does wherever an approval is shown.
    let rows = sqlx::query(
        "SELECT seq, approval_id FROM approvals WHERE tenant = ?1 AND seq < ?2 AND (?3 IS NULL OR \
         CASE WHEN state = 'pending' AND expire_time_ms <= ?4 THEN 'expired' ELSE state END = ?3) \
         ORDER BY seq DESC LIMIT ?5",
    )
    .bind(tenant)
    .bind(page.after.map_or(Ok(i64::MAX), integer)?)
    .bind(filter.as_str())
    .bind(now.as_millisecond())
    .bind(i64::from(page.size) + 1)
    .fetch_all(&mut *c)
    .await?;
    let wanted = rows.len().min(usize::try_from(page.size).unwrap_or(usize::MAX));
    let approvals = load_some(c, tenant, &rows[..wanted]).await?;
    let more = approvals.len() < rows.len();
    let last = approvals.len().checked_sub(1).and_then(|at| rows.get(at)).filter(|_| more);
    let next = last.map(|row| row.try_get::<i64, _>("seq")).transpose()?;
    Ok(Listed { approvals, next: next.and_then(|seq| u64::try_from(seq).ok()) })
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

/// When the next pending approval expires.
pub(crate) async fn next_expiry(c: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    let row = sqlx::query(
        "SELECT expire_time_ms FROM approvals WHERE state = 'pending' ORDER BY expire_time_ms LIMIT 1",
    )
    .fetch_optional(c)
    .await?;
    Ok(row.as_ref().map(|row| row::time(row, "expire_time_ms")).transpose()?)
}

/// Writes a row, to learn whether the store can be written.
pub(crate) async fn beat(c: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO heartbeat (one, time_ms) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET time_ms = ?1",
    )
    .bind(now.as_millisecond())
    .execute(c)
    .await?;
    Ok(())
}

async fn next_revision(c: &mut SqliteConnection, tenant: &str) -> Result<u64, StoreError> {
    let row = sqlx::query(
        "INSERT INTO revisions (tenant, revision) VALUES (?, 1) \
         ON CONFLICT (tenant) DO UPDATE SET revision = revision + 1 RETURNING revision",
    )
    .bind(tenant)
    .fetch_one(c)
    .await?;
    Ok(row::revision(&row)?)
}
