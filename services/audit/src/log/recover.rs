//! Reading the log at start.
//!
//! Promises to change nothing before the log has been found to hold what the checkpoint signed, and then
//! to take away only what was never acknowledged: a last line without its newline.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tlog_tiles::record_hash;
use tokio::sync::mpsc;

use super::files::{check_regular, sync_folder};
use super::leaf_hashes::{Draft, LeafHashes};
use super::lines::{self, Lines, RawLine, ReadError};
use super::{Layout, private};
use crate::checkpoint::{Checkpoint, CheckpointError, LogKey};
use crate::event::{Entry, LineError};
use crate::index::Row;
use crate::merkle::{Head, Tree};

/// Why the log cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file could not be written.
    #[error("cannot prepare {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A day of the log is a folder, a link or a pipe.
    #[error("{path} has the name of a daily file and is no regular file; restore the file, or move it away")]
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// There are lines, and nothing that says which.
    #[error(
        "{path} is missing although the log has lines; restore the file, or start with an empty data folder"
    )]
    CheckpointMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It is not what this log's key signed.
    #[error(
        "the checkpoint {path} is not this log's; restore the file, or the key and origin that signed it"
    )]
    CheckpointForeign {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: CheckpointError,
    },
    /// Lines are gone.
    #[error(
        "the log has {found} lines, and its checkpoint signed {signed}: lines were removed; restore the files (`bulkhead audit verify` tells what it can)"
    )]
    Truncated {
        /// How many there are.
        found: u64,
        /// How many there were.
        signed: u64,
    },
    /// Lines are not what they were.
    #[error(
        "the first {signed} lines of the log are not those that its checkpoint signed; run `bulkhead audit verify` to find the changed one, and restore the files"
    )]
    Changed {
        /// How many were signed.
        signed: u64,
    },
    /// A line after the checkpoint is none.
    #[error("{path} line {number} is damaged; run `bulkhead audit verify`, and restore the file")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// From 1.
        number: u64,
        /// What is wrong, where the line could be read at all.
        #[source]
        source: Option<LineError>,
    },
}

/// A log that was found to be whole.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) tree: Tree,
    /// The last line's time.
    pub(crate) last: Option<Timestamp>,
    pub(crate) hashes: LeafHashes,
    /// Whether one stands in the folder, of this state of the log or of an earlier one.
    pub(crate) has_checkpoint: bool,
    /// Whether the index covers a prefix of exactly these lines.
    pub(crate) index_holds: bool,
}

/// Reads every line, checks the log against its checkpoint and removes a torn end.
pub(crate) fn recover(layout: &Layout, key: &LogKey, covered: Head) -> Result<Recovered, RecoverError> {
    let signed = read_checkpoint(&layout.checkpoint(), key)?;
    let listing = lines::list(&layout.logs())?;
    if let Some(path) = listing.impostors.first() {
        return Err(RecoverError::NotAFile { path: path.clone() });
    }
    for stray in &listing.strays {
        tracing::warn!(path = %stray.display(), "not a daily file of the log; left alone");
    }
    let last_file = listing.days.last().map(|(_, path)| path.clone());
    let mut scan = Scan::begin(layout, signed.map_or(0, |head| head.size), covered);
    for line in Lines::of(listing.days) {
        scan.take(line?)?;
    }
    scan.check(&layout.checkpoint(), signed)?;
    if let Some(path) = last_file {
        scan.settle(&path)?;
    }
    scan.finish(covered, signed.is_some())
}

fn read_checkpoint(path: &Path, key: &LogKey) -> Result<Option<Head>, RecoverError> {
    let note = match check_regular(path).and_then(|()| std::fs::read(path)) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReadError { path: path.to_owned(), source }.into()),
    };
    let opened = Checkpoint::open(&note, &key.pinned());
    let checkpoint =
        opened.map_err(|source| RecoverError::CheckpointForeign { path: path.to_owned(), source })?;
    Ok(Some(checkpoint.head))
}

struct Scan {
    tree: Tree,
    draft: Draft,
    signed_size: u64,
    signed: Option<Head>,
    covered_size: u64,
    covered: Option<Head>,
    last_line: Option<RawLine>,
    last_time: Option<Timestamp>,
    torn: Option<RawLine>,
}

