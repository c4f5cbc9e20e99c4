//! The file tools: `fs.list`, `fs.read`, `fs.write`, `fs.append`, `fs.move`, `fs.delete`, under declared roots.
//!
//! Promises:
//! - No path leaves its root: paths are relative and without `..`, every step opens one component, and no
//!   symbolic link is followed or written through. A link on the way is refused, also when it points
//!   inside.
//! - Planning writes nothing. The preview is complete; what is too large to be reviewed is refused, except
//!   for deletions and undos, which then say size and hash.
//! - A change is one rename, checked on both sides of it. `fs.write` of a new file does not replace;
//!   overwriting and appending exchange and look at what came out; deleting moves into the undo store; a
//!   move is two renames, through a folder of its own, neither of which replaces anything ([`carry`]).
//!   Whoever changed the file first gets it back, and the call ends as stale. Writing the content that a
//!   file already has is an overwrite like any other.
//! - No append is torn, lost or doubled: what is published is the old content with the new after it, and of
//!   two that were planned on the same content one ends as stale.
//! - What a file is known to contain goes with it: no move gives it a name that says less.
//! - After a crash at any point [`settle`] can tell from the disk whether the change happened, or says that
//!   it cannot and names the copies.
//! - Nothing is lost: what a change displaces stays in `.bulkhead/undo/<execution>` until it is undone,
//!   swept, or declared irreversible for its size.
//! - Faults are written for a model, name targets as `root/path`, and never a path of the host.
//!
//! Limits: overwriting replaces the name, not the inode. Other hard links keep the old content; owner, group
//! and mode go over to the new file, access lists and extended attributes do not (an undo brings back the
//! old inode with all of them). An append copies the file, and keeps the old one like an overwrite does: many
//! small appends to a large file cost its size each. Between the two renames of a move the file has neither
//! name. A process that holds the displaced file open can still write to it; the
//! undo copy then no longer has the planned hash and is not restored. Where a folder that is held open is
//! moved out of the root by somebody else, the change follows it.

mod act;
mod arguments;
mod beneath;
mod carry;
mod change;
mod config;
mod fault;
mod files;
mod grow;
mod label;
mod path;
mod plan;
mod preview;
mod reserved;
mod root;
mod run;
mod settle;
mod stage;
mod sweep;
#[cfg(test)]
mod tests;
mod tools;

use std::error::Error;
use std::sync::Arc;

use bulkhead_exit::{Exit, Obstacle};

pub use config::{FsConfig, RootConfig};
pub use files::Files;
pub use label::{LabelRule, Labels};

use crate::tool::Tool;

/// Why the file tools cannot start, or cannot clear up.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// A root cannot be opened, or is no folder.
    #[error("the root {name:?} cannot be opened")]
    Root {
        /// Its name.
        name: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The file system of a root lacks what a safe change needs.
    #[error("the file system of root {name:?} cannot exchange files atomically")]
    Unsupported {
        /// Its name.
        name: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process works on a root.
    #[error("the root {name:?} is in use by another process")]
    InUse {
        /// Its name.
        name: String,
    },
    /// A root lies within another, or is the same folder.
    #[error("the root {name:?} and the root {other:?} share files; roots must lie apart")]
    Nested {
        /// Its name.
        name: String,
        /// The other one.
        other: String,
    },
    /// Old undo copies cannot be removed.
    #[error("the undo store of root {name:?} cannot be swept")]
    Sweep {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl From<FsError> for Obstacle {
    fn from(error: FsError) -> Self {
        let exit = match &error {
            FsError::InUse { .. } => Exit::Taken,
            FsError::Root { .. } | FsError::Sweep { .. } => Exit::Unusable,
            FsError::Unsupported { .. } | FsError::Nested { .. } => Exit::Misconfigured,
        };
        Self::new(exit, error)
    }
}

/// Opens the roots and returns the tools. Use [`Files`] where undo copies are to be swept as well.
///
/// # Errors
/// [`FsError`] when a root is not usable.
pub fn tools(config: FsConfig) -> Result<Vec<Arc<dyn Tool>>, FsError> {
    Ok(Files::open(config)?.tools())
}
