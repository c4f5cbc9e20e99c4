//! What the agents were told, and what the person decided. Plain data: the invariants judge it.

use std::collections::BTreeSet;

use bulkhead_proto::tools::v1::ExecutionState;
use serde::Serialize;

use super::plan::acts::{Deed, Verdict};

/// Where a tool call stands, for whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Standing {
    /// Nothing conclusive was ever heard.
    Unheard,
    /// It waits or runs.
    Open,
    /// Nobody knows whether it happened.
    Unknown,
    /// It happened.
    Succeeded,
    /// It happened and was taken back.
    Undone,
    /// It did not happen: failed, stale, denied, expired, refused, cancelled.
    NotDone,
}

impl Standing {
    /// What a state of the contract means.
    pub(super) fn of(state: ExecutionState) -> Self {
        use ExecutionState as S;
        match state {
            S::Unspecified => Self::Unheard,
            S::Planned | S::AwaitingApproval | S::Running => Self::Open,
            S::Unknown => Self::Unknown,
            S::Succeeded => Self::Succeeded,
            S::Undone => Self::Undone,
            S::Failed | S::Refused | S::Denied | S::Expired | S::Stale | S::Cancelled => Self::NotDone,
        }
    }

    /// Whether it will stay so.
    pub(super) fn is_settled(self) -> bool {
        matches!(self, Self::Succeeded | Self::Undone | Self::NotDone)
    }
}

/// One request, however often it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    /// The same in every copy of it.
    pub(super) request_id: String,
    /// What the answers named; one, if the request is one.
    pub(super) execution_ids: BTreeSet<String>,
    /// The last thing heard.
    pub(super) standing: Standing,
    /// The same in the words of the contract, such as `FAILED FILE_NOT_FOUND`.
    pub(super) words: String,
    /// Different endings that copies of it were told. One, if the request is one.
    pub(super) endings: BTreeSet<Standing>,
}

impl Call {
    pub(super) fn new(request_id: String) -> Self {
        Self {
            request_id,
            execution_ids: BTreeSet::new(),
            standing: Standing::Unheard,
            words: String::new(),
            endings: BTreeSet::new(),
        }
    }

    /// Something was heard.
    pub(super) fn heard(&mut self, execution_id: &str, standing: Standing, words: String) {
        self.words = words;
        if !execution_id.is_empty() {
            self.execution_ids.insert(execution_id.to_owned());
        }
        self.standing = standing;
        if standing.is_settled() {
            self.endings.insert(standing);
        }
    }

    /// What another copy of the same request was told.
    pub(super) fn join(&mut self, copy: Self) {
        self.execution_ids.extend(copy.execution_ids);
        self.endings.extend(copy.endings);
        if copy.standing.is_settled() || !self.standing.is_settled() {
            (self.standing, self.words) = (copy.standing, copy.words);
        }
    }
}

/// What one act of an agent was to do to the world, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// What.
    pub(super) deed: Deed,
    /// The file, below the workspace. Of an append the ledger; of a move the token's name in `inbox`.
    pub(super) path: String,
    /// What the file held before, or the line that was added.
    pub(super) content: String,
    /// Of a twin two, otherwise one.
    pub(super) calls: Vec<Call>,
    /// The call that took it back, if it was tried.
    pub(super) undo: Option<Call>,
}

impl Claim {
    /// Every call of it.
    pub(super) fn all_calls(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().chain(self.undo.as_ref())
    }

    /// How many of its calls happened, whether or not that was taken back.
    pub(super) fn times_done(&self) -> usize {
        self.calls
            .iter()
            .filter(|call| matches!(call.standing, Standing::Succeeded | Standing::Undone))
            .count()
    }

    /// Whether it happened and was certainly taken back.
    pub(super) fn is_undone(&self) -> bool {
        self.undo.as_ref().is_some_and(|undo| undo.standing == Standing::Succeeded)
    }

    /// Whether every call has ended.
    pub(super) fn is_settled(&self) -> bool {
        self.all_calls().all(|call| call.standing.is_settled())
    }
}

/// A question to a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Of the request.
    pub(super) request_id: String,
    /// Whether an answer came back.
    pub(super) answered: bool,
}

/// What the person did about one approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    /// Which.
    pub(super) approval_id: String,
    /// The file that it is about.
    pub(super) path: String,
    /// What was sent.
    pub(super) verdict: Verdict,
    /// What was shown had what somebody else wrote to the file.
    pub(super) saw_change: bool,
    /// Whether the approval service said that it counts.
    pub(super) counted: bool,
}
