//! What a call would do, found out without writing.

pub(crate) mod moves;

use uuid::Uuid;

use super::beneath;
use super::change::{Change, Kind};
use super::fault::{FileError, fault, stale};
use super::grow;
use super::path::RelPath;
use super::preview::{self, Content, PREVIEW_BYTES_MAX};
use super::root::Root;
use super::run;
use super::stage;
use crate::tool::{Effect, EffectKind, Planned, Precondition, Reversibility, ToolFault, ToolFaultKind};

/// Plans writing `content` to `path`.
pub(crate) fn write(root: &Root, path: &RelPath, content: &str) -> Result<Planned, ToolFault> {
    let target = root.target(path);
    check_size(root, &target, content)?;
    let after = Content::of(content.as_bytes());
    let current = root.current(path).map_err(|error| error.on(&target))?;
    if current.is_some() {
        root.check_writable(path).map_err(|error| error.on(&target))?;
    }
    let shown =
        preview::complete(&target, current.as_ref(), Some(&after)).ok_or_else(|| unreviewable(&target))?;
    let folders = new_folder(root, path).map_err(|error| error.on(&target))?;
    Ok(planned(root, target, current.as_ref(), Some(&after), folders + &shown))
}

/// Plans adding `content` to the end of `path`.
pub(crate) fn append(root: &Root, path: &RelPath, content: &str) -> Result<Planned, ToolFault> {
    let target = root.target(path);
    check_size(root, &target, content)?;
    let bytes_max = root.config.file_bytes_max;
    let file = root.file(path).map_err(|error| nothing_to_add_to(error, &target))?;
    let grown = grow::read(file, bytes_max, content).map_err(|error| error.on(&target))?;
    if grown.after.bytes > bytes_max {
        return Err(FileError::TooLarge { bytes: grown.after.bytes, max: bytes_max }.on(&target));
    }
    root.check_writable(path).map_err(|error| error.on(&target))?;
    let shown = grow::complete(&target, &grown, content).ok_or_else(|| unreviewable(&target))?;
    let planned = planned(root, target, Some(&grown.before), Some(&grown.after), shown);
    Ok(of_kind(EffectKind::FileAppend, planned))
}

/// Plans deleting `path`. Content that is too large to be shown is told by size and hash.
pub(crate) fn delete(root: &Root, path: &RelPath) -> Result<Planned, ToolFault> {
    let target = root.target(path);
    let current = root.current(path).map_err(|error| error.on(&target))?;
    if current.is_none() {
        return Err(FileError::Missing.on(&target));
    }
    let shown = shown(&target, current.as_ref(), None);
    Ok(planned(root, target, current.as_ref(), None, shown))
}

/// Plans taking back what `done` says was done as `id`.
pub(crate) fn undo(root: &Root, id: Uuid, done: &Change, force: bool) -> Result<Planned, ToolFault> {
    if let Kind::Move { content, to, destination } = &done.kind {
        return moves::back(root, &done.path, content, to, destination, force);
    }
    let target = root.target(&done.path);
    let restored = restored(root, id, done)?;
    let current = root.current(&done.path).map_err(|error| error.on(&target))?;
    if current.as_ref().map(|content| content.sha256.as_str()) != done.after() && !force {
        return Err(stale_undo(&target));
    }
    if current.is_none() && restored.is_none() {
        let message = format!("{target} is gone already: there is nothing to take back.");
        return Err(fault(ToolFaultKind::NotUndoable, message));
    }
    let shown = shown(&target, current.as_ref(), restored.as_ref());
    Ok(planned(root, target, current.as_ref(), restored.as_ref(), shown))
}

/// What the undo would put back; none when the file would go.
fn restored(root: &Root, id: Uuid, done: &Change) -> Result<Option<Content>, ToolFault> {
    let Some(before) = done.before() else { return Ok(None) };
    let read = stage::copy(root, id)
        .and_then(|(file, _)| beneath::content(file, root.config.file_bytes_max, beneath::DIFF_BYTES_MAX))
        .map_err(|error| match error {
            FileError::Missing => run::no_copy(&done.target),
            other => other.on(&done.target),
        })?;
    if read.sha256 == before { Ok(Some(read)) } else { Err(run::no_copy(&done.target)) }
}

fn planned(
    root: &Root,
    target: String,
    before: Option<&Content>,
    after: Option<&Content>,
    preview: String,
) -> Planned {
    let kind = match (before, after) {
        (None, _) => EffectKind::FileCreate,
        (Some(_), Some(_)) => EffectKind::FileOverwrite,
        (Some(_), None) => EffectKind::FileDelete,
    };
    let precondition = match before {
        Some(content) => Precondition::FileSha256 { target: target.clone(), sha256: content.sha256.clone() },
        None => Precondition::FileAbsent { target: target.clone() },
    };
    let lost = before.map_or(0, |content| content.bytes);
    let keeps = lost <= root.config.undo_bytes_max;
    let reversibility = if keeps { Reversibility::Reversible } else { Reversibility::Irreversible };
    let sha256 = |content: &Content| content.sha256.clone();
    let (before_sha256, after_sha256) = (before.map(sha256), after.map(sha256));
    let effect = Effect { kind, target, destination: None, preview, before_sha256, after_sha256 };
    Planned {
        effects: vec![effect],
        preconditions: vec![precondition],
        reversibility,
        sensitivity: Vec::new(),
    }
}

/// The same plan, with a kind of its own.
fn of_kind(kind: EffectKind, planned: Planned) -> Planned {
    let effects = planned.effects.into_iter().map(|effect| Effect { kind, ..effect }).collect();
    Planned { effects, ..planned }
}

fn nothing_to_add_to(error: FileError, target: &str) -> ToolFault {
    let missing = matches!(error, FileError::Missing);
    let mut fault = error.on(target);
    if missing {
        fault.message.push_str(" fs.append adds to a file that is there; fs.write creates one.");
    }
    fault
}

fn shown(target: &str, before: Option<&Content>, after: Option<&Content>) -> String {
    preview::complete(target, before, after).unwrap_or_else(|| preview::summary(before, after))
}

/// A line for the topmost folder that would come into being with the file, and empty where none would.
fn new_folder(root: &Root, path: &RelPath) -> Result<String, FileError> {
    let Some((parents, _)) = path.split() else { return Ok(String::new()) };
    let (_, depth) = root.deepest(parents)?;
    if depth == parents.len() {
        return Ok(String::new());
    }
    Ok(format!("new folder: {}/{}\n", root.config.name, parents.join("/")))
}

fn check_size(root: &Root, target: &str, content: &str) -> Result<(), ToolFault> {
    let max = root.config.write_bytes_max;
    if u64::try_from(content.len()).is_ok_and(|bytes| bytes <= max) {
        return Ok(());
    }
    let message = format!(
        "The content for {target} has {} bytes; at most {max} may be written at once. Split it into several files.",
        content.len()
    );
    Err(fault(ToolFaultKind::TooLarge, message))
}

fn unreviewable(target: &str) -> ToolFault {
    let message = format!(
        "The change of {target} is too large to be reviewed: its diff has more than {PREVIEW_BYTES_MAX} bytes. \
         Split the content into several files, or make smaller changes; a large old file can be deleted first."
    );
    fault(ToolFaultKind::TooLarge, message)
}

fn stale_undo(target: &str) -> ToolFault {
    let mut fault = stale(target, "has changed");
    fault.message = format!(
        "{target} has changed since the call that is to be taken back. Nothing was done. Look at it with fs.read; \
         an undo with force replaces what is there now, after a person has agreed."
    );
    fault
}
