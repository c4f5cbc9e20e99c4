//! One tool call and what may become of it.

mod state;

use bulkhead_edge::Principal;
use bulkhead_idempotency::Request;
use bulkhead_proto::common::v1 as common;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::plan::Plan;
use crate::policy::{Caller, Decision, UndoFacts};
use crate::tool::{Output, Planned, SensitivityLabel, ToolFault};

pub use state::{Happened, IllegalTransition, State, Step, transition};

/// One tool call, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Execution {
    /// A UUID of version 7, so that ids sort by age.
    pub id: Uuid,
    /// Where it stands.
    pub state: State,
    /// Name of the tool; of an undo, that of what is taken back.
    pub tool: String,
    /// Who called, with the roles held then.
    pub caller: Caller,
    /// Where in an agent's work it belongs.
    pub context: RunContext,
    /// What was asked for; null when it was not acceptable JSON.
    pub arguments: Value,
    /// What would happen; none when it could not be planned.
    pub prepared: Option<Prepared>,
    /// How it ended; present in every final state.
    pub result: Option<CallResult>,
    /// The approval that was asked for.
    pub approval_id: Option<String>,
    /// The execution that this one takes back.
    pub undo_of: Option<Uuid>,
    /// The trace that asked.
    pub trace: Trace,
    /// The id of the call that caused it, for the log.
    pub call_id: String,
    /// Rises with every change of any execution of the tenant; 0 before the first commit.
    pub revision: u64,
    /// When it was recorded.
    pub create_time: Timestamp,
    /// When it last changed.
    pub update_time: Timestamp,
}

/// A plan and what the policy said of it when it was made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prepared {
    /// What the tool would do.
    pub planned: Planned,
    /// The same as the bytes that are hashed and shown.
    pub plan: Plan,
    /// The policy's word at that time.
    pub decision: Decision,
    /// The policies that led to it.
    pub policy_ids: Vec<String>,
    /// On an undo: what the policy was told of it.
    pub undo: Option<UndoFacts>,
}

/// Where in an agent's work a call belongs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunContext {
    /// The agent's session, or empty.
    pub session_id: String,
    /// The job run, or empty.
    pub run_id: String,
    /// The agent loop's counter, or 0.
    pub step: u32,
    /// What the caller says is present.
    pub sensitivity: Vec<SensitivityLabel>,
}

impl From<&RunContext> for common::RunContext {
    fn from(context: &RunContext) -> Self {
        let sensitivity = context.sensitivity.iter().map(|label| common::Sensitivity::from(*label).into());
        Self {
            session_id: context.session_id.clone(),
            run_id: context.run_id.clone(),
            step: context.step,
            dry_run: false,
            sensitivity: sensitivity.collect(),
        }
    }
}

/// The trace that asked, kept for what runs after an approval or a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// W3C `traceparent`; empty outside any trace.
    pub traceparent: String,
    /// 32 hex digits; empty outside any trace.
    pub trace_id: String,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallResult {
    /// It happened.
    Done(Output),
    /// It did not, or nobody knows; the state says which.
    Fault(ToolFault),
}

/// Everything about a call that is known before it is planned.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Who calls.
    pub caller: Caller,
    /// Where it belongs.
    pub context: RunContext,
    /// Name of the tool.
    pub tool: String,
    /// What it takes back.
    pub undo_of: Option<Uuid>,
    /// The trace that asks.
    pub trace: Trace,
    /// The id of the call, for the log.
    pub call_id: String,
}

impl Execution {
    /// An execution that nobody has recorded yet.
    #[must_use]
    pub fn open(id: Uuid, opening: Opening, now: Timestamp) -> Self {
        Self {
            id,
            state: State::Planned,
            tool: opening.tool,
            caller: opening.caller,
            context: opening.context,
            arguments: Value::Null,
            prepared: None,
            result: None,
            approval_id: None,
            undo_of: opening.undo_of,
            trace: opening.trace,
            call_id: opening.call_id,
            revision: 0,
            create_time: now,
            update_time: now,
        }
    }

    /// Who called.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.caller.principal
    }

    /// Digest of its plan.
    #[must_use]
    pub fn plan_digest(&self) -> Option<&str> {
        self.prepared.as_ref().map(|prepared| prepared.plan.digest())
    }

    /// The id under which its approval is asked for: the same after a crash, another for another plan.
    #[must_use]
    pub fn approval_request_id(&self) -> Uuid {
        let digest = self.plan_digest().unwrap_or_default();
        Uuid::new_v5(&self.id, digest.as_bytes())
    }
}

/// An execution on its way into the journal, with what must still be so for it to get there.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the journal must hold now.
    pub before: Before,
    /// What it shall hold then.
    pub execution: Execution,
}

/// What the journal must hold for a change to be made.
#[derive(Debug, Clone)]
pub enum Before {
    /// Nothing under this request.
    Absent(Request),
    /// The execution, unchanged since it was read.
    Is {
        /// Its state.
        state: State,
        /// Its revision.
        revision: u64,
    },
}

impl Before {
    /// Whether nothing is recorded yet.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

impl Draft {
    /// The next change of a recorded execution.
    #[must_use]
    pub fn of(execution: Execution) -> Self {
        let before = Before::Is { state: execution.state, revision: execution.revision };
        Self { before, execution }
    }

    /// Whether nothing is recorded yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.before.is_absent()
    }

    /// Takes a step from what the journal holds.
    ///
    /// # Errors
    /// [`IllegalTransition`] when that step may not follow.
    pub fn takes(mut self, step: Step, now: Timestamp) -> Result<Self, IllegalTransition> {
        let from = match &self.before {
            Before::Absent(_) => None,
            Before::Is { state, .. } => Some(*state),
        };
        self.execution.state = transition(from, step)?;
        self.execution.update_time = now.max(self.execution.create_time);
        Ok(self)
    }

    /// Adds how it ended.
    #[must_use]
    pub fn with_result(mut self, result: CallResult) -> Self {
        self.execution.result = Some(result);
        self
    }
}
