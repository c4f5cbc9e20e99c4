//! The log: daily files whose lines are the leaves of the tree.
//!
//! Promises that an append which was answered `Ok` is on disk, that a line once on disk is never changed,
//! that events stand in the order in which they were taken, each event id once, and that a checkpoint
//! signs only what is on disk. One task owns the files; this is the handle to it.

mod appender;
mod files;
mod leaf_hashes;
pub(crate) mod lines;
mod open;
pub(crate) mod private;
mod recover;
mod signer;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::event::LineError;
use crate::query::QueryError;

pub use appender::Clock;
pub(crate) use files::check_regular;
pub(crate) use leaf_hashes::Reader as LeafHashReader;
pub use lines::ReadError;
pub use open::{OpenError, Settings};
pub use recover::RecoverError;
pub use signer::{SignError, SignedCheckpoint};
pub use stage::Batch;

/// Where the parts of a log lie under its folder.
#[derive(Debug, Clone)]
pub struct Layout(PathBuf);

impl Layout {
    /// The layout under `folder`.
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The daily files: the truth.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The newest signed checkpoint.
    #[must_use]
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint")
    }

    /// The hash of every line, 32 bytes each: not trusted, it only helps the verifier to name a line.
    #[must_use]
    pub fn leaf_hashes(&self) -> PathBuf {
        self.0.join("leaf-hashes")
    }

    /// The index over the files; rebuilt when it is missing.
    #[must_use]
    pub fn index(&self) -> PathBuf {
        self.0.join("index.sqlite")
    }

    fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// Why events were not acknowledged. Sending them again is safe: ids that did reach the log are dropped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk refused the write and the file was cut back to where it was.
    #[error("the log could not be written; nothing was recorded")]
    NotWritten(#[source] Arc<std::io::Error>),
    /// An earlier write left the file in a state that only a restart can read.
    #[error("the log takes no more events before a restart: what is on disk is not known")]
    Broken,
    /// An event id stands for another event: there, or earlier in the batch. Nothing of the batch is taken.
    #[error("event {event_id} was sent before and said something else")]
    Reused {
        /// Which.
        event_id: Uuid,
    },
    /// Whether an event repeats a recorded one cannot be told.
    #[error("a recorded event could not be read back")]
    ReadBack(#[source] Arc<QueryError>),
    /// The index does not follow, and without it duplicates would not be seen.
    #[error("the index of the log could not be read or written")]
    Index(#[source] Arc<sqlx::Error>),
    /// An event has no line. Ruled out by the checks before.
    #[error("an event could not be written as a line")]
    Line(#[source] Arc<LineError>),
    /// The service is stopping.
    #[error("the log is closed")]
    Closed,
}

/// What an append came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Leaves in the log, counting these.
    pub tree_size: u64,
    /// How many of the events were already there.
    pub duplicates: u32,
}

/// The handle to an open log. Cheap to clone; the log closes when the last handle is gone.
#[derive(Debug, Clone)]
pub struct Log {
    appends: mpsc::Sender<appender::Append>,
    checkpoints: mpsc::Sender<signer::Ask>,
}

impl Log {
    /// Appends a batch and waits until it is on disk.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, batch: Batch) -> Result<Receipt, AppendError> {
        let (reply, answer) = oneshot::channel();
        let append = appender::Append { batch, reply };
        self.appends.send(append).await.map_err(|_closed| AppendError::Closed)?;
        answer.await.map_err(|_closed| AppendError::Closed)?
    }

    /// A checkpoint that covers every append that was answered before.
    ///
    /// # Errors
    /// [`SignError`].
    pub async fn checkpoint(&self) -> Result<SignedCheckpoint, SignError> {
        let (reply, answer) = oneshot::channel();
        self.checkpoints.send(reply).await.map_err(|_closed| SignError::Closed)?;
        answer.await.map_err(|_closed| SignError::Closed)?
    }
}
