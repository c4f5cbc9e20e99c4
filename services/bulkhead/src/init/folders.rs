//! The folders of an installation, and what is to be done about them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::serve::Service;
use crate::up::init::write_new;
use crate::up::{Layout, private_folder};

/// There from before the first file until after the last of all folders.
const UNFINISHED: &str = "unfinished";

/// One folder, which is one volume of docker-compose.yml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    /// What only this service may read.
    Service(Service),
    /// The hashed tokens that every service knows callers by: one file for all, so that one change revokes.
    Identities,
    /// Tokens of people and agents.
    People,
    /// What signs certificates.
    Authority,
}

impl Folder {
    pub(super) const ALL: [Self; 7] = [
        Self::Service(Service::Audit),
        Self::Service(Service::Approval),
        Self::Service(Service::ToolExecutor),
        Self::Service(Service::ModelRouter),
        Self::Identities,
        Self::People,
        Self::Authority,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name(),
            Self::Identities => "identities",
            Self::People => "people",
            Self::Authority => "authority",
        }
    }

    /// What a person should know of it.
    pub(super) fn holds(self) -> &'static str {
        match self {
            Self::Service(Service::Audit) => "the key that signs checkpoints",
            Self::Service(Service::Approval) => "its token, and the key that signs grants",
            Self::Service(Service::ToolExecutor) => "its token, the public grant key, and the policy",
            Self::Service(Service::ModelRouter) => {
                "its token, and a second configuration with simulated models"
            }
            Self::Identities => "hashes of all tokens, and what their holders may do",
            Self::People => "tokens of agent, approver, operator and auditor; for no service",
            Self::Authority => "the key that signs certificates; only `bulkhead init` needs it",
        }
    }
}

/// What is found in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Unfinished,
    Complete,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything is here.
    Nothing,
    /// Nothing was ever finished: make all of it.
    Found,
    /// All was written; only the marks of the run that wrote it are left.
    Finish,
}

/// Where the folders are.
#[derive(Debug)]
pub(super) struct Volumes(PathBuf);

impl Volumes {
    pub(super) fn at(root: PathBuf) -> Self {
        Self(root)
    }

    pub(super) fn path(&self, folder: Folder) -> PathBuf {
        self.0.join(folder.name())
    }

    /// A folder has the names of a data folder within.
    pub(super) fn layout(&self, folder: Folder) -> Layout {
        Layout::new(self.path(folder))
    }

    /// Decides, by looking at every folder.
    ///
    /// # Errors
    /// When a folder is lost whose keys the others rely on, or cannot be looked at.
    pub(super) fn plan(&self) -> anyhow::Result<Plan> {
        let look = |folder| Ok((folder, self.state(folder)?));
        decide(&Folder::ALL.into_iter().map(look).collect::<anyhow::Result<Vec<_>>>()?)
    }

    fn state(&self, folder: Folder) -> anyhow::Result<State> {
        let path = self.path(folder);
        if path.join(UNFINISHED).exists() {
            return Ok(State::Unfinished);
        }
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::Empty),
            entries => entries.with_context(|| format!("cannot look into {}", path.display()))?,
        };
        // A volume on a file system of its own comes with this folder.
        let mut entries =
            entries.filter(|entry| entry.as_ref().map_or(true, |entry| entry.file_name() != "lost+found"));
        Ok(if entries.next().is_some() { State::Complete } else { State::Empty })
    }

    /// Marks every folder before anything is made. What a run that was cut short has left goes.
    pub(super) fn begin(&self) -> anyhow::Result<()> {
        for folder in Folder::ALL {
            let path = self.path(folder);
            private_folder(&path)?;
            write_new(&path.join(UNFINISHED), "`bulkhead init` was cut short; run it again.\n", 0o600)?;
        }
        Ok(())
    }

    /// Takes the marks away, once all is on disk.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        for folder in Folder::ALL {
            let mark = self.path(folder).join(UNFINISHED);
            match fs::remove_file(&mark) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("cannot remove {}", mark.display()))?,
            }
            sync(&self.path(folder))?;
        }
        Ok(())
    }
}

/// Names of files are on disk only once their folder is.
fn sync(folder: &Path) -> anyhow::Result<()> {
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("cannot sync {}", folder.display()))
}

/// Marks are set in all folders before anything is made, and taken away only when all is: so a folder that is
/// complete says that every other one was.
fn decide(found: &[(Folder, State)]) -> anyhow::Result<Plan> {
    let names = |wanted| {
        let names = found.iter().filter(|(_, state)| *state == wanted).map(|(folder, _)| folder.name());
        names.collect::<Vec<_>>()
    };
    let [empty, unfinished, complete] = [State::Empty, State::Unfinished, State::Complete].map(names);
    match (complete.is_empty(), empty.is_empty(), unfinished.is_empty()) {
        (true, _, _) => Ok(Plan::Found),
        (false, true, true) => Ok(Plan::Nothing),
        (false, true, false) => Ok(Plan::Finish),
        (false, false, _) => bail!(
            "{} lost what {} still rely on; nothing was changed. Restore it from its copy; or remove all of them, \
             stores included, to begin anew with other keys",
            empty.join(", "),
            complete.join(", "),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan for folders of which the first `complete` are complete, the next `unfinished` marked, the rest empty.
    fn plan(complete: usize, unfinished: usize) -> anyhow::Result<Plan> {
        let state = |at| match at {
            at if at < complete => State::Complete,
            at if at < complete + unfinished => State::Unfinished,
            _ => State::Empty,
        };
        decide(
            &Folder::ALL.into_iter().enumerate().map(|(at, folder)| (folder, state(at))).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn what_is_complete_is_never_made_again() {
        let all = Folder::ALL.len();
        for (complete, unfinished, expected) in [
            (0, 0, Plan::Found),
            (0, 3, Plan::Found),
            (0, all, Plan::Found),
            (2, all - 2, Plan::Finish),
            (all, 0, Plan::Nothing),
        ] {
            assert_eq!(plan(complete, unfinished).expect("a plan"), expected, "{complete} {unfinished}");
        }
        for (complete, unfinished) in [(1, 0), (all - 1, 0), (2, 2)] {
            let refused = plan(complete, unfinished).expect_err("a folder is lost").to_string();
            assert!(refused.contains("authority lost what audit"), "{refused}");
        }
    }
}
