//! What failed, on what, why, and what to do next: file errors in words for a model.

use std::io;

use rustix::io::Errno;

use crate::tool::{ToolFault, ToolFaultKind};

/// Why a step on a file did not work. The target is added by [`FileError::on`]; nothing in here names a
/// path of the host.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// Nothing has that name.
    #[error("not found")]
    Missing,
    /// The path, or a folder on the way, is a symbolic link.
    #[error("a symbolic link is on the way")]
    Link,
    /// A folder on the way is none.
    #[error("a folder on the way is none")]
    NotAFolder,
    /// It is a folder, a device, or the like.
    #[error("it is {0}")]
    NotAFile(&'static str),
    /// The path reaches the reserved folder by another name.
    #[error("it is the reserved folder")]
    Reserved,
    /// The file is larger than the limit.
    #[error("{bytes} bytes are more than {max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The operating system refused.
    #[error("input or output failed")]
    Io(#[from] io::Error),
}

impl From<Errno> for FileError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::LOOP => Self::Link,
            other => Self::Io(other.into()),
        }
    }
}

impl FileError {
    /// The fault that a model reads about `target`.
    pub(crate) fn on(self, target: &str) -> ToolFault {
        use ToolFaultKind as K;
        match self {
            Self::Missing => fault(K::NotFound, missing(target)),
            Self::Link => fault(
                K::PathNotAllowed,
                format!(
                    "{target} is, or passes through, a symbolic link. Links are never followed: name the file by its real path inside the root."
                ),
            ),
            Self::NotAFolder => fault(
                K::WrongFileType,
                format!(
                    "A part of the path {target} that should be a folder is not one. Check the path with fs.list."
                ),
            ),
            Self::NotAFile(what) => fault(
                K::WrongFileType,
                format!(
                    "{target} is {what}, and this tool works on regular files only. Choose a file; fs.list shows which there are."
                ),
            ),
            Self::Reserved => fault(
                K::PathNotAllowed,
                format!("{target} is reserved for undo copies. Choose another path."),
            ),
            Self::TooLarge { bytes, max } => fault(
                K::TooLarge,
                format!(
                    "{target} has {bytes} bytes; this tool takes at most {max}. Work on a smaller file, or ask the operator to raise the limit of the root."
                ),
            ),
            Self::Io(error) => from_io(target, &error),
        }
    }
}

/// Targets are shown as `root/path`, and models like to give them back as paths.
fn missing(target: &str) -> String {
    let doubled = target.split_once('/').filter(|(root, path)| path.split('/').next() == Some(root));
    let hint = doubled.map(|(root, _)| format!(" Paths begin below the root: leave out `{root}/`."));
    let hint = hint.unwrap_or_default();
    format!("File not found: {target}. Verify the path with fs.list before retrying.{hint}")
}

/// A fault without a known wait.
pub(crate) fn fault(kind: ToolFaultKind, message: impl Into<String>) -> ToolFault {
    ToolFault { kind, message: message.into(), retry_after: None }
}

/// The world changed since the plan.
pub(crate) fn stale(target: &str, what: &str) -> ToolFault {
    let next =
        "Nothing was done. Look at it with fs.read or fs.list, then call again with what is right now.";
    fault(ToolFaultKind::Stale, format!("{target} {what} since this call was planned. {next}"))
}

fn from_io(target: &str, error: &io::Error) -> ToolFault {
    use ToolFaultKind as K;
    use io::ErrorKind as E;
    let (kind, why, next) = match error.kind() {
        E::PermissionDenied | E::ReadOnlyFilesystem => (
            K::PermissionDenied,
            "the operating system does not allow it",
            "Choose another path, or ask the operator for access.",
        ),
        E::StorageFull | E::QuotaExceeded => {
            (K::IoError, "the disk is full", "Ask the operator to free space, then retry.")
        }
        E::CrossesDevices => (
            K::PathNotAllowed,
            "it is on another file system than its root",
            "Choose a path on the root's own file system.",
        ),
        E::InvalidFilename => (K::InvalidArguments, "a name in it is too long", "Shorten the path."),
        E::AlreadyExists => (K::AlreadyExists, "something is there already", "Look at it with fs.list."),
        _ => {
            (K::IoError, "the device reported an error", "Retry once; if it fails again, tell the operator.")
        }
    };
    if kind == K::IoError {
        tracing::error!(%target, %error, "a file tool met an error of the system");
    }
    fault(kind, format!("Could not work on {target}: {why}. {next}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_kind_and_says_what_to_do_next() {
        let errno = |errno: Errno| FileError::from(errno);
        let table = [
            (errno(Errno::NOENT), ToolFaultKind::NotFound),
            (errno(Errno::LOOP), ToolFaultKind::PathNotAllowed),
            (FileError::NotAFolder, ToolFaultKind::WrongFileType),
            (FileError::NotAFile("a folder"), ToolFaultKind::WrongFileType),
            (FileError::Reserved, ToolFaultKind::PathNotAllowed),
            (FileError::TooLarge { bytes: 2, max: 1 }, ToolFaultKind::TooLarge),
            (errno(Errno::ACCESS), ToolFaultKind::PermissionDenied),
            (errno(Errno::PERM), ToolFaultKind::PermissionDenied),
            (errno(Errno::ROFS), ToolFaultKind::PermissionDenied),
            (errno(Errno::NOSPC), ToolFaultKind::IoError),
            (errno(Errno::DQUOT), ToolFaultKind::IoError),
            (errno(Errno::XDEV), ToolFaultKind::PathNotAllowed),
            (errno(Errno::NAMETOOLONG), ToolFaultKind::InvalidArguments),
            (errno(Errno::IO), ToolFaultKind::IoError),
        ];
        for (error, kind) in table {
            let why = error.to_string();
            let fault = error.on("w/a.md");
            assert_eq!(fault.kind, kind, "{why}");
            assert!(fault.message.contains("w/a.md") && fault.message.ends_with('.'), "{}", fault.message);
            assert!(fault.message.matches(['.', ':']).count() >= 2, "no advice: {}", fault.message);
        }
    }

    #[test]
    fn a_path_that_repeats_the_root_is_explained() {
        let message = |target: &str| FileError::Missing.on(target).message;
        assert!(message("w/w/a.md").ends_with("leave out `w/`."));
        assert!(message("w/a.md").ends_with("before retrying."));
    }
}
