//! What changes the store, on the writer's connection inside its transaction.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use crate::approval::{Approval, ApprovalId, Vote};
use crate::store::row::{self, integer, to_json};
use crate::store::{PENDING, StoreError};

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