impl Scan {
    fn begin(layout: &Layout, signed_size: u64, covered: Head) -> Self {
        let draft = Draft::create(&layout.leaf_hashes());
        let mut scan = Self {
            tree: Tree::default(),
            draft,
            signed_size,
            signed: None,
            covered_size: covered.size,
            covered: None,
            last_line: None,
            last_time: None,
            torn: None,
        };
        scan.mark();
        scan
    }

    fn take(&mut self, line: RawLine) -> Result<(), RecoverError> {
        if let Some(torn) = &self.torn {
            return Err(damaged(torn, None));
        }
        if !line.terminated {
            self.torn = Some(line);
            return Ok(());
        }
        if self.tree.size() >= self.signed_size {
            self.check_line(&line)?;
        }
        let leaf = record_hash(&line.bytes);
        self.draft.push(leaf);
        self.tree.push(leaf);
        self.mark();
        self.last_line = Some(line);
        Ok(())
    }

    /// What no checkpoint vouches for must at least be an entry in its place.
    fn check_line(&mut self, line: &RawLine) -> Result<(), RecoverError> {
        let entry = Entry::parse(&line.bytes).map_err(|source| damaged(line, Some(source)))?;
        let in_order = self.last_time.is_none_or(|last| last <= entry.logged_time);
        if entry.sequence != self.tree.size() || entry.day() != line.day || !in_order {
            return Err(damaged(line, None));
        }
        self.last_time = Some(entry.logged_time);
        Ok(())
    }

    fn mark(&mut self) {
        if self.tree.size() == self.signed_size {
            self.signed = Some(self.tree.head());
        }
        if self.tree.size() == self.covered_size {
            self.covered = Some(self.tree.head());
        }
    }

    fn check(&self, checkpoint: &Path, signed: Option<Head>) -> Result<(), RecoverError> {
        let found = self.tree.size();
        match signed {
            None if found > 0 => Err(RecoverError::CheckpointMissing { path: checkpoint.to_owned() }),
            None => Ok(()),
            Some(head) if found < head.size => Err(RecoverError::Truncated { found, signed: head.size }),
            Some(head) if self.signed == Some(head) => Ok(()),
            Some(head) => Err(RecoverError::Changed { signed: head.size }),
        }
    }

    /// Removes the torn end and makes what stays durable: a process that was killed may have left lines that
    /// no sync has reached. Earlier files were synced before the last one was begun.
    fn settle(&self, last_file: &Path) -> Result<(), RecoverError> {
        let path = self.torn.as_ref().map_or(last_file, |torn| &*torn.path);
        let failed = |source| RecoverError::Write { path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        if let Some(torn) = &self.torn {
            tracing::warn!(
                path = %path.display(),
                line = torn.number,
                bytes = torn.bytes.len(),
                "removing a last line without its end; it was never acknowledged"
            );
            file.set_len(torn.offset).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
        let folder = path.parent().unwrap_or(path);
        sync_folder(folder).map_err(failed)
    }

    fn finish(self, covered: Head, has_checkpoint: bool) -> Result<Recovered, RecoverError> {
        let last = match &self.last_line {
            Some(line) => Some(Entry::parse(&line.bytes).map_err(|source| damaged(line, Some(source)))?),
            None => None,
        };
        Ok(Recovered {
            tree: self.tree,
            last: last.map(|entry| entry.logged_time),
            hashes: self.draft.keep(),
            has_checkpoint,
            index_holds: self.covered == Some(covered),
        })
    }
}

fn damaged(line: &RawLine, source: Option<LineError>) -> RecoverError {
    RecoverError::Damaged { path: line.path.to_path_buf(), number: line.number, source }
}

/// Sends the rows of every line from `sequence` on. Ends early when nobody takes them any more.
pub(crate) fn replay(layout: &Layout, sequence: u64, rows: &mpsc::Sender<Row>) -> Result<(), RecoverError> {
    let listing = lines::list(&layout.logs())?;
    for (line, at) in Lines::of(listing.days).zip(0_u64..) {
        if at < sequence {
            line?;
            continue;
        }
        let line = line?;
        let entry = Entry::parse(&line.bytes).map_err(|source| damaged(&line, Some(source)))?;
        let row = Row::at(entry, line.day, line.offset, line.bytes.len());
        if rows.blocking_send(row).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Opens and locks the folder for this process. The kernel lets go when the process dies, however it dies.
pub(crate) fn lock(path: &Path) -> io::Result<File> {
    let file = private::open(path)?;
    file.try_lock()?;
    Ok(file)
}
