//! Checkpoints, and whether the log begins with what they sign.

use std::path::Path;

use tlog_tiles::Hash;

use super::report::{CheckpointKind, CheckpointReport, FindingCode as Code, Findings};
use super::{Read, VerifyError, read_file};
use crate::checkpoint::{Checkpoint, CheckpointError, PinnedKey};
use crate::log::ReadError;
use crate::merkle::Tree;

/// The checkpoints to hold a log against.
#[derive(Debug, Default)]
pub(super) struct Anchors(Vec<Anchor>);

#[derive(Debug)]
struct Anchor {
    kind: CheckpointKind,
    checkpoint: Checkpoint,
    signature_verified: bool,
    /// Root over as many lines as the checkpoint signs, once so many were read.
    found: Option<Hash>,
    /// The same over the hashes that were noted when the lines were written.
    noted: Option<Hash>,
}

impl Anchors {
    /// The checkpoint in the folder.
    pub(super) fn load_stored(
        &mut self,
        path: &Path,
        key: Option<&PinnedKey>,
        findings: &mut Findings,
    ) -> Result<(), ReadError> {
        let Some(note) = read_file(path)? else {
            findings.add(Code::CheckpointMissing, None, "the folder has no checkpoint".to_owned());
            return Ok(());
        };
        match Checkpoint::read(&note) {
            Ok(checkpoint) => self.add(CheckpointKind::Stored, checkpoint, &note, key, findings),
            Err(error) => {
                let text = format!("the folder's checkpoint cannot be used: {error}");
                findings.add(Code::CheckpointMalformed, None, text);
            }
        }
        Ok(())
    }

    /// The checkpoint that somebody kept.
    pub(super) fn load_kept(
        &mut self,
        path: &Path,
        key: Option<&PinnedKey>,
        findings: &mut Findings,
    ) -> Result<(), VerifyError> {
        let note = std::fs::read(path).map_err(|source| ReadError { path: path.to_owned(), source })?;
        let checkpoint = Checkpoint::read(&note)
            .map_err(|source| VerifyError::Checkpoint { path: path.to_owned(), source })?;
        self.add(CheckpointKind::Kept, checkpoint, &note, key, findings);
        Ok(())
    }

    fn add(
        &mut self,
        kind: CheckpointKind,
        checkpoint: Checkpoint,
        note: &[u8],
        key: Option<&PinnedKey>,
        findings: &mut Findings,
    ) {
        let signature_verified = check_signature(kind, note, key, findings);
        if let Some(other) = self.0.iter().find(|other| other.checkpoint.origin != checkpoint.origin) {
            let (one, two) = (&other.checkpoint.origin, &checkpoint.origin);
            let text = format!("the folder's checkpoint belongs to the log {one}, the kept one to {two}");
            findings.add(Code::OriginMismatch, None, text);
        }
        self.0.push(Anchor { kind, checkpoint, signature_verified, found: None, noted: None });
    }

    /// Takes the roots when as many lines have been read as a checkpoint signs.
    pub(super) fn mark(&mut self, tree: &Tree, noted: &Tree) {
        for anchor in self.0.iter_mut().filter(|anchor| anchor.checkpoint.head.size == tree.size()) {
            anchor.found = Some(tree.root());
            anchor.noted = (noted.size() == tree.size()).then(|| noted.root());
        }
    }

    /// Says where the log and its checkpoints part.
    pub(super) fn judge(&self, read: &Read, findings: &mut Findings) {
        for anchor in &self.0 {
            anchor.judge(read, findings);
        }
        let covered = self.0.iter().map(|anchor| anchor.checkpoint.head.size).max().unwrap_or(0);
        let tail = read.tree.size().saturating_sub(covered);
        if tail > 0 && !self.0.is_empty() {
            let text = format!("the last {tail} lines are newer than every checkpoint");
            findings.add(Code::UncheckedTail, None, text);
        }
    }

    pub(super) fn reports(&self) -> Vec<CheckpointReport> {
        let report = |anchor: &Anchor| CheckpointReport {
            kind: anchor.kind,
            origin: anchor.checkpoint.origin.clone(),
            tree_size: anchor.checkpoint.head.size,
            signature_verified: anchor.signature_verified,
            matches: anchor.found == Some(anchor.checkpoint.head.root),
        };
        self.0.iter().map(report).collect()
    }
}

fn check_signature(
    kind: CheckpointKind,
    note: &[u8],
    key: Option<&PinnedKey>,
    findings: &mut Findings,
) -> bool {
    let whose = match kind {
        CheckpointKind::Stored => "the folder's",
        CheckpointKind::Kept => "the kept",
    };
    let Some(key) = key else {
        let text = format!("no key is pinned, so {whose} checkpoint may be anybody's");
        findings.add(Code::SignatureUnchecked, None, text);
        return false;
    };
    match Checkpoint::open(note, key) {
        Ok(_) => true,
        Err(error) => {
            let code = match &error {
                CheckpointError::Origin { .. } => Code::OriginMismatch,
                _ => Code::SignatureInvalid,
            };
            let text = bulkhead_edge::fault::chain(&error, ": ");
            findings.add(code, None, format!("{whose} checkpoint does not count: {text}"));
            false
        }
    }
}

impl Anchor {
    fn judge(&self, read: &Read, findings: &mut Findings) {
        let signed = self.checkpoint.head;
        let (short, changed) = match self.kind {
            CheckpointKind::Stored => (Code::TailTruncated, Code::LinesChanged),
            CheckpointKind::Kept => (Code::RolledBack, Code::HistoryRewritten),
        };
        match self.found {
            Some(root) if root == signed.root => {}
            Some(_) => self.tell_change(changed, read, findings),
            None => {
                let gone = signed.size - read.tree.size();
                let text = format!("the log ends here; {gone} lines that the checkpoint signs are gone");
                findings.add(short, read.end.as_ref(), text);
            }
        }
    }

    /// Names the line where that can be known: when the noted hashes lead to the signed root, they are
    /// right, and the first line that differs from them is the first that was changed.
    fn tell_change(&self, code: Code, read: &Read, findings: &mut Findings) {
        let signed = self.checkpoint.head;
        let first = read.changed.as_ref().filter(|at| at.sequence < signed.size);
        match first.filter(|_| self.noted == Some(signed.root)) {
            Some(at) => findings.add(code, Some(at), "not the line that the checkpoint signs".to_owned()),
            None => {
                let size = signed.size;
                let text = format!("the first {size} lines are not those that the checkpoint signs");
                findings.add(code, None, text);
            }
        }
    }
}
