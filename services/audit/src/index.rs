//! The index over the daily files.
//!
//! Never the truth: it is completed from the files at every start, built anew when it does not belong to
//! them, and only says where a line stands. It answers which event ids are recorded and which lines match
//! a filter.

mod filter;
mod row;
mod writer;

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Connection as _, SqliteConnection};

use crate::log::private;

pub use filter::{Filter, Order, Place};
pub(crate) use row::Row;
pub(crate) use writer::IndexWriter;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Concurrent queries; WAL lets them run beside the writer.
const READERS_MAX: u32 = 4;

/// How long a statement waits for a lock that something outside Bulkhead holds; well inside a deadline.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// The reading side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    readers: SqlitePool,
}

impl Index {
    /// Opens the index. One that cannot be used is removed and begun anew, but not where the disk is to blame.
    pub(crate) async fn open(path: &Path) -> Result<(IndexWriter, Self), sqlx::Error> {
        match Self::connect(path).await {
            Ok(opened) => Ok(opened),
            Err(error) if is_without_room(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the index is damaged; building it anew");
                remove(path)?;
                Self::connect(path).await
            }
        }
    }

    async fn connect(path: &Path) -> Result<(IndexWriter, Self), sqlx::Error> {
        // SQLite gives the files beside the index its mode.
        private::open(path)?;
        // Without syncs: what a power failure damages is built anew.
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Off)
            // Not in `/tmp`: in a container with a read-only root there is none.
            .pragma("temp_store", "memory")
            .busy_timeout(BUSY_TIMEOUT);
        let mut connection = SqliteConnection::connect_with(&options).await?;
        // `run` takes any `Acquire`, which hides from the compiler that the future is `Send`.
        MIGRATIONS.run_direct(None, &mut connection, false).await?;
        let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
        if sound != "ok" {
            return Err(sqlx::Error::Protocol(sound));
        }
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS_MAX)
            .connect_with(options.read_only(true))
            .await?;
        Ok((IndexWriter::new(connection), Self { readers }))
    }
}

/// Whether the disk did not take a write, by SQLite's extended codes: FULL, IOERR_WRITE, IOERR_FSYNC,
/// IOERR_TRUNCATE, IOERR_SHMSIZE. The file itself may be sound, and a new one would have no room either.
pub(crate) fn is_without_room(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(&*code, "13" | "778" | "1034" | "1546" | "4874"))
}

fn remove(path: &Path) -> Result<(), sqlx::Error> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(sqlx::Error::Io(error)),
        }
    }
    Ok(())
}

/// SQLite counts in `i64`; no log reaches 2^63 lines or bytes.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
