//! Group commit: one connection, one task, one fsync for all who waited.

use std::fs::File;
use std::time::Instant;

use futures::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::metrics;

/// Writes that may wait for the writer; beyond it callers wait to enqueue, which is the back-pressure.
const QUEUE_LENGTH: usize = 256;
/// Writes that share one commit at most, so that the first of them does not wait for a crowd.
const GROUP_MAX: usize = 128;

/// Why a write was not made, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It certainly did not happen: the store was locked, full, read-only or broken before the commit.
    #[error("the store could not be written")]
    NotWritten(#[source] sqlx::Error),
    /// The commit itself failed; the write may or may not be on disk.
    #[error("the store failed while committing; the outcome is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The writer has stopped because the service is stopping.
    #[error("the store is closed")]
    Closed,
}

/// The single writer of a store. Cheap to clone; it stops when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    pub(crate) fn start(connection: SqliteConnection, lock: File) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH);
        metrics::observe(queue.downgrade());
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the last sender; a panic closes the queue, which callers see"
        )]
        tokio::spawn(run(connection, jobs, lock));
        Self { queue }
    }

    /// Runs `write` inside a transaction and answers once it is on disk. What `write` did is rolled back
    /// when it returns an error; the writes of others in the same group are not touched. `write` must not
    /// wait for anything but the connection.
    ///
    /// # Errors
    /// What `write` returned, or a [`WriteError`].
    pub async fn write<T, E, F>(&self, write: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<WriteError> + Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = TypedJob { write: Some(write), result: None, reply };
        self.queue.send(Box::new(job)).await.map_err(|_closed| WriteError::Closed)?;
        answer.await.map_err(|_closed| WriteError::Closed)?
    }
}

/// A write with its types hidden.
trait Job: Send {
    /// Runs the write; true: keep it, false: roll it back.
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool>;
    /// Answers the caller; `failed` overrides what the write returned.
    fn answer(self: Box<Self>, failed: Option<WriteError>);
}

struct TypedJob<T, E, F> {
    write: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<T, E>>,
}

impl<T, E, F> Job for TypedJob<T, E, F>
where
    T: Send,
    E: From<WriteError> + Send,
    F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, E>> + Send,
{
    fn run<'c>(&'c mut self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, bool> {
        Box::pin(async move {
            let Some(write) = self.write.take() else { return false };
            let result = write(connection).await;
            let keep = result.is_ok();
            self.result = Some(result);
            keep
        })
    }

    fn answer(self: Box<Self>, failed: Option<WriteError>) {
        let result = match (self.result, failed) {
            (Some(Err(error)), _) => Err(error),
            (_, Some(error)) => Err(error.into()),
            (Some(Ok(value)), None) => Ok(value),
            (None, None) => Err(WriteError::Closed.into()),
        };
        // A caller that went away does not need the answer; its write stands.
        drop(self.reply.send(result));
    }
}

async fn run(mut connection: SqliteConnection, mut jobs: mpsc::Receiver<Box<dyn Job>>, lock: File) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    while jobs.recv_many(&mut group, GROUP_MAX).await > 0 {
        let started = Instant::now();
        let failed = commit(&mut connection, &mut group).await.err();
        metrics::committed(group.len(), started.elapsed(), failed.is_some());
        if let Some(error) = &failed {
            tracing::error!(%error, writes = group.len(), "a group of writes failed");
        }
        for job in group.drain(..) {
            job.answer(failed.as_ref().map(WriteError::again));
        }
    }
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the store did not close cleanly; SQLite recovers when it is opened next");
    }
    drop(lock);
}

async fn commit(connection: &mut SqliteConnection, group: &mut [Box<dyn Job>]) -> Result<(), WriteError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(WriteError::NotWritten)?;
    for job in group.iter_mut() {
        let mut savepoint = transaction.begin().await.map_err(WriteError::NotWritten)?;
        let keep = job.run(&mut savepoint).await;
        let settled = if keep { savepoint.commit().await } else { savepoint.rollback().await };
        settled.map_err(WriteError::NotWritten)?;
    }
    transaction.commit().await.map_err(WriteError::OutcomeUnknown)
}

impl WriteError {
    /// The same failure for another caller of the group.
    fn again(&self) -> Self {
        match self {
            Self::NotWritten(error) => Self::NotWritten(sqlx::Error::Protocol(error.to_string())),
            Self::OutcomeUnknown(error) => Self::OutcomeUnknown(sqlx::Error::Protocol(error.to_string())),
            Self::Closed => Self::Closed,
        }
    }
}
