//! The offline verifier: whether a log still holds what it held.
//!
//! Needs the daily files and a checkpoint, nothing of the running service. Promises to find a changed byte,
//! a dropped line, a reordered pair, a truncated tail, and a history that was rolled back or rewritten
//! since a checkpoint that was kept elsewhere; and to read line by line, whatever the size of the log.
//! Without a kept checkpoint and a pinned key it can only say that the folder agrees with itself.

mod anchor;
mod complete;
mod order;
mod report;
mod senders;

use std::io;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use tlog_tiles::record_hash;

use crate::checkpoint::{CheckpointError, KeyError, PinnedKey};
use crate::log::lines::{self, Lines, RawLine};
use crate::log::{Layout, LeafHashReader, ReadError, check_regular};
use crate::merkle::Tree;
use anchor::Anchors;
use complete::Completeness;
use order::Order;
use report::{Findings, Where};

pub use report::{CheckpointKind, CheckpointReport, Finding, FindingCode, VerifyReport};
pub use senders::Senders;

/// What to hold the log against.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// A checkpoint that was kept elsewhere.
    pub checkpoint: Option<PathBuf>,
    /// The public key that must have signed every checkpoint: a C2SP verifier key or a `.pub` file.
    pub key: Option<PathBuf>,
    /// How long before the last line an effect may have begun and still be open. What is older must have
    /// its outcome. Zero: nothing may be open, for a log that nobody writes any more.
    pub open_for: SignedDuration,
}

impl Default for VerifyOptions {
    /// A quarter of an hour: longer than any call may take, and than a service takes to come back and
    /// deliver what waits in its outbox.
    fn default() -> Self {
        Self { checkpoint: None, key: None, open_for: SignedDuration::from_mins(15) }
    }
}

/// Why nothing can be said about a log.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Not the folder of a log.
    #[error("{path} holds no log: there is no folder `logs` in it")]
    NotALog {
        /// As it was given.
        path: PathBuf,
    },
    /// The folder of a whole stack: the log is one of the things in it.
    #[error("{path} holds no daily files; did you mean {}?", .log.display())]
    LogInside {
        /// As it was given.
        path: PathBuf,
        /// The folder of a log that was found in it.
        log: PathBuf,
    },
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The pinned key cannot be used.
    #[error("the pinned key cannot be used")]
    Key(#[from] KeyError),
    /// The kept checkpoint cannot be used. A signature that does not verify is a finding instead.
    #[error("{path} is not a checkpoint")]
    Checkpoint {
        /// As it was given.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
}

/// Reads the log in `folder` and says what is wrong with it. Its services have the names that `bulkhead up`
/// gives.
///
/// # Errors
/// [`VerifyError`] when nothing can be said. What is wrong with the log itself is in the report.
pub fn verify(folder: &Path, options: &VerifyOptions) -> Result<VerifyReport, VerifyError> {
    verify_sent_by(Senders::default(), folder, options)
}

/// The same for a log whose services have other names.
///
/// # Errors
/// As [`verify`].
pub fn verify_sent_by(
    senders: Senders,
    folder: &Path,
    options: &VerifyOptions,
) -> Result<VerifyReport, VerifyError> {
    let layout = Layout::new(folder);
    check_folder(&layout)?;
    let key = options.key.as_deref().map(PinnedKey::load).transpose()?;
    let mut findings = Findings::default();
    // Before the files: a log that grows meanwhile is then never shorter than its checkpoint.
    let mut anchors = Anchors::default();
    anchors.load_stored(&layout.checkpoint(), key.as_ref(), &mut findings)?;
    if let Some(path) = &options.checkpoint {
        anchors.load_kept(path, key.as_ref(), &mut findings)?;
    }
    let stories = Completeness::of(senders);
    let read = read(&layout, &mut anchors, stories, options.open_for, &mut findings)?;
    anchors.judge(&read, &mut findings);
    Ok(VerifyReport::new(&read, anchors.reports(), findings))
}

/// An empty log is a log, but not where another one lies inside.
fn check_folder(layout: &Layout) -> Result<(), VerifyError> {
    let path = layout.folder().to_owned();
    let log = path.join(crate::NAME);
    let is_log = layout.logs().is_dir();
    let has_days = is_log && {
        let listing = lines::list(&layout.logs())?;
        !listing.days.is_empty() || !listing.impostors.is_empty()
    };
    if !has_days && Layout::new(&log).logs().is_dir() {
        return Err(VerifyError::LogInside { path, log });
    }
    if is_log { Ok(()) } else { Err(VerifyError::NotALog { path }) }
}

/// What reading the files gave.
#[derive(Debug)]
struct Read {
    tree: Tree,
    files: usize,
    end: Option<Where>,
    /// The first line whose hash is not the one that was noted when it was written.
    changed: Option<Where>,
}

fn read(
    layout: &Layout,
    anchors: &mut Anchors,
    mut stories: Completeness,
    open_for: SignedDuration,
    findings: &mut Findings,
) -> Result<Read, VerifyError> {
    let listing = lines::list(&layout.logs())?;
    for stray in &listing.strays {
        let text = format!("{} is not a daily file of the log; it was not read", stray.display());
        findings.add(FindingCode::StrayFile, None, text);
    }
    for impostor in &listing.impostors {
        let text =
            format!("{} has the name of a daily file and is none; it was not read", impostor.display());
        findings.add(FindingCode::NotAFile, None, text);
    }
    let mut read = Read { tree: Tree::default(), files: listing.days.len(), end: None, changed: None };
    let mut order = Order::default();
    let mut noted = Noted { hashes: LeafHashReader::open(&layout.leaf_hashes()), tree: Tree::default() };
    anchors.mark(&read.tree, &noted.tree);
    let mut lines = Lines::of(listing.days).peekable();
    while let Some(line) = lines.next() {
        let line = line?;
        let at = Where::of(&line, read.tree.size());
        if !line.terminated && torn(&at, lines.peek().is_none(), findings) {
            break;
        }
        if noted.differs(&line) && read.changed.is_none() {
            read.changed = Some(at.clone());
        }
        read.tree.push(record_hash(&line.bytes));
        anchors.mark(&read.tree, &noted.tree);
        if let Some(entry) = order.check(&line, &at, findings) {
            stories.take(&entry, &at, findings);
        }
        read.end = Some(at);
    }
    stories.finish(order.last_time(), open_for, findings);
    Ok(read)
}

/// Tells of a line without an end; true when it is the log's last, which was never acknowledged.
fn torn(at: &Where, last: bool, findings: &mut Findings) -> bool {
    let (code, text) = if last {
        (FindingCode::TornTail, "the last line has no end; it was not acknowledged and does not count")
    } else {
        (FindingCode::TornLine, "the line has no end, and the log goes on after it")
    };
    findings.add(code, Some(at), text.to_owned());
    last
}

/// The hashes that the service noted when it wrote the lines.
struct Noted {
    hashes: LeafHashReader,
    tree: Tree,
}

impl Noted {
    /// Whether a hash was noted for the next line, and another one.
    fn differs(&mut self, line: &RawLine) -> bool {
        let Some(noted) = self.hashes.next() else { return false };
        self.tree.push(noted);
        noted != record_hash(&line.bytes)
    }
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match check_regular(path).and_then(|()| std::fs::read(path)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError { path: path.to_owned(), source }),
    }
}
