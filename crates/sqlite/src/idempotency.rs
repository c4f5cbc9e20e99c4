//! The same request id: the same answer, one effect.
//!
//! A store that uses this has the table
//! `requests(tenant, principal, method, request_id, payload_digest, subject_id, create_time_ms)` with the
//! first four as its primary key. The row is written in the transaction of the effect, so there is never one
//! without the other.

use sqlx::{Row as _, SqliteConnection};

/// Whose request it is. Two callers may use the same id without meeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The caller's tenant.
    pub tenant: String,
    /// The caller, as `kind:tenant/name`.
    pub principal: String,
    /// Name of the RPC.
    pub method: &'static str,
    /// The caller's id for the request.
    pub request_id: String,
}

/// What an id means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Never seen: act, and [`record`] it in the same transaction.
    New,
    /// Seen with this payload: answer with the subject as it is now, and do nothing.
    Seen {
        /// The id of what the first request made.
        subject_id: String,
    },
    /// Seen with another payload: `ALREADY_EXISTS` / `REQUEST_ID_REUSED`.
    Reused,
}

/// Looks an id up.
///
/// # Errors
/// Whatever the database says.
pub async fn claim(
    connection: &mut SqliteConnection,
    scope: &Scope,
    payload_digest: &str,
) -> sqlx::Result<Claim> {
    let row = sqlx::query(
        "SELECT payload_digest, subject_id FROM requests \
         WHERE tenant = ? AND principal = ? AND method = ? AND request_id = ?",
    )
    .bind(&scope.tenant)
    .bind(&scope.principal)
    .bind(scope.method)
    .bind(&scope.request_id)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(Claim::New) };
    if row.try_get::<String, _>("payload_digest")? == payload_digest {
        Ok(Claim::Seen { subject_id: row.try_get("subject_id")? })
    } else {
        Ok(Claim::Reused)
    }
}

/// Remembers an id with what its request made.
///
/// # Errors
/// Whatever the database says; a second row for the same id is refused by the primary key.
pub async fn record(
    connection: &mut SqliteConnection,
    scope: &Scope,
    payload_digest: &str,
    subject_id: &str,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO requests (tenant, principal, method, request_id, payload_digest, subject_id, create_time_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&scope.tenant)
    .bind(&scope.principal)
    .bind(scope.method)
    .bind(&scope.request_id)
    .bind(payload_digest)
    .bind(subject_id)
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets ids older than the window and says how many.
///
/// # Errors
/// Whatever the database says.
pub async fn sweep(connection: &mut SqliteConnection, before_ms: i64) -> sqlx::Result<u64> {
    let done = sqlx::query("DELETE FROM requests WHERE create_time_ms < ?")
        .bind(before_ms)
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}
