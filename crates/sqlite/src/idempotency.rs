//! Requests that were seen, in the store whose change they made (see [`bulkhead_idempotency`]).
//!
//! A store that uses this has the table
//! `requests(tenant, principal, method, request_id, payload_digest, subject_id, create_time_ms)` with the
//! first four as its primary key. The row is written in the transaction of the effect, so there is never one
//! without the other.

use bulkhead_idempotency::{Claim, Request, forgotten_before};
use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};

/// Looks a request up; what was seen is the id of what the first one made.
///
/// # Errors
/// Whatever the database says.
pub async fn claim(connection: &mut SqliteConnection, request: &Request) -> sqlx::Result<Claim<(), String>> {
    let scope = &request.scope;
    let row = sqlx::query(
        "SELECT payload_digest, subject_id FROM requests \
         WHERE tenant = ? AND principal = ? AND method = ? AND request_id = ?",
    )
    .bind(&scope.tenant)
    .bind(&scope.principal)
    .bind(scope.method)
    .bind(scope.request_id.to_string())
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(Claim::New(())) };
    if row.try_get::<String, _>("payload_digest")? == request.payload.as_str() {
        Ok(Claim::Seen(row.try_get("subject_id")?))
    } else {
        Ok(Claim::Reused)
    }
}

/// Remembers a request with what it made.
///
/// # Errors
/// Whatever the database says; a second row for the same id is refused by the primary key.
pub async fn record(
    connection: &mut SqliteConnection,
    request: &Request,
    subject_id: &str,
    now_ms: i64,
) -> sqlx::Result<()> {
    let scope = &request.scope;
    sqlx::query(
        "INSERT INTO requests (tenant, principal, method, request_id, payload_digest, subject_id, create_time_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&scope.tenant)
    .bind(&scope.principal)
    .bind(scope.method)
    .bind(scope.request_id.to_string())
    .bind(request.payload.as_str())
    .bind(subject_id)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets requests that are older than their window ([`bulkhead_idempotency::WINDOW`]) and says how many.
///
/// # Errors
/// Whatever the database says.
pub async fn sweep(connection: &mut SqliteConnection, now: Timestamp) -> sqlx::Result<u64> {
    let done = sqlx::query("DELETE FROM requests WHERE create_time_ms < ?")
        .bind(forgotten_before(now).as_millisecond())
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
