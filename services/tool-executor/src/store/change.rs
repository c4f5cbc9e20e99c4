//! One change of the journal, inside the writer's transaction: every condition is checked where it is acted on.

use bulkhead_idempotency::{Claim, Request};
use bulkhead_outbox::{EventDraft, Limit, Outbox};
use bulkhead_sqlite as sqlite;
use sqlx::{Row as _, SqliteConnection};

use super::{Claimed, Committed, Limits, StoreError, rows};
use crate::execution::{Before, Draft, Execution, State, Step, transition};

/// Makes the change, or none of it.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    outbox: Outbox,
    limits: Limits,
    draft: Draft,
    event: Option<EventDraft>,
) -> Result<Committed, StoreError> {
    let Draft { before, mut execution } = draft;
    if let Before::Absent(request) = &before
        && let Claimed::Seen(id) = claimed(connection, request).await?
    {
        return Ok(Committed::Replayed(id));
    }
    if before.is_absent() && execution.state == State::Planned {
        require_place(connection, limits.pending_per_principal, &execution).await?;
    }
    let was_running = matches!(before, Before::Is { state: State::Running, .. });
    if event.is_some() && !was_running {
        // An intent promises an outcome, so it needs room for both.
        let needed = if execution.state == State::Running { 2 } else { 1 };
        require_room(connection, limits.outbox, needed).await?;
    }
    if execution.state == State::Running {
        require_original(connection, &execution).await?;
    }
    execution.revision = rows::next_revision(connection, &execution.principal().tenant).await?;
    put(connection, &before, &execution).await?;
    if execution.state == State::Running && !before.is_absent() {
        use_grant(connection, &execution).await?;
    }
    if execution.state == State::Succeeded {
        mark_original_undone(connection, &execution).await?;
    }
    let event_place = match event {
        Some(event) => Some(outbox.enqueue(connection, event).await?),
        None => None,
    };
    Ok(Committed::Done { execution: Box::new(execution), event_place })
}

async fn put(
    connection: &mut SqliteConnection,
    before: &Before,
    execution: &Execution,
) -> Result<(), StoreError> {
    match before {
        Before::Absent(request) => {
            rows::insert(connection, execution).await?;
            let now = execution.create_time.as_millisecond();
            let subject = execution.id.to_string();
            sqlite::record(connection, request, &subject, now).await?;
        }
        Before::Is { state, revision } => {
            if !rows::update(connection, execution, *state, *revision).await? {
                return Err(StoreError::Conflict { id: execution.id });
            }
        }
    }
    Ok(())
}

/// What a request id means now.
pub(super) async fn claimed(
    connection: &mut SqliteConnection,
    request: &Request,
) -> Result<Claimed, StoreError> {
    match sqlite::claim(connection, request).await? {
        Claim::New(()) => Ok(Claimed::New),
        Claim::Seen(subject_id) => {
            let id = subject_id.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok(Claimed::Seen(id))
        }
        Claim::Reused => Err(StoreError::RequestReused),
    }
}

/// Refuses when the outbox could not hold `needed` more events beside the outcomes of all that runs.
pub(super) async fn require_room(
    connection: &mut SqliteConnection,
    limit: Limit,
    needed: i64,
) -> Result<(), StoreError> {
    let row = sqlx::query(
        "SELECT (SELECT COALESCE(MAX(seq) - MIN(seq) + 1, 0) FROM outbox) AS waiting, \
         (SELECT COUNT(*) FROM executions WHERE state = 'RUNNING') AS running",
    )
    .fetch_one(connection)
    .await?;
    let (waiting, running): (i64, i64) = (row.try_get("waiting")?, row.try_get("running")?);
    if waiting + running + needed > limit.0 {
        return Err(StoreError::OutboxFull { waiting });
    }
    Ok(())
}

/// Refuses when the principal has as much waiting for people as it may have.
async fn require_place(
    connection: &mut SqliteConnection,
    limit: i64,
    execution: &Execution,
) -> Result<(), StoreError> {
    let principal = execution.principal().to_string();
    let pending: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM executions \
         WHERE principal = ? AND state IN ('PLANNED', 'AWAITING_APPROVAL')",
    )
    .bind(&principal)
    .fetch_one(connection)
    .await?;
    if pending < limit { Ok(()) } else { Err(StoreError::TooManyPending { principal, pending }) }
}

/// An undo may start only while its original stands and no other undo of it runs.
async fn require_original(
    connection: &mut SqliteConnection,
    execution: &Execution,
) -> Result<(), StoreError> {
    let Some(id) = execution.undo_of else { return Ok(()) };
    let stands: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM executions WHERE execution_id = ?1 AND state = 'SUCCEEDED') \
         AND NOT EXISTS (SELECT 1 FROM executions WHERE undo_of = ?1 AND state = 'RUNNING')",
    )
    .bind(id.to_string())
    .fetch_one(connection)
    .await?;
    if stands { Ok(()) } else { Err(StoreError::OriginalGone { id }) }
}

/// Takes the approval's single use, in the transaction of the intent.
async fn use_grant(connection: &mut SqliteConnection, execution: &Execution) -> Result<(), StoreError> {
    let Some(approval_id) = execution.approval_id.clone() else { return Ok(()) };
    if bulkhead_failpoint::active("executor.grant_reused") {
        return Ok(());
    }
    let used = sqlx::query(
        "INSERT INTO grants_used (approval_id, execution_id, use_time_ms) VALUES (?, ?, ?) \
         ON CONFLICT (approval_id) DO NOTHING",
    )
    .bind(&approval_id)
    .bind(execution.id.to_string())
    .bind(execution.update_time.as_millisecond())
    .execute(connection)
    .await?;
    if used.rows_affected() == 1 { Ok(()) } else { Err(StoreError::GrantUsed { approval_id }) }
}

/// The undo worked: what it took back is undone, in the same transaction.
async fn mark_original_undone(connection: &mut SqliteConnection, undo: &Execution) -> Result<(), StoreError> {
    let Some(id) = undo.undo_of else { return Ok(()) };
    let Some(mut original) = rows::find(connection, id).await? else {
        return Err(StoreError::OriginalGone { id });
    };
    let (state, revision) = (original.state, original.revision);
    original.state =
        transition(Some(state), Step::Undo).map_err(|_illegal| StoreError::OriginalGone { id })?;
    original.update_time = undo.update_time;
    original.revision = rows::next_revision(connection, &original.principal().tenant).await?;
    if rows::update(connection, &original, state, revision).await? {
        Ok(())
    } else {
        Err(StoreError::Conflict { id })
    }
}
