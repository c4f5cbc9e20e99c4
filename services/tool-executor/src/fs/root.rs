//! One folder that agents may work in, held open.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::sync::Arc;

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions};
use rustix::fs::{Access, AtFlags, accessat};
use rustix::io::Errno;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::FsError;
use super::beneath;
use super::config::RootConfig;
use super::fault::FileError;
use super::path::{RESERVED, RelPath};
use super::preview::Content;

/// Only the owner reads undo copies, whatever the mode of the files they were.
const PRIVATE: u32 = 0o700;

/// A root and its reserved folder. Holding it is holding the lock: a second process on the same root does
/// not start.
#[derive(Debug)]
pub(crate) struct Root {
    /// Its limits.
    pub(crate) config: RootConfig,
    dir: Dir,
    reserved: (u64, u64),
    /// `.bulkhead/tmp`: what is being prepared. Garbage whenever nothing runs.
    pub(crate) tmp: Dir,
    /// `.bulkhead/undo`: one folder for each execution that got as far as its effect.
    pub(crate) undo: Dir,
    changes: Arc<Mutex<()>>,
    _lock: File,
}

impl Root {
    /// Opens the folder, its reserved folder and the lock.
    pub(crate) fn open(config: RootConfig) -> Result<Self, FsError> {
        let failed = |source| FsError::Root { name: config.name.clone(), source };
        let dir = Dir::from_std_file(File::open(&config.path).map_err(failed)?);
        private_folder(&dir, RESERVED).map_err(failed)?;
        let held = held(&dir, RESERVED).map_err(failed)?;
        let lock = lock(&config, &held)?;
        hide_from_git(&held).map_err(failed)?;
        let tmp = private_folder(&held, "tmp").and_then(|()| self::held(&held, "tmp")).map_err(failed)?;
        let undo = private_folder(&held, "undo").and_then(|()| self::held(&held, "undo")).map_err(failed)?;
        let stat = rustix::fs::fstat(&held).map_err(|errno| failed(errno.into()))?;
        clear(&tmp).map_err(failed)?;
        let reserved = (stat.st_dev, stat.st_ino);
        Ok(Self { config, dir, reserved, tmp, undo, changes: Arc::default(), _lock: lock })
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
        let (parents, name) = path.split().ok_or(FileError::NotAFile("the root itself"))?;
        match self.folder(parents).and_then(|folder| beneath::file(&folder, name)) {
            Ok((file, _)) => {
                beneath::content(file, self.config.file_bytes_max, beneath::DIFF_BYTES_MAX).map(Some)
            }
            Err(FileError::Missing) => Ok(None),
            Err(error) => Err(error),
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
        if (stat.st_dev, stat.st_ino) == self.reserved { Err(FileError::Reserved) } else { Ok(folder) }
    }
}

fn lock(config: &RootConfig, held: &Dir) -> Result<File, FsError> {
    let failed = |source| FsError::Root { name: config.name.clone(), source };
    let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
    let file = held.open_with("lock", &options).map_err(failed)?.into_std();
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FsError::InUse { name: config.name.clone() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Undo copies must not end in somebody's repository with the next `git add`.
fn hide_from_git(held: &Dir) -> io::Result<()> {
    let options = OpenOptions::new().create_new(true).write(true).clone();
    match held.open_with(".gitignore", &options) {
        Ok(mut file) => file.write_all(b"*\n"),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn private_folder(dir: &Dir, name: &str) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.mode(PRIVATE);
    match dir.create_dir_with(name, &builder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Opens a folder of our own, which nobody can have replaced by a link.
fn held(dir: &Dir, name: &str) -> io::Result<Dir> {
    beneath::folder(dir, name).map_err(|error| match error {
        FileError::Io(source) => source,
        other => io::Error::other(other),
    })
}

/// Removes what a process left that died while preparing.
fn clear(tmp: &Dir) -> io::Result<()> {
    for entry in tmp.entries()? {
        tmp.remove_dir_all(entry?.file_name())?;
    }
    Ok(())
}
