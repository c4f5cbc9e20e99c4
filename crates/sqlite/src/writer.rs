//! Group commit: one connection, one task, one fsync for all who waited.

use std::fs::File;
use std::time::Instant;

use futures::future::BoxFuture;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::metrics;
use crate::seat::Seat;

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
    stop: mpsc::Sender<oneshot::Sender<()>>,
}

impl Writer {
    pub(crate) fn start(seat: Seat, lock: File) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_LENGTH);
        let (stop, stops) = mpsc::channel(1);
        metrics::observe(queue.downgrade());
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the last sender; a panic closes the queue, which callers see"
        )]
        tokio::spawn(run(seat, jobs, stops, lock));
        Self { queue, stop }
    }

    /// Takes no more writes, makes those that wait, and returns once the file is closed.
    pub(crate) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.stop.send(reply).await.is_ok() {
            // The writer drops its end of it last.
            drop(closed.await);
        }
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

async fn run(
    mut seat: Seat,
    mut jobs: mpsc::Receiver<Box<dyn Job>>,
    mut stops: mpsc::Receiver<oneshot::Sender<()>>,
    lock: File,
) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut stopped = None;
    loop {
        let taken = tokio::select! {
            taken = jobs.recv_many(&mut group, GROUP_MAX) => taken,
            Some(reply) = stops.recv(), if stopped.is_none() => {
                jobs.close();
                stopped = Some(reply);
                continue;
            }
        };
        if taken == 0 {
            break;
        }
        let started = Instant::now();
        let failed = commit(&mut seat, &mut group).await.err();
        metrics::committed(group.len(), started.elapsed(), failed.is_some());
        if let Some(error) = &failed {
            tracing::error!(%error, writes = group.len(), "a group of writes failed");
            seat.vacate().await;
        }
        for job in group.drain(..) {
            job.answer(failed.as_ref().map(WriteError::again));
        }
    }
    seat.close().await;
    drop(lock);
    drop(stopped);
}

async fn commit(seat: &mut Seat, group: &mut [Box<dyn Job>]) -> Result<(), WriteError> {
    let connection = seat.take().await.map_err(WriteError::NotWritten)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(WriteError::NotWritten)?;
    for job in group.iter_mut() {
        let mut savepoint = transaction.begin().await.map_err(WriteError::NotWritten)?;
        let keep = job.run(&mut savepoint).await;
        let settled = if keep { savepoint.commit().await } else { savepoint.rollback().await };
        settled.map_err(WriteError::NotWritten)?;
    }
    transaction.commit().await.map_err(WriteError::of_commit)
}

/// The commit needed room that there is not (`SQLITE_FULL`).
const FULL: &str = "13";
/// The system refused to write (`SQLITE_IOERR_WRITE`): a quota, a limit on the size of files, a bad disk.
const WRITE_REFUSED: &str = "778";

impl WriteError {
    /// A transaction stands once the last frame of it is in SQLite's log. Where the system refused to write
    /// one, that frame is not there, and no recovery finds the transaction; a sync that failed says nothing.
    fn of_commit(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|error| error.code().map(String::from));
        match code.as_deref() {
            Some(FULL | WRITE_REFUSED) => Self::NotWritten(error),
            _ => Self::OutcomeUnknown(error),
        }
    }

    /// The same failure for another caller of the group.
    fn again(&self) -> Self {
        match self {
            Self::NotWritten(error) => Self::NotWritten(sqlx::Error::Protocol(error.to_string())),
            Self::OutcomeUnknown(error) => Self::OutcomeUnknown(sqlx::Error::Protocol(error.to_string())),
            Self::Closed => Self::Closed,
        }
    }
}
