//! The step in which the world changes: a rename that either exchanges or refuses to replace. A move is two
//! of them, in [`super::carry`].

use bulkhead_failpoint::die;
use cap_std::fs::Dir;
use rustix::fs::{RenameFlags, fsync, renameat_with};
use rustix::io::Errno;
use uuid::Uuid;

use super::beneath;
use super::carry;
use super::change::{Change, Kind};
use super::fault::FileError;
use super::path::RelPath;
use super::root::Root;
use super::stage::{self, NEW, TAKEN};

/// Why the step was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// The world is not as planned; what it is.
    #[error("the target {0}")]
    Stale(&'static str),
    /// The place where a move goes is not as planned; what it is.
    #[error("the destination {0}")]
    Elsewhere(&'static str),
    /// It could not be taken, or not be made durable.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<Errno> for Halt {
    fn from(errno: Errno) -> Self {
        Self::File(errno.into())
    }
}

/// Takes the step for a published execution. Whether it was right is for [`super::settle`] to find out.
pub(crate) fn act(root: &Root, id: Uuid, change: &Change) -> Result<(), Halt> {
    let stage = stage::open(root, id)?.ok_or(FileError::Missing)?;
    match &change.kind {
        Kind::Create { .. } => create(root, &stage, &change.path),
        Kind::Overwrite { .. } | Kind::Append { .. } => exchange(root, &stage, &change.path),
        Kind::Move { content, to, .. } => {
            take(root, &stage, &change.path)?;
            carry::deliver(root, &stage, content, to)
        }
        Kind::Delete { .. } => take(root, &stage, &change.path),
    }
}

/// Moves the topmost part that is missing, be it a folder with the file in it or the file itself. Each try
/// that meets a folder which somebody made meanwhile goes one level deeper.
pub(super) fn create(root: &Root, stage: &Dir, path: &RelPath) -> Result<(), Halt> {
    let (parents, name) = path.split().ok_or(FileError::Missing)?;
    for _ in 0..=parents.len() {
        let (folder, depth) = root.deepest(parents)?;
        stage::record_folders(stage, depth)?;
        let from = prepared(stage, parents.get(..depth).unwrap_or(parents))?;
        let item = parents.get(depth).map_or(name, String::as_str);
        match renameat_with(&from, item, &folder, item, RenameFlags::NOREPLACE) {
            Ok(()) => {
                die("fs.delivered");
                fsync(&folder)?;
                return Ok(fsync(&from)?);
            }
            Err(Errno::EXIST) if depth < parents.len() => {}
            Err(Errno::EXIST) => return Err(Halt::Stale("has come into being")),
            Err(Errno::NOENT) => return Err(Halt::Stale("has lost the folder it belongs in")),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Halt::Stale("stands in folders that keep changing"))
}

/// The folder below `new/` that stands for `parents`.
pub(super) fn prepared(stage: &Dir, parents: &[String]) -> Result<Dir, FileError> {
    parents.iter().try_fold(beneath::folder(stage, NEW)?, |folder, name| beneath::folder(&folder, name))
}

fn exchange(root: &Root, stage: &Dir, path: &RelPath) -> Result<(), Halt> {
    let (folder, name) = parent(root, path)?;
    renameat_with(stage, NEW, &folder, name, RenameFlags::EXCHANGE).map_err(gone)?;
    die("fs.exchanged");
    fsync(&folder)?;
    Ok(fsync(stage)?)
}

/// Moves the file into the execution's folder.
pub(super) fn take(root: &Root, stage: &Dir, path: &RelPath) -> Result<(), Halt> {
    let (folder, name) = parent(root, path)?;
    renameat_with(&folder, name, stage, TAKEN, RenameFlags::NOREPLACE).map_err(gone)?;
    die("fs.taken");
    fsync(stage)?;
    Ok(fsync(&folder)?)
}

fn parent<'p>(root: &Root, path: &'p RelPath) -> Result<(Dir, &'p str), Halt> {
    let (parents, name) = path.split().ok_or(FileError::Missing)?;
    match root.folder(parents) {
        Ok(folder) => Ok((folder, name)),
        Err(FileError::Missing) => Err(Halt::Stale("has gone")),
        Err(error) => Err(error.into()),
    }
}

fn gone(errno: Errno) -> Halt {
    if errno == Errno::NOENT { Halt::Stale("has gone") } else { errno.into() }
}
