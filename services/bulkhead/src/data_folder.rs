//! A folder for a Bulkhead of a command's own: a given one that is empty, or a temporary one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::up::say;

/// Where a command that founds a Bulkhead of its own keeps it.
#[derive(Debug)]
pub(crate) enum DataFolder {
    /// By the user, and kept.
    Given(PathBuf),
    /// Removed after success.
    Temporary(tempfile::TempDir),
}

impl DataFolder {
    /// A folder of its own, for good if it was given. Never inside the folder that is copied, or the copy would hold itself.
    pub(crate) fn choose(
        command: &str,
        given: Option<PathBuf>,
        original: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let Some(given) = given else {
            let folder = tempfile::Builder::new().prefix(&format!("bulkhead-{command}-")).tempdir();
            let folder = folder.context("cannot make a temporary folder")?;
            outside(folder.path(), original)?;
            return Ok(Self::Temporary(folder));
        };
        outside(&given, original)?;
        match given.read_dir() {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot open --data {}", given.display()));
            }
            Ok(mut entries) => anyhow::ensure!(
                entries.next().is_none(),
                "--data {} is not empty; `bulkhead {command}` needs a folder of its own",
                given.display()
            ),
        }
        Ok(Self::Given(given))
    }

    /// Which.
    pub(crate) fn path(&self) -> PathBuf {
        match self {
            Self::Given(path) => path.clone(),
            Self::Temporary(folder) => folder.path().to_owned(),
        }
    }

    /// Removes a temporary folder after success; what failed can be looked at.
    pub(crate) fn settle(self, holds: bool) {
        if let Self::Temporary(folder) = self
            && !holds
        {
            say(&format!("Everything is kept in {}.", folder.keep().display()));
        }
    }
}

/// Refuses a folder for data that lies in the folder that is copied.
fn outside(data: &Path, original: Option<&Path>) -> anyhow::Result<()> {
    let absolute = std::path::absolute(data).context("cannot resolve --data")?;
    // What does not exist yet cannot be resolved; what it would be made in can.
    let resolved = absolute.ancestors().find_map(|folder| folder.canonicalize().ok());
    let inside = original.zip(resolved).is_some_and(|(original, data)| data.starts_with(original));
    anyhow::ensure!(!inside, "{} lies inside --workspace; name another folder with --data", data.display());
    Ok(())
}
