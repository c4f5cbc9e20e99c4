//! Approvals on disk.
//!
//! Promises that what was asked never changes, that an approval is settled once, that a change is made
//! only to the revision it was decided on, that revisions of a tenant rise with every change and are never
//! seen out of order, and that nothing of one tenant is returned to another.

pub(crate) mod sqlite;

mod row;

use bulkhead_sqlite::WriteError;

use crate::approval::{ApprovalId, Outcome};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// It certainly did not happen: the store was locked, full, read-only or broken before the commit.
    #[error("the store of approvals cannot be used")]
    Unavailable(#[source] sqlx::Error),
    /// It may or may not be on disk.
    #[error("whether the store of approvals took the change is not known")]
    OutcomeUnknown(#[source] WriteError),
    /// Somebody else changed the approval in between.
    #[error("approval {id} is no longer at revision {revision}")]
    Conflict {
        /// Which.
        id: ApprovalId,
        /// What the change was decided on.
        revision: u64,
    },
    /// What stands there is not what this version writes.
    #[error("the store of approvals holds something unreadable")]
    Corrupt(#[source] sqlx::Error),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
                Self::Corrupt(error)
            }
            other => Self::Unavailable(other),
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotWritten(error) => Self::Unavailable(error),
            unknown @ (WriteError::OutcomeUnknown(_) | WriteError::Closed) => Self::OutcomeUnknown(unknown),
        }
    }
}

/// Which approvals a list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateFilter {
    /// All of them.
    Any,
    /// Those that wait for votes.
    Pending,
    /// Those that ended in this way.
    Settled(Outcome),
    /// Those that were withdrawn: none yet, since that is not implemented.
    Cancelled,
}

impl StateFilter {
    /// The word for the state as it is shown; none for all of them.
    fn as_str(self) -> Option<&'static str> {
        match self {
            Self::Any => None,
            Self::Pending => Some(PENDING),
            Self::Settled(outcome) => Some(outcome.as_str()),
            Self::Cancelled => Some("cancelled"),
        }
    }

    /// The other word that the column `state` may hold: what is shown as expired may be stored as pending.
    fn stored_as(self) -> Option<&'static str> {
        if self == Self::Settled(Outcome::Expired) { Some(PENDING) } else { self.as_str() }
    }
}

/// The column `state` while nothing is decided.
const PENDING: &str = "pending";
