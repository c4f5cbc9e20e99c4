//! A planned change, carried out: prepare, publish, act, settle. Blocking; the caller holds the root.

use bulkhead_failpoint::die;
use uuid::Uuid;

use super::act::{Halt, act};
use super::beneath;
use super::change::{Change, Kind, Source};
use super::fault::{FileError, fault, stale};
use super::path::RESERVED;
use super::root::Root;
use super::settle::{Verdict, settle};
use super::stage;
use crate::tool::{ToolFault, ToolFaultKind};

/// How it ended, before the words for the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It happened.
    Done,
    /// It certainly did not.
    Failed(ToolFault),
    /// It did not, since the world is not as planned.
    Stale(ToolFault),
    /// Nobody knows.
    Unknown(ToolFault),
}

/// Carries out `change` as `id`. Called again for an `id` that got as far as its effect, it only finds out.
pub(crate) fn apply(root: &Root, id: Uuid, change: &Change, source: Source<'_>) -> Ending {
    match stage::open(root, id) {
        Ok(None) => {
            ready(root, id, change, source).map_or_else(|ending| ending, |()| conclude(root, id, change))
        }
        Ok(Some(_)) => reconcile(root, id, change),
        Err(error) => Ending::Failed(error.on(&change.target)),
    }
}

/// Carries out `change`, which takes `origin` back, as `id`.
pub(crate) fn undo(root: &Root, id: Uuid, origin: Uuid, change: &Change) -> Ending {
    let ending = apply(root, id, change, Source::CopyOf(origin));
    retire(root, origin, change, &ending);
    ending
}

/// After a crash: whether `change` happened as `id`.
pub(crate) fn reconcile(root: &Root, id: Uuid, change: &Change) -> Ending {
    let verdict = stage::clear(root, id).and_then(|()| settle(root, id, change));
    match verdict {
        Ok(Verdict::Done) => Ending::Done,
        Ok(Verdict::NotDone) => Ending::Failed(interrupted(&change.target)),
        Ok(Verdict::Unclear) => Ending::Unknown(unclear(id, change)),
        Err(error) => unsettled(id, change, &error),
    }
}

/// After a crash during an undo.
pub(crate) fn reconcile_undo(root: &Root, id: Uuid, origin: Uuid, change: &Change) -> Ending {
    let ending = reconcile(root, id, change);
    retire(root, origin, change, &ending);
    ending
}

/// Everything up to the effect. Whatever fails here has changed nothing.
fn ready(root: &Root, id: Uuid, change: &Change, source: Source<'_>) -> Result<(), Ending> {
    check_world(root, change)?;
    check_destination(root, change)?;
    check_source(root, change, source)?;
    let moved_on = |error| moved_on(&change.target, error);
    let prepared = stage::prepare(root, id, change, source)
        .map_err(moved_on)
        .and_then(|()| check_prepared(root, id, change))
        .inspect(|()| die("fs.prepared"))
        .and_then(|()| stage::publish(root, id).map_err(moved_on))
        .inspect(|()| die("fs.published"));
    prepared.inspect_err(|_ending| {
        if let Err(left) = stage::discard(root, id) {
            tracing::warn!(%id, error = %left, "what an execution had prepared could not be cleared away");
        }
    })
}

/// Looks before it leaps: the act itself is checked again, but exchanging a file and putting it back is
/// seen by whoever reads it in between.
fn check_world(root: &Root, change: &Change) -> Result<(), Ending> {
    let current = root.current(&change.path).map_err(|error| moved_on(&change.target, error))?;
    let what = match (current.map(|content| content.sha256), change.before()) {
        (None, None) => return Ok(()),
        (Some(found), Some(before)) if found == before => return Ok(()),
        (Some(_), None) => "has come into being",
        (Some(_), Some(_)) => "has changed",
        (None, Some(_)) => "has gone",
    };
    Err(Ending::Stale(stale(&change.target, what)))
}

fn check_destination(root: &Root, change: &Change) -> Result<(), Ending> {
    let Kind::Move { to, destination, .. } = &change.kind else { return Ok(()) };
    match root.stands(to).map_err(|error| moved_on(destination, error))? {
        false => Ok(()),
        true => Err(Ending::Stale(stale(destination, "has come into being"))),
    }
}

fn check_source(root: &Root, change: &Change, source: Source<'_>) -> Result<(), Ending> {
    let after = match &change.kind {
        Kind::Create { after } | Kind::Overwrite { after, .. } => after,
        // The one brings its content along; the other's is known once it has been put together.
        Kind::Move { .. } | Kind::Append { .. } | Kind::Delete { .. } => return Ok(()),
    };
    let found = match source {
        Source::Bytes(bytes) | Source::Addition(bytes) => bulkhead_canonical_json::sha256_hex(bytes),
        Source::CopyOf(origin) => copied(root, origin, &change.target).map_err(Ending::Failed)?,
    };
    if found == *after { Ok(()) } else { Err(Ending::Failed(not_planned(&change.target))) }
}

/// What an append put together is the old content and the addition, read after the file was looked at: if
/// it is not what was planned, either of them is another.
fn check_prepared(root: &Root, id: Uuid, change: &Change) -> Result<(), Ending> {
    let Kind::Append { after, .. } = &change.kind else { return Ok(()) };
    let found = stage::prepared_sha256(root, id).map_err(|error| moved_on(&change.target, error))?;
    if found == *after {
        return Ok(());
    }
    check_world(root, change)?;
    Err(Ending::Failed(not_planned(&change.target)))
}

