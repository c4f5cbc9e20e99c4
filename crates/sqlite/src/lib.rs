//! One SQLite file with one writer that commits in groups.
//!
//! Promises that a write which was answered `Ok` is on disk (`synchronous=FULL`), that callers who arrive
//! together share one commit, that one caller's failure never touches another's write (each has a
//! savepoint), and that a second process on the same file is refused.

mod check;
mod idempotency;
mod lock;
mod metrics;
mod obstacle;
mod seat;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, SqliteConnection};

use seat::Seat;

pub use idempotency::{claim, record, sweep};
pub use obstacle::exit_of;
pub use writer::{WriteError, Writer};

/// Concurrent readers; WAL lets them run beside the writer.
const READERS_MAX: u32 = 4;

/// How long a statement waits for a lock that something outside Bulkhead holds. Short, so that a call fails
/// with a clear error well inside its deadline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the end of a store waits for its readers, which have nobody to answer by then.
const READERS_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or the lock file cannot be opened.
    #[error("cannot prepare the folder of {path}")]
    Folder {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Another process has it open.
    #[error(
        "{path} is in use by another instance; one SQLite store has one owner (use PostgreSQL for replicas)"
    )]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// SQLite could not open it.
    #[error("cannot open {path}; it must be a writable SQLite database")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// A part of it is not what SQLite wrote.
    #[error("{path} is damaged ({found}); nothing was written to it. Restore it from a backup")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// What SQLite says of the first damage.
        found: String,
    },
    /// Its schema could not be brought up to date.
    #[error("cannot migrate {path}; it may belong to a newer version")]
    Migrate {
        /// The database file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

/// An open store: one writer, some readers, and the lock that keeps others out.
#[derive(Debug, Clone)]
pub struct Store {
    writer: Writer,
    readers: SqlitePool,
}

impl Store {
    /// Opens or creates the file and brings its schema up to date. The lock is held until every clone of the
    /// store is gone.
    ///
    /// # Errors
    /// [`OpenError`], before anything was changed unless a migration was cut short.
    pub async fn open(path: &Path, migrations: &Migrator) -> Result<Self, OpenError> {
        let lock = lock::acquire(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // What a savepoint takes back, and what a sort needs, would otherwise go to a file in `/tmp`, which a
            // container with a read-only root does not have.
            .pragma("temp_store", "memory")
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let open = |source| OpenError::Open { path: path.to_owned(), source };
        check::whole(path, &options).await?;
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(open)?;
        // `run` is generic over how a connection is had, and its future is not `Send`.
        migrations
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|source| OpenError::Migrate { path: path.to_owned(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.clone().read_only(true).create_if_missing(false))
            .await
            .map_err(open)?;
        Ok(Self { writer: Writer::start(Seat::new(options, connection), lock), readers })
    }

    /// Ends it: nothing is read or written any more, and what was written stands in the one file, without a
    /// log beside it, so that a copy of that file is complete.
    pub async fn close(&self) {
        // SQLite removes its log with the last connection, if that one may write.
        if tokio::time::timeout(READERS_TIMEOUT, self.readers.close()).await.is_err() {
            tracing::warn!("a reader of the store did not end; SQLite's log stays beside the file");
        }
        self.writer.close().await;
    }

    /// For writes; see [`Writer::write`].
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// For reads. They see every write that was answered.
    #[must_use]
    pub fn readers(&self) -> &SqlitePool {
        &self.readers
    }
}
