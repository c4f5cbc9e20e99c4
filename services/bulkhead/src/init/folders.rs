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
/// In the folder of the authority: the names of all folders that were made, a line each. Tells a folder that is lost
/// from one that a later release adds.
const MADE: &str = "folders";

/// One folder, which is one volume of docker-compose.yml.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    /// What only this service may read.
    Service(Service),
    /// The hashed tokens that every service knows callers by: one file for all, so that one change revokes.
    Identities,
    /// Tokens of people and agents.
    People,
    /// The agent's token alone.
    Agent,
    /// What signs certificates.
    Authority,
}

impl Folder {
    pub(super) const ALL: [Self; 8] = [
        Self::Service(Service::Audit),
        Self::Service(Service::Approval),
        Self::Service(Service::ToolExecutor),
        Self::Service(Service::ModelRouter),
        Self::Identities,
        Self::People,
        Self::Authority,
        Self::Agent,
    ];
    /// So many of them the first release made, which kept no list.
    const FIRST: usize = 7;

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service(service) => service.name(),
            Self::Identities => "identities",
            Self::People => "people",
            Self::Agent => "agent",
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
            Self::Agent => "the agent's token alone, for a client in the network of the services",
            Self::Authority => "the key that signs certificates; only `bulkhead init` needs it",
        }
    }
}

/// What is found in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not made yet, by what is on record.
    New,
    Empty,
    Unfinished,
    Complete,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Everything is here.
    Nothing,
    /// Nothing was ever finished: make all of it.
    Found,
    /// All of these was written; only the marks of the run that wrote it are left.
    Finish(Vec<Folder>),
    /// A release before this one did not have these.
    Add(Vec<Folder>),
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
        let made = self.made()?;
        let look = |folder: Folder| {
            let state = self.state(folder)?;
            let known = made.iter().any(|name| name == folder.name());
            Ok((folder, if known || state == State::Complete { state } else { State::New }))
        };
        decide(&Folder::ALL.into_iter().map(look).collect::<anyhow::Result<Vec<_>>>()?)
    }

    /// The folders that were made, by what is on record.
    fn made(&self) -> anyhow::Result<Vec<String>> {
        let path = self.path(Folder::Authority).join(MADE);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Folder::ALL.iter().take(Folder::FIRST).map(|folder| folder.name().to_owned()).collect())
            }
            text => {
                let text = text.with_context(|| format!("cannot read {}", path.display()))?;
                Ok(text.lines().map(str::to_owned).collect())
            }
        }
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

    /// Marks folders before anything is made in one of them. What a run that was cut short has left goes.
    pub(super) fn begin(&self, folders: &[Folder]) -> anyhow::Result<()> {
        for folder in folders {
            let path = self.path(*folder);
            private_folder(&path)?;
            write_new(&path.join(UNFINISHED), "`bulkhead init` was cut short; run it again.\n", 0o600)?;
        }
        Ok(())
    }

    /// Puts folders on record and takes their marks away, once all is on disk.
    pub(super) fn finish(&self, folders: &[Folder]) -> anyhow::Result<()> {
        let (mut made, authority) = (self.made()?, self.path(Folder::Authority));
        made.extend(folders.iter().map(|folder| folder.name().to_owned()));
        made.sort();
        made.dedup();
        let aside = authority.join(MADE).with_added_extension("new");
        write_new(&aside, &(made.join("\n") + "\n"), 0o644)?;
        fs::rename(&aside, authority.join(MADE)).context("cannot record which folders were made")?;
        sync(&authority)?;
        for folder in folders {
            let mark = self.path(*folder).join(UNFINISHED);
            match fs::remove_file(&mark) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("cannot remove {}", mark.display()))?,
            }
            sync(&self.path(*folder))?;
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
/// complete says that every other one was, unless it is newer than that.
fn decide(found: &[(Folder, State)]) -> anyhow::Result<Plan> {
    let those = |wanted| {
        let those = found.iter().filter(|(_, state)| *state == wanted).map(|(folder, _)| *folder);
        those.collect::<Vec<_>>()
    };
    let [new, empty, unfinished, complete] =
        [State::New, State::Empty, State::Unfinished, State::Complete].map(those);
    match (complete.is_empty(), empty.is_empty(), unfinished.is_empty(), new.is_empty()) {
        (true, _, _, _) => Ok(Plan::Found),
        (false, true, true, true) => Ok(Plan::Nothing),
        (false, true, true, false) => Ok(Plan::Add(new)),
        (false, true, false, _) => Ok(Plan::Finish(unfinished)),
        (false, false, _, _) => bail!(
            "{} lost what {} still rely on; nothing was changed. Restore it from its copy; or remove all of them, \
             stores included, to begin anew with other keys",
            named(&empty),
            named(&complete),
        ),
    }
}

fn named(folders: &[Folder]) -> String {
    folders.iter().map(|folder| folder.name()).collect::<Vec<_>>().join(", ")
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
            (2, all - 2, Plan::Finish(Folder::ALL[2..].to_vec())),
            (all, 0, Plan::Nothing),
        ] {
            assert_eq!(plan(complete, unfinished).expect("a plan"), expected, "{complete} {unfinished}");
        }
        for (complete, unfinished) in [(1, 0), (all - 1, 0), (2, 2)] {
            let refused = plan(complete, unfinished).expect_err("a folder is lost").to_string();
            assert!(refused.contains("agent lost what audit"), "{refused}");
        }
    }

    #[test]
    fn what_a_later_release_adds_is_not_lost() {
        let old = |state: State| Folder::ALL.map(|folder| (folder, state));
        let with = |state, last| {
            let mut found = old(state);
            found[Folder::FIRST].1 = last;
            decide(&found).expect("a plan")
        };
        assert_eq!(with(State::Complete, State::New), Plan::Add(vec![Folder::Agent]));
        assert_eq!(with(State::Empty, State::New), Plan::Found);
        assert_eq!(with(State::Unfinished, State::New), Plan::Found);
        // First what was begun, and at the next look what is new.
        let mut found = old(State::Unfinished);
        (found[0].1, found[Folder::FIRST].1) = (State::Complete, State::New);
        assert_eq!(decide(&found).expect("a plan"), Plan::Finish(Folder::ALL[1..Folder::FIRST].to_vec()));
    }
}
