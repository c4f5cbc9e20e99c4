//! Whether a file that is there is whole, before anything is written to it.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::OpenError;

/// Files up to this size are read as a whole when they are opened. This many bytes take two seconds from memory and
/// some ten from a slow disk, which is what a start may take; a larger file is served unchecked rather than not at
/// all.
const CHECKED_BYTES_MAX: u64 = 1 << 30;

/// Refuses a file with a damaged page. SQLite notices one only when a call needs it, and may spread the damage by what
/// it writes until then.
///
/// The connection may only read, so that the end of it does not bring what lies in the log into the file.
pub(crate) async fn whole(path: &Path, options: &SqliteConnectOptions) -> Result<(), OpenError> {
    let open = |source| OpenError::Open { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(|source| open(source.into()))?.len();
    if bytes == 0 {
        return Ok(());
    }
    if bytes > CHECKED_BYTES_MAX {
        tracing::warn!(path = %path.display(), bytes, "the store is too large to be checked at every start");
        return Ok(());
    }
    let options = options.clone().read_only(true).create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(open)?;
    let found = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&mut connection).await;
    let found: String = found.map_err(open)?;
    connection.close().await.map_err(open)?;
    if found == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), found }) }
}
