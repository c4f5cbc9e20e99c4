//! The folder that the agent works on: a copy, never the original.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// Files that a copy may hold; the demo is no backup program.
const FILES_MAX: usize = 2_000;
/// Files larger than this are left out of the copy.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A sample to work on when no folder is named.
const SAMPLE: [(&str, &str); 3] = [
    ("README.md", include_str!("sample/README.md")),
    ("notes/meeting.md", include_str!("sample/meeting.md")),
    ("notes/plan.md", include_str!("sample/plan.md")),
];

/// Planted into every copy, so that the demo knows what it deletes.
pub(super) const OBSOLETE: &str = "bulkhead-demo/obsolete-draft.md";
/// Planted into every copy: holds a made-up credential.
pub(super) const CREDENTIAL: &str = "bulkhead-demo/deploy.env";
/// What the agent writes.
pub(super) const SUMMARY: &str = "bulkhead-demo/SUMMARY.md";
/// What the agent tries to write while the journal is locked.
pub(super) const LOCKED: &str = "bulkhead-demo/while-locked.md";

/// The copy.
#[derive(Debug)]
pub(super) struct Workspace {
    root: PathBuf,
    secret: String,
}

impl Workspace {
    /// Copies `original`, or the sample, into `root` and plants the demo's own files.
    pub(super) fn prepare(root: PathBuf, original: Option<&Path>, secret: String) -> anyhow::Result<Self> {
        match original {
            Some(original) => {
                let from = original.canonicalize();
                let from = from.with_context(|| format!("cannot open the folder {}", original.display()))?;
                copy(&from, &root, &mut 0)?;
            }
            None => SAMPLE.into_iter().try_for_each(|(path, text)| write(&root.join(path), text))?,
        }
        let workspace = Self { root, secret };
        write(&workspace.path(OBSOLETE), include_str!("sample/obsolete-draft.md"))?;
        write(
            &workspace.path(CREDENTIAL),
            &format!("DEPLOY_TARGET=staging\nDEPLOY_KEY={}\n", workspace.secret),
        )?;
        Ok(workspace)
    }

    /// The credential that must not leave this machine.
    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// SHA-256 of a file, or nothing when there is none.
    pub(super) fn sha256(&self, relative: &str) -> anyhow::Result<String> {
        match fs::read(self.path(relative)) {
            Ok(bytes) => Ok(hex::encode(Sha256::digest(bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {relative}")),
        }
    }

    /// One hash over every path and every content.
    pub(super) fn tree_sha256(&self) -> anyhow::Result<String> {
        let mut files = Vec::new();
        list(&self.root, &mut files)?;
        files.sort();
        let mut hash = Sha256::new();
        for path in files {
            let name = path.to_string_lossy().into_owned();
            let content = fs::read(&path)?;
            hash.update(Sha256::digest(name));
            hash.update(Sha256::digest(content));
        }
        Ok(hex::encode(hash.finalize()))
    }

    /// A file that the agent can read first: the shortest text at the top.
    pub(super) fn first_text(&self) -> anyhow::Result<String> {
        let mut names: Vec<String> = fs::read_dir(&self.root)?
            .filter_map(Result::ok)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
            .filter(|entry| fs::read_to_string(entry.path()).is_ok_and(|text| text.len() < 64 << 10))
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        names.sort();
        Ok(names.into_iter().next().unwrap_or_else(|| OBSOLETE.to_owned()))
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files)?;
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Copies plain files and folders; links, devices and version-control folders stay where they are.
fn copy(from: &Path, to: &Path, copied: &mut usize) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() && entry.file_name() != ".git" && entry.file_name() != "target" {
            copy(&entry.path(), &target, copied)?;
        } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
            *copied += 1;
            anyhow::ensure!(
                *copied <= FILES_MAX,
                "the folder has more than {FILES_MAX} files; choose a smaller one"
            );
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
