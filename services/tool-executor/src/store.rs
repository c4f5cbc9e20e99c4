//! The journal: what was asked, what was intended before it was done, and how it ended.
//!
//! Promises that a change which was answered `Ok` is on disk, together with its audit event; that a change
//! is made only to what was read (compare and set on state and revision); that a request id makes one
//! execution; that an approval starts one effect; that an execution is taken back once; that nobody has more waiting for people than the limit; and that an intent
//! is taken only when there is room in the outbox for its outcome as well.

mod change;
mod rows;
mod sqlite;

use bulkhead_outbox::{EnqueueError, Limit};
use bulkhead_sqlite::WriteError;
use jiff::Timestamp;
use uuid::Uuid;

use crate::execution::{Execution, State};

pub(crate) use sqlite::open;
pub use sqlite::{Changes, Journal};

/// Why the journal did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request id was used for something else.
    #[error("the request id was used for another request")]
    RequestReused,
    /// The execution changed since it was read.
    #[error("execution {id} changed meanwhile")]
    Conflict {
        /// Which.
        id: Uuid,
    },
    /// The approval has started an effect already.
    #[error("approval {approval_id} was used already")]
    GrantUsed {
        /// Which.
        approval_id: String,
    },
    /// What was to be taken back is not there to be taken back, or is being taken back right now.
    #[error("execution {id} cannot be taken back any more")]
    OriginalGone {
        /// Which.
        id: Uuid,
    },
    /// The audit log cannot be told, so nothing may happen.
    #[error("{waiting} audit events wait for delivery; no more are taken")]
    OutboxFull {
        /// How many wait.
        waiting: i64,
    },
    /// The principal has as much waiting for people as it may have.
    #[error("{pending} calls of {principal} wait for people; no more are taken")]
    TooManyPending {
        /// Whose.
        principal: String,
        /// How many wait.
        pending: i64,
    },
    /// It certainly was not written, or could not be read.
    #[error("the journal is not available")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The commit failed half-way.
    #[error("the journal failed while committing")]
    OutcomeUnknown(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row does not hold an execution.
    #[error("the journal holds a record that does not decode")]
    Corrupt(#[source] serde_json::Error),
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotWritten(_) | WriteError::Closed => Self::Unavailable(Box::new(error)),
            WriteError::OutcomeUnknown(_) => Self::OutcomeUnknown(Box::new(error)),
        }
    }
}

impl From<EnqueueError> for StoreError {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Full { waiting } => Self::OutboxFull { waiting },
            EnqueueError::Store(source) => Self::Unavailable(Box::new(source)),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// What became of a change.
#[derive(Debug)]
pub enum Committed {
    /// It is on disk.
    Done {
        /// As it is now.
        execution: Box<Execution>,
        /// Where its event stands in the outbox.
        event_place: Option<i64>,
    },
    /// The request was made before and nothing was changed: this is the execution of the first one.
    Replayed(Uuid),
}

/// What a request id means now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// Never seen.
    New,
    /// Its execution.
    Seen(Uuid),
}

/// Which executions to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only this tenant's.
    pub tenant: String,
    /// Only this principal's (`kind:tenant/name`); none: all of the tenant.
    pub principal: Option<String>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this session.
    pub session_id: Option<String>,
}

/// A row of a listing.
#[derive(Debug)]
pub struct Listed {
    /// Its place, for the cursor of the next page.
    pub seq: u64,
    /// The execution.
    pub execution: Execution,
}

/// Some rows of a listing.
#[derive(Debug)]
pub struct ListedPage {
    /// Newest first.
    pub listed: Vec<Listed>,
    /// Whether there are older ones.
    pub more: bool,
}

/// An execution that waits for people, without its plan.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// Which.
    pub id: Uuid,
    /// The approval that was asked for; none: it is not known whether people were asked.
    pub approval_id: Option<String>,
    /// When it was recorded.
    pub create_time: Timestamp,
}

/// How much is kept for others to deal with.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events that may wait for the audit service; the outbox's own limit.
    pub outbox: Limit,
    /// Calls of one principal that may wait for people.
    pub pending_per_principal: i64,
}
