//! The same request: the same answer, one effect.

use bulkhead_sqlite::{Claim, Scope, claim, record};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{Caller, Change, DeskError};
use crate::approval::{Approval, ApprovalId};
use crate::store::{StoreError, sqlite};

impl Caller {
    /// What the caller's id is unique in.
    pub(super) fn scope(&self, method: &'static str) -> Scope {
        Scope {
            tenant: self.principal.tenant.clone(),
            principal: self.principal.to_string(),
            method,
            request_id: self.request_id.clone(),
        }
    }
}

/// What an earlier request with the same id made, as it is now.
pub(super) async fn claimed(
    c: &mut SqliteConnection,
    scope: &Scope,
    caller: &Caller,
) -> Change<Option<Approval>> {
    match claim(c, scope, &caller.payload_digest).await.map_err(StoreError::from)? {
        Claim::New => Ok(None),
        Claim::Reused => Err(DeskError::RequestIdReused { request_id: scope.request_id.clone() }),
        Claim::Seen { subject_id } => {
            let id = subject_id
                .parse()
                .map_err(|error| StoreError::Corrupt(sqlx::Error::Decode(Box::<uuid::Error>::new(error))))?;
            sqlite::load(c, &scope.tenant, id).await?.ok_or(DeskError::NotFound { id }).map(Some)
        }
    }
}

/// Keeps the id with what its request made or changed.
pub(super) async fn remember(
    c: &mut SqliteConnection,
    scope: &Scope,
    caller: &Caller,
    id: ApprovalId,
    now: Timestamp,
) -> Change<()> {
    let digest = &caller.payload_digest;
    record(c, scope, digest, &id.to_string(), now.as_millisecond()).await.map_err(StoreError::from)?;
    Ok(())
}
