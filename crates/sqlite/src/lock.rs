//! One owner per database file.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::OpenError;

/// Takes the advisory lock beside the database. The kernel lets go of it when the process dies, however it
/// dies.
pub(crate) fn acquire(database: &Path) -> Result<File, OpenError> {
    let folder = |source| OpenError::Folder { path: database.to_owned(), source };
    if let Some(parent) = database.parent() {
        std::fs::create_dir_all(parent).map_err(folder)?;
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(database.with_extension("lock"))
        .map_err(folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}