fn not_planned(target: &str) -> ToolFault {
    let message = format!("The content for {target} is not what was planned. Plan the call again.");
    fault(ToolFaultKind::InvalidArguments, message)
}

/// The hash of the undo copy of `origin`.
pub(crate) fn copied(root: &Root, origin: Uuid, target: &str) -> Result<String, ToolFault> {
    let content = stage::copy(root, origin)
        .and_then(|(file, _)| beneath::digest(file, root.config.file_bytes_max))
        .map_err(|error| match error {
            FileError::Missing => no_copy(target),
            other => other.on(target),
        })?;
    Ok(content.sha256)
}

/// The fault when there is no undo copy (any more).
pub(crate) fn no_copy(target: &str) -> ToolFault {
    let why = "Its undo copy was too large to keep, has expired, or was already used";
    let message =
        format!("{target} cannot be taken back. {why}; restore the content with fs.write if you know it.");
    fault(ToolFaultKind::NotUndoable, message)
}

fn conclude(root: &Root, id: Uuid, change: &Change) -> Ending {
    let acted = act(root, id, change);
    let settled = settle(root, id, change);
    die("fs.settled");
    match (acted, settled) {
        (Ok(()), Ok(Verdict::Done)) => Ending::Done,
        (Ok(()), Ok(Verdict::NotDone)) => Ending::Stale(stale(&change.target, "has changed")),
        (Err(Halt::Stale(what)), Ok(Verdict::NotDone)) => Ending::Stale(stale(&change.target, what)),
        (Err(Halt::Elsewhere(what)), Ok(Verdict::NotDone)) => Ending::Stale(stale(change.arrives(), what)),
        // The way was shut, then open, while there was none back: the move went on.
        (Err(Halt::Stale(_) | Halt::Elsewhere(_)), Ok(Verdict::Done)) => Ending::Done,
        (Err(Halt::File(error)), Ok(Verdict::NotDone)) => moved_on(&change.target, error),
        (Err(error @ Halt::File(_)), Ok(Verdict::Done)) => unsettled(id, change, &error),
        (_, Ok(Verdict::Unclear)) => Ending::Unknown(unclear(id, change)),
        (_, Err(error)) => unsettled(id, change, &error),
    }
}

/// What was a file when it was planned and is none any more is a changed world, not a wrong call.
fn moved_on(target: &str, error: FileError) -> Ending {
    match error {
        FileError::Missing => Ending::Stale(stale(target, "has gone")),
        FileError::Link | FileError::NotAFile(_) | FileError::NotAFolder => Ending::Stale(stale(
            target,
            "has become, or lies beneath, something else than a plain file or folder",
        )),
        FileError::TooLarge { .. } => Ending::Stale(stale(target, "has grown too large")),
        FileError::Reserved | FileError::Io(_) => Ending::Failed(error.on(target)),
    }
}

fn interrupted(target: &str) -> ToolFault {
    let message = format!(
        "The change of {target} was interrupted before it took effect. Nothing was done; call again."
    );
    fault(ToolFaultKind::IoError, message)
}

fn unclear(id: Uuid, change: &Change) -> ToolFault {
    let what = format!("Somebody changed {} while it was being changed, more than once.", change.target);
    let copies = format!("What was displaced is kept in {RESERVED}/undo/{id} of the root {}.", change.root);
    let next = "Do not repeat the call: a person has to compare the two.";
    fault(ToolFaultKind::OutcomeUnknown, format!("{what} {copies} {next}"))
}

fn unsettled(id: Uuid, change: &Change, error: &(dyn std::error::Error + 'static)) -> Ending {
    tracing::error!(%id, target = change.target, error, "the outcome of a change could not be found out");
    let what = format!("The system reported an error while {} was being changed.", change.target);
    let copies =
        format!("What was displaced, if anything, is in {RESERVED}/undo/{id} of the root {}.", change.root);
    let next = "Do not repeat the call: look at the file first.";
    Ending::Unknown(fault(ToolFaultKind::OutcomeUnknown, format!("{what} {copies} {next}")))
}

/// Once `origin` has been taken back, its copy is the live file, or of no use. Failing here leaves
/// something to the sweep and takes nothing from the undo.
fn retire(root: &Root, origin: Uuid, change: &Change, ending: &Ending) {
    if *ending != Ending::Done {
        return;
    }
    let folders = match change.kind {
        Kind::Delete { .. } | Kind::Move { .. } => remove_folders(root, origin, change),
        Kind::Create { .. } | Kind::Overwrite { .. } | Kind::Append { .. } => Ok(()),
    };
    if let Err(error) = folders.and_then(|()| stage::discard(root, origin)) {
        tracing::warn!(%origin, %error, "an undone execution could not be cleared away; the sweep will");
    }
}

/// Removes the folders that came with a file that was created or moved to where it goes from now, innermost first, as long as nothing else is in them.
fn remove_folders(root: &Root, origin: Uuid, change: &Change) -> Result<(), FileError> {
    let Some((parents, _)) = change.path.split() else { return Ok(()) };
    let recorded = match stage::open(root, origin)? {
        Some(stage) => stage::folders(&stage)?,
        None => None,
    };
    let kept = recorded.and_then(|depth| usize::try_from(depth).ok()).unwrap_or(parents.len());
    for depth in (kept..parents.len()).rev() {
        let (Some(above), Some(name)) = (parents.get(..depth), parents.get(depth)) else { return Ok(()) };
        match root.folder(above)?.remove_dir(name) {
            Err(error) if error.kind() == std::io::ErrorKind::DirectoryNotEmpty => return Ok(()),
            other => other?,
        }
        rustix::fs::fsync(root.folder(above)?)?;
    }
    Ok(())
}
