//! Whether a change happened, decided from what is on the disk; then finished, or cleared away.
//!
//! The same decision ends an apply and a reconciliation after a crash. What it finds in `undo/<id>`:
//!
//! | change | found | verdict |
//! |---|---|---|
//! | any | no folder | not done: it never got as far as the effect |
//! | any | `old` or `done` | done |
//! | create | the file under `new/` | not done |
//! | create | no file under `new/` | done: only the rename takes it away |
//! | overwrite | `new` has the recorded inode and the new content | not done, or put back |
//! | overwrite | `new` has the planned old content | done; becomes `old` |
//! | overwrite | `new` is anything else, and the target is our file | somebody changed it first: exchanged back, not done |
//! | overwrite | anything else | unclear, copies kept |
//! | append | | as an overwrite |
//! | move | | see [`super::carry`] |
//! | delete | no `taken` | not done |
//! | delete | `taken` has the planned content | done; becomes `old` |
//! | delete | `taken` is anything else, and its place is free | moved back, not done |
//! | delete | `taken` is anything else, and its place is taken | unclear, copies kept |

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
use super::stage::{self, DONE, NEW, OLD, TAKEN};

/// Whether it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did.
    Done,
    /// It did not, or was put back. Nothing is left of it.
    NotDone,
    /// The disk tells no clear story. The execution's folder is kept.
    Unclear,
}

/// What lies at a name in the execution's folder, or at the target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Empty,
    File { sha256: String, inode: u64 },
    Other,
}

/// Decides, and finishes or clears away.
pub(crate) fn settle(root: &Root, id: Uuid, change: &Change) -> Result<Verdict, FileError> {
    let Some(stage) = stage::open(root, id)? else { return Ok(Verdict::NotDone) };
    let verdict = match &change.kind {
        Kind::Create { .. } => created(&stage, &change.path)?,
        Kind::Move { content, to, .. } => carry::settle(root, &stage, &change.path, content, to)?,
        _ if beneath::exists(&stage, OLD)? || beneath::exists(&stage, DONE)? => Verdict::Done,
        Kind::Overwrite { before, after } | Kind::Append { before, after } => {
            exchanged(root, &stage, &change.path, before, after)?
        }
        Kind::Delete { before } => taken(root, &stage, &change.path, before)?,
    };
    match verdict {
        Verdict::Done if !change.keep => forget(&stage)?,
        Verdict::NotDone => stage::discard(root, id)?,
        Verdict::Done | Verdict::Unclear => {}
    }
    Ok(verdict)
}

fn created(stage: &Dir, path: &RelPath) -> Result<Verdict, FileError> {
    if waits(stage, path)? {
        return Ok(Verdict::NotDone);
    }
    forget_folders(stage)?;
    Ok(Verdict::Done)
}

/// Removes the folders that were prepared and not needed.
pub(super) fn forget_folders(stage: &Dir) -> Result<(), FileError> {
    if beneath::exists(stage, NEW)? {
        stage.remove_dir_all(NEW)?;
        fsync(stage)?;
    }
    Ok(())
}

/// Whether the file still lies under `new/`.
pub(super) fn waits(stage: &Dir, path: &RelPath) -> Result<bool, FileError> {
    let Some((parents, name)) = path.split() else { return Ok(false) };
    let new = beneath::folder(stage, NEW);
    let folder = parents.iter().fold(new, |folder, name| beneath::folder(&folder?, name));
    match folder {
        Ok(folder) => beneath::exists(&folder, name),
        Err(FileError::Missing) => Ok(false),
        Err(error) => Err(error),
    }
}

fn exchanged(
    root: &Root,
    stage: &Dir,
    path: &RelPath,
    before: &str,
    after: &str,
) -> Result<Verdict, FileError> {
    let Some(ours) = stage::inode(stage)? else { return Ok(Verdict::Unclear) };
    let ours = Slot::File { sha256: after.to_owned(), inode: ours };
    match slot(root, stage, NEW)? {
        found if found == ours => Ok(Verdict::NotDone),
        Slot::File { sha256, inode } if sha256 == before && !has_inode(&ours, inode) => {
            keep(stage, NEW)?;
            Ok(Verdict::Done)
        }
        Slot::Empty => Ok(Verdict::Unclear),
        Slot::File { inode, .. } if has_inode(&ours, inode) => Ok(Verdict::Unclear),
        Slot::File { .. } | Slot::Other => exchange_back(root, stage, path, &ours),
    }
}

