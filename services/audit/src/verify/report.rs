//! What the verifier says, for programs and for people.

use std::fmt;

use serde::Serialize;

use super::Read;
use crate::log::lines::RawLine;

/// Findings that are listed; one torn file can make any number of them.
const LISTED_MAX: usize = 200;

/// What the verifier came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// True: nothing is wrong. See `checkpoints` for what that was held against.
    pub verified: bool,
    /// Lines in the log.
    pub tree_size: u64,
    /// Root of the tree over them, in base64.
    pub root_hash: String,
    /// Daily files.
    pub file_count: usize,
    /// The checkpoints that the log was held against.
    pub checkpoints: Vec<CheckpointReport>,
    /// What is wrong, in the order of the log.
    pub findings: Vec<Finding>,
    /// Further findings that are not listed.
    pub findings_omitted: u64,
    /// What is not wrong and still worth knowing.
    pub notes: Vec<Finding>,
}

/// A checkpoint and how it was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointReport {
    /// Whose.
    pub kind: CheckpointKind,
    /// The log's name.
    pub origin: String,
    /// Lines that it signs.
    pub tree_size: u64,
    /// Whether its signature was verified under the pinned key.
    pub signature_verified: bool,
    /// Whether the log begins with exactly the lines that it signs.
    pub matches: bool,
}

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// In the folder of the log.
    Stored,
    /// Kept elsewhere, by whoever verifies.
    Kept,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable, for programs.
    pub code: FindingCode,
    /// Name of the daily file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line in the file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// For a person.
    pub message: String,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingCode {
    /// A line that is no entry, or not in the form that the service writes.
    MalformedLine,
    /// A line in the middle of the log has no end.
    TornLine,
    /// The sequence jumps ahead: a line is gone.
    LineMissing,
    /// The sequence steps back: a line stands in another place.
    LineMisplaced,
    /// A line in the file of another day.
    WrongDay,
    /// A line that was logged before the one in front of it.
    TimeReversed,
    /// An event id that stands in the log already.
    DuplicateEvent,
    /// A folder, a link or a pipe under the name of a day.
    NotAFile,
    /// There is no checkpoint in the folder.
    CheckpointMissing,
    /// The checkpoint in the folder is none.
    CheckpointMalformed,
    /// A checkpoint is not signed by the pinned key.
    SignatureInvalid,
    /// Two checkpoints belong to two logs.
    OriginMismatch,
    /// Fewer lines than the folder's checkpoint signs.
    TailTruncated,
    /// Other lines than the folder's checkpoint signs.
    LinesChanged,
    /// Fewer lines than the kept checkpoint signs.
    RolledBack,
    /// Other lines than the kept checkpoint signs.
    HistoryRewritten,
    /// An effect began and its outcome is nowhere.
    OutcomeMissing,
    /// A gated effect began and nobody approved it.
    ApprovalMissing,
    /// What was approved is not what began.
    ApprovalMismatch,
    /// An effect began after its approval had run out.
    ApprovalExpired,
    /// Two effects rest on one approval.
    ApprovalReused,
    /// An effect for which a person was asked began without that person's approval.
    ApprovalBypassed,
    /// An approval was settled again.
    SettledTwice,
    /// A decision without the request that says what was shown.
    RequestMissing,
    /// A line of a gated story does not name its plan.
    DigestMissing,
    /// An effect has an outcome and no beginning.
    IntentMissing,
    /// An effect began again.
    IntentRepeated,
    /// An event from another service than the one whose it is.
    ForeignSource,
    /// Note: the last line has no end.
    TornTail,
    /// Note: an effect that may still be going on.
    OpenIntent,
    /// Note: an approval that may still be on its way to the log.
    ApprovalAwaited,
    /// Note: no key was pinned.
    SignatureUnchecked,
    /// Note: lines that no checkpoint vouches for yet.
    UncheckedTail,
    /// Note: a file that is not part of the log.
    StrayFile,
}

impl FindingCode {
    /// Whether it is only worth knowing.
    fn is_note(self) -> bool {
        matches!(
            self,
            Self::TornTail
                | Self::OpenIntent
                | Self::ApprovalAwaited
                | Self::SignatureUnchecked
                | Self::UncheckedTail
                | Self::StrayFile
        )
    }
}

impl fmt::Display for FindingCode {
    /// As in the JSON of the report.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(formatter)
    }
}

/// A line's place, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) sequence: u64,
}

impl Where {
    pub(super) fn of(line: &RawLine, sequence: u64) -> Self {
        let name = line.path.file_name().unwrap_or(line.path.as_os_str());
        Self { file: name.to_string_lossy().into_owned(), line: line.number, sequence }
    }
}

impl fmt::Display for Where {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} line {}", self.file, self.line)
    }
}

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Findings {
    damage: Vec<Finding>,
    notes: Vec<Finding>,
    omitted: u64,
}

impl Findings {
    pub(super) fn add(&mut self, code: FindingCode, at: Option<&Where>, message: String) {
        let list = if code.is_note() { &mut self.notes } else { &mut self.damage };
        if list.len() < LISTED_MAX {
            let (file, line) = (at.map(|at| at.file.clone()), at.map(|at| at.line));
            list.push(Finding { code, file, line, message });
        } else if !code.is_note() {
            self.omitted += 1;
        }
    }
}

#[cfg(test)]
impl Findings {
    /// The codes of what is wrong, and of what is only worth knowing.
    pub(super) fn codes(&self) -> (Vec<FindingCode>, Vec<FindingCode>) {
        let codes = |list: &[Finding]| list.iter().map(|finding| finding.code).collect();
        (codes(&self.damage), codes(&self.notes))
    }
}

impl VerifyReport {
    pub(super) fn new(read: &Read, checkpoints: Vec<CheckpointReport>, findings: Findings) -> Self {
        Self {
            verified: findings.damage.is_empty(),
            tree_size: read.tree.size(),
            root_hash: read.tree.root().to_string(),
            file_count: read.files,
            checkpoints,
            findings: findings.damage,
            findings_omitted: findings.omitted,
            notes: findings.notes,
        }
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.verified { "verified" } else { "NOT verified" };
        writeln!(formatter, "{verdict}: {} lines in {} files", self.tree_size, self.file_count)?;
        writeln!(formatter, "root hash: {}", self.root_hash)?;
        for checkpoint in &self.checkpoints {
            writeln!(formatter, "{checkpoint}")?;
        }
        for finding in &self.findings {
            writeln!(formatter, "found: {finding}")?;
        }
        if self.findings_omitted > 0 {
            writeln!(formatter, "found: {} more", self.findings_omitted)?;
        }
        self.notes.iter().try_for_each(|note| writeln!(formatter, "note: {note}"))
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CheckpointKind::Stored => "stored",
            CheckpointKind::Kept => "kept",
        };
        let signature = if self.signature_verified { "signature verified" } else { "signature not verified" };
        let lines =
            if self.matches { "the log begins with them" } else { "the log does NOT begin with them" };
        let Self { origin, tree_size, .. } = self;
        write!(formatter, "{kind} checkpoint of {origin}: {tree_size} lines, {signature}, {lines}")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(formatter, "{file} line {line}: {}", self.message),
            _ => formatter.write_str(&self.message),
        }
    }
}
