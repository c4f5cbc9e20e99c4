//! What every tool is: five functions, of which only two write.
//!
//! A tool never decides whether it may run; that is the permit's part. It says what it would do, does
//! exactly that, takes it back, and can tell after a crash whether it had done it.

use async_trait::async_trait;
use bulkhead_proto::common::v1::Sensitivity;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// A tool. Implementations do their blocking work off the async threads.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What models and people need to know of it.
    fn describe(&self) -> &ToolSpec;

    /// Arguments as they may stand in the audit log: paths, sizes and hashes, never content.
    fn summarise(&self, arguments: &Value) -> Value;

    /// Runs the full logic without writing.
    async fn plan(&self, arguments: &Value) -> Result<Planned, ToolFault>;

    /// Does what was planned, checking the preconditions inside the act. `execution_id` names the undo copy.
    async fn apply(&self, execution_id: Uuid, arguments: &Value, planned: &Planned) -> Outcome;

    /// Plans taking back what `planned` did as `execution_id`. Preconditions say that nothing has changed
    /// since; with `force` they say what is there now, and the effects show what would be lost.
    async fn plan_undo(
        &self,
        execution_id: Uuid,
        planned: &Planned,
        force: bool,
    ) -> Result<Planned, ToolFault>;

    /// Takes `execution_id` back as `undo_id`, as `undo_plan` says.
    async fn undo(
        &self,
        undo_id: Uuid,
        execution_id: Uuid,
        planned: &Planned,
        undo_plan: &Planned,
    ) -> Outcome;

    /// After a crash: whether the apply (or, with `undoes`, the undo) of `execution_id` happened. Writes
    /// nothing except to finish or clear away its own half-done work.
    async fn reconcile(
        &self,
        execution_id: Uuid,
        arguments: &Value,
        planned: &Planned,
        undoes: Option<Uuid>,
    ) -> Outcome;
}

/// What models and people need to know of a tool.
#[derive(Debug, Clone)]
pub struct ToolSpec {
    /// Dotted lower case.
    pub name: &'static str,
    /// For the model: what it does and when to use it.
    pub description: &'static str,
    /// JSON Schema (draft 2020-12) of the arguments.
    pub input_schema: Value,
    /// The worst that a call can do.
    pub reversibility: Reversibility,
    /// Whether results hold content from outside.
    pub returns_untrusted: bool,
}

/// Whether a call can be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reversibility {
    /// It changes nothing.
    ReadOnly,
    /// It can be undone while nobody has changed the state since.
    Reversible,
    /// It cannot be undone, and is therefore gated.
    Irreversible,
}

/// What a call would do, decided without writing. Stored with the intent; effects and preconditions are
/// part of the plan's digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    /// Every effect, in the order in which it would happen. Read-only calls say what they read.
    pub effects: Vec<Effect>,
    /// What must still be so when it happens.
    pub preconditions: Vec<Precondition>,
    /// Whether this very call can be taken back.
    pub reversibility: Reversibility,
    /// What the previews are known to contain. Not part of the digest: rules about labels may change
    /// without changing what would happen.
    #[serde(default)]
    pub sensitivity: Vec<SensitivityLabel>,
}

/// What one call would do to one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Effect {
    /// What it does.
    pub kind: EffectKind,
    /// To what: for files `root/path`.
    pub target: String,
    /// Where the target goes; none: it stays where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What a person is shown: a unified diff for text, a line with sizes and hashes otherwise.
    pub preview: String,
    /// SHA-256 of the content before; none: there was none.
    pub before_sha256: Option<String>,
    /// SHA-256 of the content after; none: there will be none.
    pub after_sha256: Option<String>,
}

/// The effects that this executor knows. Policies count them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EffectKind {
    /// A folder is listed.
    #[serde(rename = "file.list")]
    FileList,
    /// A file is read.
    #[serde(rename = "file.read")]
    FileRead,
    /// A file appears where none was.
    #[serde(rename = "file.create")]
    FileCreate,
    /// Something is added to the end of a file; what was there stays.
    #[serde(rename = "file.append")]
    FileAppend,
    /// A file's content is replaced.
    #[serde(rename = "file.overwrite")]
    FileOverwrite,
    /// A file gets another name, at which nothing was.
    #[serde(rename = "file.move")]
    FileMove,
    /// A file goes away.
    #[serde(rename = "file.delete")]
    FileDelete,
}

/// What must still be so when the effect happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Precondition {
    /// The file has this content.
    #[serde(rename = "file.sha256")]
    FileSha256 {
        /// `root/path`.
        target: String,
        /// 64 hex digits.
        sha256: String,
    },
    /// Nothing has this name.
    #[serde(rename = "file.absent")]
    FileAbsent {
        /// `root/path`.
        target: String,
    },
}