fn has_inode(slot: &Slot, wanted: u64) -> bool {
    matches!(slot, Slot::File { inode, .. } if *inode == wanted)
}

/// Puts back what came out, if the target is still the file that went in. What comes back is looked at
/// again: a change in between would otherwise be thrown away as if it were ours.
fn exchange_back(root: &Root, stage: &Dir, path: &RelPath, ours: &Slot) -> Result<Verdict, FileError> {
    let Some((parents, name)) = path.split() else { return Ok(Verdict::Unclear) };
    let folder = match root.folder(parents) {
        Err(FileError::Missing) => return Ok(Verdict::Unclear),
        other => other?,
    };
    if slot(root, &folder, name)? != *ours {
        return Ok(Verdict::Unclear);
    }
    match renameat_with(stage, NEW, &folder, name, RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => return Ok(Verdict::Unclear),
        other => other?,
    }
    fsync(&folder)?;
    fsync(stage)?;
    Ok(if slot(root, stage, NEW)? == *ours { Verdict::NotDone } else { Verdict::Unclear })
}

fn taken(root: &Root, stage: &Dir, path: &RelPath, before: &str) -> Result<Verdict, FileError> {
    match slot(root, stage, TAKEN)? {
        Slot::Empty => Ok(Verdict::NotDone),
        Slot::File { sha256, .. } if sha256 == before => {
            keep(stage, TAKEN)?;
            Ok(Verdict::Done)
        }
        Slot::File { .. } | Slot::Other => give_back(root, stage, path),
    }
}

/// Puts what was taken back to where it came from, if nothing is there.
pub(super) fn give_back(root: &Root, stage: &Dir, path: &RelPath) -> Result<Verdict, FileError> {
    let Some((parents, name)) = path.split() else { return Ok(Verdict::Unclear) };
    let folder = match root.folder(parents) {
        Err(FileError::Missing) => return Ok(Verdict::Unclear),
        other => other?,
    };
    match renameat_with(stage, TAKEN, &folder, name, RenameFlags::NOREPLACE) {
        Err(Errno::EXIST | Errno::NOENT) => return Ok(Verdict::Unclear),
        other => other?,
    }
    fsync(&folder)?;
    fsync(stage)?;
    Ok(Verdict::NotDone)
}

/// Makes what was displaced the undo copy, on disk with all that was written to it.
fn keep(stage: &Dir, name: &str) -> Result<(), FileError> {
    beneath::file(stage, name)?.0.sync_all()?;
    renameat_with(stage, name, stage, OLD, RenameFlags::NOREPLACE)?;
    Ok(fsync(stage)?)
}

/// Drops a copy that is too large to keep; a mark stays, or the disk could not tell that it is done.
fn forget(stage: &Dir) -> Result<(), FileError> {
    stage.create(DONE)?;
    fsync(stage)?;
    if beneath::exists(stage, OLD)? {
        stage.remove_file(OLD)?;
    }
    Ok(fsync(stage)?)
}

pub(super) fn slot(root: &Root, dir: &Dir, name: &str) -> Result<Slot, FileError> {
    let (file, stat) = match beneath::file(dir, name) {
        Ok(opened) => opened,
        Err(FileError::Missing) => return Ok(Slot::Empty),
        Err(FileError::Link | FileError::NotAFile(_)) => return Ok(Slot::Other),
        Err(error) => return Err(error),
    };
    match beneath::digest(file, root.config.file_bytes_max) {
        Ok(content) => Ok(Slot::File { sha256: content.sha256, inode: stat.st_ino }),
        Err(FileError::TooLarge { .. }) => Ok(Slot::Other),
        Err(error) => Err(error),
    }
}
