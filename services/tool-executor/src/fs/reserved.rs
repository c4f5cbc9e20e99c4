//! The folder `.bulkhead` at the top of a root: lock, work in progress, undo copies.

use std::fs::{File, TryLockError};
use std::io::{self, Write as _};

use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions};
use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use super::FsError;
use super::beneath;
use super::fault::FileError;
use super::path::RESERVED;

/// Only the owner reads undo copies, whatever the mode of the files they were.
const PRIVATE: u32 = 0o700;

/// Names of the two files that are exchanged once, to see whether the file system can.
const PROBES: [&str; 2] = ["probe-a", "probe-b"];

/// The open folder.
#[derive(Debug)]
pub(super) struct Reserved {
    /// Device and inode, by which it is known whatever name leads to it.
    pub(super) identity: (u64, u64),
    /// `tmp`: what is being prepared. Garbage whenever nothing runs.
    pub(super) tmp: Dir,
    /// `undo`: one folder for each execution that got as far as its effect.
    pub(super) undo: Dir,
    _lock: File,
}

impl Reserved {
    /// Makes what is missing, takes the lock, clears `tmp` and tries what changes will need.
    pub(super) fn open(root: &Dir, name: &str) -> Result<Self, FsError> {
        let failed = |source| FsError::Root { name: name.to_owned(), source };
        let held = private_folder(root, RESERVED).map_err(failed)?;
        let lock = lock(&held, name)?;
        hide_from_git(&held).map_err(failed)?;
        let tmp = private_folder(&held, "tmp").map_err(failed)?;
        let undo = private_folder(&held, "undo").map_err(failed)?;
        clear(&tmp).map_err(failed)?;
        probe(&tmp).map_err(|source| FsError::Unsupported { name: name.to_owned(), source })?;
        let stat = rustix::fs::fstat(&held).map_err(|errno| failed(errno.into()))?;
        Ok(Self { identity: (stat.st_dev, stat.st_ino), tmp, undo, _lock: lock })
    }
}

/// The kernel lets go of it when the process dies, however it dies.
fn lock(held: &Dir, name: &str) -> Result<File, FsError> {
    let failed = |source| FsError::Root { name: name.to_owned(), source };
    let options = OpenOptions::new().create(true).truncate(false).write(true).clone();
    let file = held.open_with("lock", &options).map_err(failed)?.into_std();
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FsError::InUse { name: name.to_owned() }),
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

/// Makes the folder where there is none, and opens it. A link in its place is refused.
fn private_folder(dir: &Dir, name: &str) -> io::Result<Dir> {
    let mut builder = DirBuilder::new();
    builder.mode(PRIVATE);
    match dir.create_dir_with(name, &builder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    beneath::folder(dir, name).map_err(|error| match error {
        FileError::Io(source) => source,
        other => io::Error::other(other),
    })
}

/// Removes what a process left that died while preparing.
fn clear(tmp: &Dir) -> io::Result<()> {
    for entry in tmp.entries()? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            tmp.remove_dir_all(entry.file_name())?;
        } else {
            tmp.remove_file(entry.file_name())?;
        }
    }
    Ok(())
}

/// Not every file system can exchange two files in one step, or refuse to replace. Without either no change
/// would be safe, so the service says so when it starts and not when an agent calls.
fn probe(tmp: &Dir) -> io::Result<()> {
    let [a, b] = PROBES;
    tmp.create(a)?;
    tmp.create(b)?;
    renameat_with(tmp, a, tmp, b, RenameFlags::EXCHANGE)?;
    match renameat_with(tmp, a, tmp, b, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
        Ok(()) => return Err(io::ErrorKind::Unsupported.into()),
    }
    tmp.remove_file(a)?;
    tmp.remove_file(b)
}
