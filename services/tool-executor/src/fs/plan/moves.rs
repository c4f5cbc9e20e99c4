//! Where a file would go, and the way back.

use super::{new_folder, stale_undo};
use crate::fs::beneath;
use crate::fs::fault::{FileError, fault};
use crate::fs::path::RelPath;
use crate::fs::preview::Content;
use crate::fs::root::Root;
use crate::tool::{Effect, EffectKind, Planned, Precondition, Reversibility, ToolFault, ToolFaultKind};

/// Plans moving `from` to `to`, where nothing is.
pub(crate) fn there(root: &Root, from: &RelPath, to: &RelPath) -> Result<Planned, ToolFault> {
    let (target, destination) = (root.target(from), root.target(to));
    let found = looked_at(root, from).map_err(|error| error.on(&target))?;
    if root.stands(to).map_err(|error| error.on(&destination))? {
        let next = "fs.move never replaces: choose a name that is free, or delete what is there first.";
        let message = format!("{destination} exists already. {next}");
        return Err(fault(ToolFaultKind::AlreadyExists, message));
    }
    carried(root, &found, target, to)
}

/// Moves what is at `to` back to `from`. Even with force nothing is replaced there.
pub(super) fn back(
    root: &Root,
    from: &RelPath,
    content: &str,
    to: &RelPath,
    left_at: &str,
    force: bool,
) -> Result<Planned, ToolFault> {
    let found = match looked_at(root, to) {
        Ok(found) => Some(found),
        Err(FileError::Missing) => None,
        Err(error) => return Err(error.on(left_at)),
    };
    let target = root.target(from);
    let occupied = root.stands(from).map_err(|error| error.on(&target))?;
    let same = found.as_ref().is_some_and(|found| found.sha256 == content);
    // What has changed is stale until somebody forces it; then it is known that nothing can be done.
    let kind = if force { ToolFaultKind::NotUndoable } else { ToolFaultKind::Stale };
    match found {
        Some(_) if !force && !same => Err(stale_undo(left_at)),
        None => {
            let message = format!("{left_at} is gone: there is nothing to move back. Nothing was done.");
            Err(fault(kind, message))
        }
        Some(_) if occupied => {
            let next = "Move or delete what is there first: a move replaces nothing, not even with force.";
            let message = format!("{left_at} cannot go back: something stands at {target}. {next}");
            Err(fault(kind, message))
        }
        Some(found) => carried(root, &found, left_at.to_owned(), from),
    }
}

/// The size and hash of the file, and whether it is text as far as that is known.
fn looked_at(root: &Root, path: &RelPath) -> Result<Content, FileError> {
    beneath::digest(root.file(path)?, root.config.file_bytes_max)
}

/// A move loses nothing, whatever the size, so it can be taken back.
fn carried(root: &Root, found: &Content, target: String, to: &RelPath) -> Result<Planned, ToolFault> {
    let destination = root.target(to);
    let folders = new_folder(root, to).map_err(|error| error.on(&destination))?;
    let preview = format!(
        "{folders}from: {target}\nto: {destination}\ncontent stays as it is: {} bytes, sha256 {}\n",
        found.bytes, found.sha256
    );
    let sha256 = found.sha256.clone();
    let effect = Effect {
        kind: EffectKind::FileMove,
        target: target.clone(),
        destination: Some(destination.clone()),
        preview,
        before_sha256: Some(sha256.clone()),
        after_sha256: Some(sha256.clone()),
    };
    Ok(Planned {
        effects: vec![effect],
        preconditions: vec![
            Precondition::FileSha256 { target, sha256 },
            Precondition::FileAbsent { target: destination },
        ],
        reversibility: Reversibility::Reversible,
        sensitivity: Vec::new(),
    })
}
