//! The folder that an execution has below `.bulkhead`: what is needed to act, and what is left to tell
//! afterwards whether it acted.
//!
//! It is prepared in `tmp/<id>`, flushed, and moved to `undo/<id>` as a whole. So a folder in `undo` is
//! always complete, and one in `tmp` is always garbage.

use std::fs::File;
use std::io::{Read, Write as _};

use cap_std::fs::Dir;
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Stat, fchmod, fchown, fsync, linkat, openat, renameat_with,
};
use rustix::fs::{Gid, Uid};
use uuid::Uuid;

use super::beneath;
use super::change::{Change, Kind, Source};
use super::fault::FileError;
use super::path::RelPath;
use super::root::Root;

/// New content on its way to the target; after an exchange, what came out.
pub(crate) const NEW: &str = "new";
/// What a delete took, not yet checked.
pub(crate) const TAKEN: &str = "taken";
/// The undo copy, checked. Its presence means that the change is done.
pub(crate) const OLD: &str = "old";
/// Stands for an undo copy that was too large to keep.
pub(crate) const DONE: &str = "done";
/// The inode of [`NEW`], to tell it from what came out of an exchange.
const INODE: &str = "inode";
/// That what a move took is what was planned. Its presence, and nothing in hand, mean that the move is done.
pub(crate) const CHECKED: &str = "checked";
/// How many parents of a created file were there before it.
const FOLDERS: &str = "folders";

/// Owner and group read and write as the umask allows, like files that anybody else creates.
const CREATED: Mode = Mode::from_bits_truncate(0o666);
/// Set-user-id and the like do not survive a change of content.
const PERMISSIONS: u32 = 0o777;

/// Prepares `tmp/<id>`: everything that can fail for want of space or permission fails here, before the
/// world is touched.
pub(crate) fn prepare(root: &Root, id: Uuid, change: &Change, source: Source<'_>) -> Result<(), FileError> {
    let name = id.to_string();
    root.tmp().create_dir(&name)?;
    let stage = beneath::folder(root.tmp(), &name)?;
    match &change.kind {
        Kind::Create { .. } => prepare_created(root, &stage, change, source)?,
        Kind::Move { to, .. } => sync(&prepare_folders(&stage, to)?)?,
        Kind::Overwrite { .. } | Kind::Append { .. } => prepare_exchange(root, &stage, change, source)?,
        Kind::Delete { .. } => {}
    }
    Ok(fsync(&stage)?)
}

/// Moves `tmp/<id>` to `undo/<id>`.
pub(crate) fn publish(root: &Root, id: Uuid) -> Result<(), FileError> {
    let name = id.to_string();
    renameat_with(root.tmp(), &name, root.undo(), &name, RenameFlags::NOREPLACE)?;
    Ok(fsync(root.undo())?)
}

