//! One stack per data folder. Two would take each other's ports, overwrite each other's configuration, and
//! make tokens that only the other's services know.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use bulkhead_exit::{Exit, Obstacle};

use super::Layout;

/// The right to use a data folder. It ends when this is dropped or the process dies, however it dies; the
/// file stays, since removing it would let two processes hold locks on two files of one name.
#[derive(Debug)]
pub(crate) struct FolderLock {
    #[expect(dead_code, reason = "the lock lives as long as the open file")]
    file: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Somebody else has it.
    #[error("another `bulkhead up` or `bulkhead demo` uses the folder {}; stop it, or choose another --data", .folder.display())]
    Held { folder: PathBuf },
    /// The lock could not be asked for.
    #[error("cannot lock {}", .path.display())]
    Unusable { path: PathBuf, source: io::Error },
}

impl From<LockError> for Obstacle {
    fn from(error: LockError) -> Self {
        let exit = match &error {
            LockError::Held { .. } => Exit::Taken,
            LockError::Unusable { .. } => Exit::Unusable,
        };
        Self::new(exit, error)
    }
}

impl FolderLock {
    /// Takes the folder, which must exist, or says at once why not.
    pub(crate) fn take(layout: &Layout) -> Result<Self, LockError> {
        let path = layout.lock();
        let unusable = |source| LockError::Unusable { path: layout.lock(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held { folder: layout.root().to_owned() }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().to_owned());
        let held = FolderLock::take(&layout).unwrap();
        let refused = FolderLock::take(&layout).unwrap_err();
        assert!(matches!(&refused, LockError::Held { folder } if folder == layout.root()), "{refused}");
        drop(held);
        drop(FolderLock::take(&layout).unwrap());
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("absent"));
        let refused = FolderLock::take(&layout).unwrap_err();
        assert!(refused.to_string().contains("absent/lock"), "{refused}");
    }
}
