//! The same request: the same answer, one effect.

use bulkhead_idempotency::{Claim, Request};
use bulkhead_sqlite::{claim, record};
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::{Change, DeskError};
use crate::approval::{Approval, ApprovalId};
use crate::store::{StoreError, sqlite};

/// What an earlier request with the same id made, as it is now.
pub(super) async fn claimed(c: &mut SqliteConnection, request: &Request) -> Change<Option<Approval>> {
    match claim(c, request).await.map_err(StoreError::from)? {
        Claim::New(()) => Ok(None),
        Claim::Reused => Err(DeskError::RequestIdReused { request_id: request.scope.request_id }),
        Claim::Seen(subject_id) => {
            let id = subject_id
                .parse()
                .map_err(|error| StoreError::Corrupt(sqlx::Error::Decode(Box::<uuid::Error>::new(error))))?;
            sqlite::load(c, &request.scope.tenant, id).await?.ok_or(DeskError::NotFound { id }).map(Some)
        }
    }
}

/// Keeps the id with what its request made or changed.
pub(super) async fn remember(
    c: &mut SqliteConnection,
    request: &Request,
    id: ApprovalId,
    now: Timestamp,
) -> Change<()> {
    record(c, request, &id.to_string(), now.as_millisecond()).await.map_err(StoreError::from)?;
    Ok(())
}
