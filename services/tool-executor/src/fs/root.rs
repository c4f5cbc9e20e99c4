//! One folder that agents may work in, held open.

use std::fs::File;
use std::io;
use std::sync::Arc;

use cap_std::fs::Dir;
use rustix::fs::{Access, AtFlags, accessat};
use rustix::io::Errno;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::FsError;
use super::beneath;
use super::config::RootConfig;
use super::fault::FileError;
use super::path::RelPath;
use super::preview::Content;
use super::reserved::Reserved;

/// A root and its reserved folder. Holding it is holding the lock: a second process on the same root does
/// not start.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its limits.
    pub(crate) config: RootConfig,
    dir: Dir,
    reserved: Reserved,
    changes: Arc<Mutex<()>>,
}

impl Root {
    /// Opens the folder and its reserved folder.
    pub(crate) fn open(config: RootConfig) -> Result<Self, FsError> {
        let failed = |source| FsError::Root { name: config.name.clone(), source };
        let dir = Dir::from_std_file(File::open(&config.path).map_err(failed)?);
        let reserved = Reserved::open(&dir, &config.name)?;
        Ok(Self { config, dir, reserved, changes: Arc::default() })
    }

    /// Where changes are prepared.
    pub(crate) fn tmp(&self) -> &Dir {
        &self.reserved.tmp
    }

    /// Where executions that got as far as their effect have their folders.
    pub(crate) fn undo(&self) -> &Dir {
        &self.reserved.undo
    }

    /// `root/path`, as effects, people and models name it.
    pub(crate) fn target(&self, path: &RelPath) -> String {
        match path.split() {
            None => self.config.name.clone(),
            Some(_) => format!("{}/{path}", self.config.name),
        }
    }

    /// Waits until no other change of this root runs. Without it two exchanges on one file could each put
    /// the other's content back.
    pub(crate) async fn exclusive(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changes).lock_owned().await
    }

    /// Opens the folder at `components`.
    pub(crate) fn folder(&self, components: &[String]) -> Result<Dir, FileError> {
        match self.deepest(components)? {
            (folder, depth) if depth == components.len() => Ok(folder),
            _ => Err(FileError::Missing),
        }
    }

    /// Opens the deepest folder there is on the way down `components`, and says how many of them it took.
    pub(crate) fn deepest(&self, components: &[String]) -> Result<(Dir, usize), FileError> {
        let mut folder = self.dir.try_clone()?;
        for (depth, name) in components.iter().enumerate() {
            folder = match beneath::folder(&folder, name) {
                Ok(next) => self.unreserved(next)?,
                Err(FileError::Missing) => return Ok((folder, depth)),
                Err(error) => return Err(error),
            };
        }
        Ok((folder, components.len()))
    }

    /// The content of the regular file at `path`; none: nothing stands there.
    pub(crate) fn current(&self, path: &RelPath) -> Result<Option<Content>, FileError> {
        match self.file(path) {
            Ok(file) => beneath::content(file, self.config.file_bytes_max, beneath::DIFF_BYTES_MAX).map(Some),
            Err(FileError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Opens the regular file at `path` for reading.
    pub(crate) fn file(&self, path: &RelPath) -> Result<File, FileError> {
        let (parents, name) = path.split().ok_or(FileError::NotAFile("the root itself"))?;
        Ok(beneath::file(&self.folder(parents)?, name)?.0)
    }

    /// Whether anything, of whatever kind, stands at `path`.
    pub(crate) fn stands(&self, path: &RelPath) -> Result<bool, FileError> {
        let (parents, name) = path.split().ok_or(FileError::NotAFile("the root itself"))?;
        match self.deepest(parents)? {
            (folder, depth) if depth == parents.len() => beneath::exists(&folder, name),
            _ => Ok(false),
        }
    }

    /// Refuses a file that this process could not write to in place. Replacing it would be possible, and
    /// would go round the mode that its owner gave it.
    pub(crate) fn check_writable(&self, path: &RelPath) -> Result<(), FileError> {
        let (parents, name) = path.split().ok_or(FileError::NotAFile("the root itself"))?;
        let folder = self.folder(parents)?;
        match accessat(&folder, name, Access::WRITE_OK, AtFlags::empty()) {
            Err(Errno::ACCESS) => Err(FileError::Io(io::ErrorKind::PermissionDenied.into())),
            other => Ok(other?),
        }
    }

    /// Refuses the reserved folder by what it is, whatever name led there.
    fn unreserved(&self, folder: Dir) -> Result<Dir, FileError> {
        let stat = rustix::fs::fstat(&folder)?;
        if (stat.st_dev, stat.st_ino) == self.reserved.identity {
            Err(FileError::Reserved)
        } else {
            Ok(folder)
        }
    }
}