/// The published folder of an execution.
pub(crate) fn open(root: &Root, id: Uuid) -> Result<Option<Dir>, FileError> {
    match beneath::folder(root.undo(), &id.to_string()) {
        Ok(stage) => Ok(Some(stage)),
        Err(FileError::Missing) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes what was prepared and not published.
pub(crate) fn clear(root: &Root, id: Uuid) -> Result<(), FileError> {
    match root.tmp().remove_dir_all(id.to_string()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => Ok(other?),
    }
}

/// Removes the published folder. It leaves `undo` in one step first, so that a crash while it is being
/// emptied cannot make it tell another story.
pub(crate) fn discard(root: &Root, id: Uuid) -> Result<(), FileError> {
    let name = id.to_string();
    match renameat_with(root.undo(), &name, root.tmp(), &name, RenameFlags::NOREPLACE) {
        Ok(()) => fsync(root.undo())?,
        Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno.into()),
    }
    clear(root, id)
}

/// The inode that [`NEW`] had when it was prepared.
pub(crate) fn inode(stage: &Dir) -> Result<Option<u64>, FileError> {
    number(stage, INODE)
}

/// How many parents of a created file were there before it.
pub(crate) fn folders(stage: &Dir) -> Result<Option<u64>, FileError> {
    number(stage, FOLDERS)
}

/// Records [`folders`] before the attempt that it tells of.
pub(crate) fn record_folders(stage: &Dir, depth: usize) -> Result<(), FileError> {
    record(stage, FOLDERS, &depth.to_string())
}

/// Records that what a move took is what was planned.
pub(crate) fn record_checked(stage: &Dir) -> Result<(), FileError> {
    record(stage, CHECKED, "")
}

/// The hash of the content that was prepared for an exchange and not yet published.
pub(crate) fn prepared_sha256(root: &Root, id: Uuid) -> Result<String, FileError> {
    let stage = beneath::folder(root.tmp(), &id.to_string())?;
    Ok(beneath::digest(beneath::file(&stage, NEW)?.0, u64::MAX)?.sha256)
}

/// The copy to restore, opened from the published folder of `id`.
pub(crate) fn copy(root: &Root, id: Uuid) -> Result<(File, Stat), FileError> {
    let stage = open(root, id)?.ok_or(FileError::Missing)?;
    beneath::file(&stage, OLD)
}

/// `new/a/b/file`: the parents are prepared with the file, so that those which are missing appear together
/// with it in one rename.
fn prepare_created(root: &Root, stage: &Dir, change: &Change, source: Source<'_>) -> Result<(), FileError> {
    let (_, name) = change.path.split().ok_or(FileError::Missing)?;
    let folders = prepare_folders(stage, &change.path)?;
    let folder = folders.last().ok_or(FileError::Missing)?;
    fill(root, folder, name, source, None)?;
    sync(&folders)
}

/// `new/` and in it the parents of `path`, from the top down.
fn prepare_folders(stage: &Dir, path: &RelPath) -> Result<Vec<Dir>, FileError> {
    let (parents, _) = path.split().ok_or(FileError::Missing)?;
    let mut folders = vec![make_folder(stage, NEW)?];
    for parent in parents {
        let next = folders.last().map(|folder| make_folder(folder, parent)).transpose()?;
        folders.extend(next);
    }
    Ok(folders)
}

fn sync(folders: &[Dir]) -> Result<(), FileError> {
    folders.iter().try_for_each(|folder| Ok(fsync(folder)?))
}

fn prepare_exchange(root: &Root, stage: &Dir, change: &Change, source: Source<'_>) -> Result<(), FileError> {
    let (parents, name) = change.path.split().ok_or(FileError::Missing)?;
    let target = beneath::stat(&root.folder(parents)?, name)?;
    match source {
        Source::Addition(bytes) => {
            let old = root.file(&change.path)?.take(root.config.file_bytes_max);
            write(stage, NEW, &mut old.chain(bytes), Some(&target))?;
        }
        Source::Bytes(_) | Source::CopyOf(_) => fill(root, stage, NEW, source, Some(&target))?,
    }
    record(stage, INODE, &beneath::stat(stage, NEW)?.st_ino.to_string())
}

fn make_folder(dir: &Dir, name: &str) -> Result<Dir, FileError> {
    dir.create_dir(name)?;
    beneath::folder(dir, name)
}

fn fill(
    root: &Root,
    dir: &Dir,
    name: &str,
    source: Source<'_>,
    like: Option<&Stat>,
) -> Result<(), FileError> {
    match source {
        Source::Bytes(bytes) | Source::Addition(bytes) => write(dir, name, &mut &*bytes, like),
        Source::CopyOf(origin) => restore(root, dir, name, origin),
    }
}

/// Brings back the very file that was displaced, with its owner, times and attributes, by a second link to
/// it. Where links are not possible (another owner, an odd file system) a copy with its mode has to do.
fn restore(root: &Root, dir: &Dir, name: &str, origin: Uuid) -> Result<(), FileError> {
    let stage = open(root, origin)?.ok_or(FileError::Missing)?;
    match linkat(&stage, OLD, dir, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(errno) => {
            tracing::debug!(%errno, "an undo copy cannot be linked and is copied");
            let (mut file, stat) = beneath::file(&stage, OLD)?;
            write(dir, name, &mut file, Some(&stat))
        }
    }
}

fn write(dir: &Dir, name: &str, from: &mut impl Read, like: Option<&Stat>) -> Result<(), FileError> {
    let mut file = created(dir, name)?;
    std::io::copy(from, &mut file)?;
    if let Some(like) = like {
        imitate(&file, like)?;
    }
    Ok(file.sync_all()?)
}

/// Owner, group and mode of the file that is replaced. Who may not keep the owner may not replace the file:
/// taking it over would be an effect that nobody was shown.
fn imitate(file: &File, like: &Stat) -> Result<(), FileError> {
    let own = rustix::fs::fstat(file)?;
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid) {
        fchown(file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
    }
    Ok(fchmod(file, Mode::from_bits_truncate(like.st_mode & PERMISSIONS))?)
}

fn created(dir: &Dir, name: &str) -> Result<File, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(openat(dir, name, flags, CREATED)?))
}

fn record(stage: &Dir, name: &str, text: &str) -> Result<(), FileError> {
    let part = format!("{name}.part");
    let mut file = stage.create(&part)?.into_std();
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    stage.rename(&part, stage, name)?;
    Ok(fsync(stage)?)
}

fn number(stage: &Dir, name: &str) -> Result<Option<u64>, FileError> {
    let (file, _) = match beneath::file(stage, name) {
        Err(FileError::Missing) => return Ok(None),
        other => other?,
    };
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    Ok(text.parse().ok())
}
