//! A move: out of its place into the execution's folder, looked at there, and on to its new place.
//!
//! A rename from name to name would leave no trace, and whoever moved another file to either name afterwards
//! would have hidden whether it happened. So the file passes through the folder that only this execution
//! has. Each half is one rename that replaces nothing; in between the file has neither name, and no moment
//! gives it both. Where a process dies:
//!
//! | after | found | at the next start |
//! |---|---|---|
//! | nothing, or the preparation | nothing in hand, no mark | not done |
//! | the file was taken | `taken` | goes back: not done |
//! | what was taken was found to be what was planned | `taken`, `checked` | goes back: not done |
//! | it was laid under `new/`, with the folders it will need | the file under `new/`, `checked` | goes back: not done |
//! | it went to its new place | nothing in hand, `checked` | done, whatever stands at either name by then |
//! | any of the first three, and its old place is taken by now | | goes on if it may: done |
//! | the same, and there is no way on either | | unclear, the file is kept here |
//!
//! Going back withdraws the file from `new/` and takes the mark away before it leaves, so that dying on the
//! way back tells no other story.

use bulkhead_failpoint::die;
use cap_std::fs::Dir;
use rustix::fs::{RenameFlags, fsync, renameat_with};

use super::act::{self, Halt};
use super::beneath;
use super::fault::FileError;
use super::path::RelPath;
use super::root::Root;
use super::settle::{self, Slot, Verdict};
use super::stage::{self, CHECKED, TAKEN};

/// Brings what was taken to `to`, if it is what was planned.
pub(super) fn deliver(root: &Root, stage: &Dir, content: &str, to: &RelPath) -> Result<(), Halt> {
    if !settle::waits(stage, to)? {
        match settle::slot(root, stage, TAKEN)? {
            Slot::File { sha256, .. } if sha256 == content => {}
            Slot::File { .. } | Slot::Other | Slot::Empty => return Err(Halt::Stale("has changed")),
        }
        stage::record_checked(stage)?;
        die("fs.checked");
        lay(stage, to)?;
        die("fs.laid");
    }
    act::create(root, stage, to).map_err(|halt| match halt {
        Halt::Stale(what) => Halt::Elsewhere(what),
        Halt::Elsewhere(_) | Halt::File(_) => halt,
    })
}

/// Whether it happened; what is in hand goes back, or on where there is no way back.
pub(super) fn settle(
    root: &Root,
    stage: &Dir,
    from: &RelPath,
    content: &str,
    to: &RelPath,
) -> Result<Verdict, FileError> {
    if settle::waits(stage, to)? {
        withdraw(stage, to)?;
        die("fs.withdrawn");
    } else if !beneath::exists(stage, TAKEN)? {
        return settled(stage);
    }
    forget_check(stage)?;
    die("fs.unchecked");
    if settle::give_back(root, stage, from)? == Verdict::NotDone {
        die("fs.given_back");
        return Ok(Verdict::NotDone);
    }
    match deliver(root, stage, content, to) {
        Ok(()) => settled(stage),
        Err(Halt::Stale(_) | Halt::Elsewhere(_)) => Ok(Verdict::Unclear),
        Err(Halt::File(error)) => Err(error),
    }
}

/// With nothing in hand.
fn settled(stage: &Dir) -> Result<Verdict, FileError> {
    if !beneath::exists(stage, CHECKED)? {
        return Ok(Verdict::NotDone);
    }
    settle::forget_folders(stage)?;
    Ok(Verdict::Done)
}

/// From `taken` to its name under `new/`.
pub(super) fn lay(stage: &Dir, to: &RelPath) -> Result<(), FileError> {
    let (parents, name) = to.split().ok_or(FileError::Missing)?;
    let folder = act::prepared(stage, parents)?;
    renameat_with(stage, TAKEN, &folder, name, RenameFlags::NOREPLACE)?;
    fsync(&folder)?;
    Ok(fsync(stage)?)
}

pub(super) fn withdraw(stage: &Dir, to: &RelPath) -> Result<(), FileError> {
    let (parents, name) = to.split().ok_or(FileError::Missing)?;
    let folder = act::prepared(stage, parents)?;
    renameat_with(&folder, name, stage, TAKEN, RenameFlags::NOREPLACE)?;
    fsync(stage)?;
    Ok(fsync(&folder)?)
}

pub(super) fn forget_check(stage: &Dir) -> Result<(), FileError> {
    if beneath::exists(stage, CHECKED)? {
        stage.remove_file(CHECKED)?;
        fsync(stage)?;
    }
    Ok(())
}
