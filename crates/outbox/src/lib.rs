//! Events on their way to the audit log.
//!
//! Promises that an event is stored before what it tells of is known to anybody, that events leave in the order in
//! which they were stored, that each arrives at least once (the log drops duplicates by id), and that nothing is ever
//! dropped: a full outbox refuses the change itself.
//!
//! There are two of them. [`Outbox`] is a table in the store of a service, so that an event is stored in the same
//! transaction as the change it tells of. [`FileOutbox`] is a folder of files, for events that go with no change: it
//! costs a call microseconds, and what it holds survives the end of the process at once and the loss of power a
//! moment later.

mod attributes;
mod delivery;
mod draft;
mod file;
mod metrics;
mod redact;
mod table;

pub use delivery::DeliveryError;
pub use draft::EventDraft;
pub use file::{AdoptError, AppendError, FileOutbox, Left, OpenError, waiting_in};
pub use redact::{redact_text, redact_value};
pub use table::{Outbox, deliver_left};

/// Why an event was not stored, and with it the change it tells of.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// Too many events wait for the audit service. Answer RESOURCE_EXHAUSTED (`OUTBOX_FULL`).
    #[error("{waiting} events wait for the audit service; no more are taken until it answers")]
    Full {
        /// How many wait.
        waiting: i64,
    },
    /// The store failed.
    #[error("cannot store an event")]
    Store(#[from] sqlx::Error),
}

/// The audit service did not confirm an event in time.
#[derive(Debug, thiserror::Error)]
#[error("the audit service did not confirm the event in time")]
pub struct NotAcknowledged;

/// How many events may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub i64);

impl Default for Limit {
    /// At about 1 KiB an event, 10,000 are 10 MiB and an hour of a busy agent.
    fn default() -> Self {
        Self(10_000)
    }
}
