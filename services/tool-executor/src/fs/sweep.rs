//! Removing undo copies whose time is over.

use cap_std::fs::Dir;
use jiff::Timestamp;
use uuid::Uuid;

use super::beneath;
use super::fault::FileError;
use super::root::Root;
use super::stage::{self, NEW, TAKEN};

/// Removes what was settled before `before`, and returns how many. Blocking; the caller holds the root.
pub(crate) fn sweep(root: &Root, before: Timestamp) -> Result<usize, FileError> {
    let mut removed = 0;
    for entry in root.undo().entries()? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok()) else {
            continue;
        };
        if is_over(root, id, before)? {
            stage::discard(root, id)?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn is_over(root: &Root, id: Uuid, before: Timestamp) -> Result<bool, FileError> {
    let Some(folder) = stage::open(root, id)? else { return Ok(false) };
    let changed = rustix::fs::fstat(&folder)?.st_mtime;
    Ok(changed < before.as_second() && is_settled(&folder)?)
}

/// What still lies under these names has an owner who has not been told where it went.
fn is_settled(folder: &Dir) -> Result<bool, FileError> {
    Ok(!beneath::exists(folder, NEW)? && !beneath::exists(folder, TAKEN)?)
}