/// How an apply, an undo or a reconciliation ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It happened.
    Succeeded(Output),
    /// It certainly did not happen, or was certainly undone.
    Failed(ToolFault),
    /// A precondition does not hold any more; nothing happened.
    Stale(ToolFault),
    /// Nobody knows.
    Unknown(ToolFault),
}

/// What the agent reads when it worked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Text for the model.
    pub content: String,
    /// The same for programs: a JSON object.
    pub structured: Value,
    /// What the content is known to contain.
    #[serde(default)]
    pub sensitivity: Vec<SensitivityLabel>,
    /// Whether the content came from outside.
    pub untrusted: bool,
}

/// A sensitivity category in stored JSON and in configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensitivityLabel {
    /// Keys, passwords, tokens.
    Credentials,
    /// Account numbers, balances, invoices.
    Financial,
    /// Anything about somebody's health.
    Health,
    /// Plans that the owner has not made public.
    PrivateStrategy,
    /// Data that identifies a living person.
    PersonalData,
}

impl SensitivityLabel {
    /// Every category.
    pub const ALL: [Self; 5] =
        [Self::Credentials, Self::Financial, Self::Health, Self::PrivateStrategy, Self::PersonalData];

    /// As stored JSON and the configuration write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Financial => "financial",
            Self::Health => "health",
            Self::PrivateStrategy => "private_strategy",
            Self::PersonalData => "personal_data",
        }
    }
}

impl From<SensitivityLabel> for Sensitivity {
    fn from(label: SensitivityLabel) -> Self {
        match label {
            SensitivityLabel::Credentials => Self::Credentials,
            SensitivityLabel::Financial => Self::Financial,
            SensitivityLabel::Health => Self::Health,
            SensitivityLabel::PrivateStrategy => Self::PrivateStrategy,
            SensitivityLabel::PersonalData => Self::PersonalData,
        }
    }
}

/// Why a tool did not do what it was asked, written for a model to act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolFault {
    /// Stable and machine-readable.
    pub kind: ToolFaultKind,
    /// What failed, on what, why, and what to do next.
    pub message: String,
    /// The shortest useful wait, where waiting helps.
    #[serde(default)]
    pub retry_after: Option<Duration>,
}

/// Kinds of failure (docs/tool-errors.md has a row for each).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ToolFaultKind {
    /// No tool has that name.
    UnknownTool,
    /// The arguments are not what the schema asks for.
    InvalidArguments,
    /// The path leaves its root, or names what no tool may touch.
    PathNotAllowed,
    /// There is no such thing.
    NotFound,
    /// Something is there already.
    AlreadyExists,
    /// It is a folder, a device, or something else than what the tool works on.
    WrongFileType,
    /// The content is larger than the tool takes.
    TooLarge,
    /// The content is not text.
    NotText,
    /// The operating system does not allow it.
    PermissionDenied,
    /// The world changed since the plan.
    Stale,
    /// Nothing is left to take back, or the copy is gone.
    NotUndoable,
    /// The policy forbids it.
    PolicyDenied,
    /// A person said no.
    ApprovalDenied,
    /// Nobody decided in time.
    ApprovalExpired,
    /// The disk is full, or the device failed.
    IoError,
    /// It cannot be undone, and the audit service did not confirm it first.
    AuditUnavailable,
    /// The outcome is not known.
    OutcomeUnknown,
}

impl ToolFaultKind {
    /// As lines of the audit log and spans say it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTool => "UNKNOWN_TOOL",
            Self::InvalidArguments => "INVALID_ARGUMENTS",
            Self::PathNotAllowed => "PATH_NOT_ALLOWED",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::WrongFileType => "WRONG_FILE_TYPE",
            Self::TooLarge => "TOO_LARGE",
            Self::NotText => "NOT_TEXT",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Stale => "STALE",
            Self::NotUndoable => "NOT_UNDOABLE",
            Self::PolicyDenied => "POLICY_DENIED",
            Self::ApprovalDenied => "APPROVAL_DENIED",
            Self::ApprovalExpired => "APPROVAL_EXPIRED",
            Self::IoError => "IO_ERROR",
            Self::AuditUnavailable => "AUDIT_UNAVAILABLE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
        }
    }

    /// Whether the same call may succeed later without any change.
    #[must_use]
    pub fn retryable(self) -> bool {
        matches!(self, Self::IoError | Self::AuditUnavailable)
    }
}
