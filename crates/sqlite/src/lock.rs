//! One owner per database file.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::OpenError;

/// Takes the advisory lock beside the database. The kernel lets go of it when the process dies, however it
/// dies.
pub(crate) fn acquire(database: &Path) -> Result<File, OpenError> {
    let folder = |source| OpenError::Folder { path: database.to_owned(), source };
    if let Some(parent) = database.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(folder)?;
    }
    let file = private(&database.with_extension("lock")).map_err(folder)?;
    match file.try_lock() {
        // SQLite gives its own files beside the database the mode of the database.
        Ok(()) => private(database).map(|_database| file).map_err(folder),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(folder(source)),
    }
}

/// Opens or makes a file that only its owner reads: stores hold what tools returned.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}
