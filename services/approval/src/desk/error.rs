//! Why a request about an approval was not carried out.

use bulkhead_canonical_json::CanonicalError;
use bulkhead_outbox::EnqueueError;
use bulkhead_sqlite::WriteError;

use crate::approval::{ApprovalId, Rejection};
use crate::store::StoreError;

/// In every case but [`StoreError::OutcomeUnknown`] nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeskError {
    /// There is none of this name that the caller may know of.
    #[error("there is no approval {id}")]
    NotFound {
        /// As asked for.
        id: ApprovalId,
    },
    /// The id was used for something else.
    #[error("request id {request_id} was used with another payload")]
    RequestIdReused {
        /// Which.
        request_id: uuid::Uuid,
    },
    /// The rules refuse the vote.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many events wait for the audit service.
    #[error("{waiting} events wait for the audit service")]
    OutboxFull {
        /// How many.
        waiting: i64,
    },
    /// The grant could not be signed, so nothing was approved.
    #[error("cannot sign the grant")]
    Unsigned(#[source] CanonicalError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EnqueueError> for DeskError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Full { waiting } => Self::OutboxFull { waiting },
            EnqueueError::Store(error) => Self::Store(error.into()),
        }
    }
}

impl From<WriteError> for DeskError {
    fn from(error: WriteError) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for DeskError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
