//! From what was asked to a plan and the policy's word on it. Writes nothing.

use serde_json::Value;
use uuid::Uuid;

use super::{Engine, EngineError, spans};
use crate::execution::{Execution, Prepared, State};
use crate::plan::{Plan, Subject};
use crate::policy::{Caller, Question, UndoFacts, Verdict};
use crate::refusals;
use crate::tool::{Planned, Reversibility, ToolFault, ToolFaultKind};
use crate::toolbox::Entry;

/// What is asked for, with what an undo takes back already read.
#[derive(Debug)]
pub(super) enum Target {
    /// A call of a tool.
    Call {
        /// As sent.
        arguments_json: String,
    },
    /// Taking something back.
    Undo {
        /// What.
        original: Box<Execution>,
        /// Also when it changed since.
        force: bool,
    },
}

/// Why there is no plan.
#[derive(Debug)]
pub(super) enum Unprepared {
    /// The tool cannot do it.
    Fault(ToolFault),
    /// What was to be taken back is not as it was left.
    Stale(ToolFault),
    /// There is nothing to take back.
    NotUndoable(ToolFault),
}

impl From<ToolFault> for Unprepared {
    fn from(fault: ToolFault) -> Self {
        match fault.kind {
            ToolFaultKind::Stale => Self::Stale(fault),
            ToolFaultKind::NotUndoable => Self::NotUndoable(fault),
            _ => Self::Fault(fault),
        }
    }
}

/// A draft of everything but the policy's word.
struct Laid {
    planned: Planned,
    undo: Option<UndoFacts>,
}

impl Engine {
    /// Plans, fills in the execution, and asks the policy.
    pub(super) async fn prepare(
        &self,
        execution: &mut Execution,
        target: &Target,
    ) -> Result<Verdict, Unprepared> {
        let entry = self.toolbox().find(&execution.tool)?;
        let laid = match target {
            Target::Call { arguments_json } => {
                execution.arguments = entry.read_arguments(arguments_json)?;
                let planned = entry.tool.plan(&execution.arguments).await?;
                Laid { planned, undo: None }
            }
            Target::Undo { original, force } => {
                execution.arguments = original.arguments.clone();
                lay_undo(entry, &execution.caller, original, *force).await?
            }
        };
        let plan = Plan::seal(subject(execution, entry), &laid.planned).map_err(ToolFault::from)?;
        let question = Question {
            caller: &execution.caller,
            tool: &execution.tool,
            plan: &plan,
            planned: &laid.planned,
            undo: laid.undo,
        };
        let span = spans::policy(execution);
        let verdict = span.in_scope(|| self.0.parts.policy.decide(&question));
        spans::decided(&span, &verdict);
        if !verdict.problems().is_empty() {
            tracing::error!(tool = execution.tool, problems = ?verdict.problems(), "the policy could not be evaluated; denied");
        }
        execution.prepared = Some(Prepared {
            planned: laid.planned,
            plan,
            decision: verdict.decision().clone(),
            policy_ids: verdict.policy_ids().to_vec(),
            undo: laid.undo,
        });
        Ok(verdict)
    }

    /// Whether what would run now is, byte for byte, what the execution's digest stands for.
    pub(super) fn still_as_planned(
        &self,
        execution: &Execution,
        prepared: &Prepared,
    ) -> Result<(), ToolFault> {
        let entry = self.toolbox().find(&execution.tool)?;
        let now = Plan::seal(subject(execution, entry), &prepared.planned)?;
        if now == prepared.plan { Ok(()) } else { Err(refusals::plan_changed(&execution.tool)) }
    }

    /// Reads what an undo takes back, as far as this caller may see it.
    pub(super) async fn original(
        &self,
        of: Uuid,
        caller: &Caller,
        sees_tenant: bool,
    ) -> Result<Execution, EngineError> {
        let original = self.journal().find(of).await?;
        original.filter(|found| may_see(found, caller, sees_tenant)).ok_or(EngineError::NotFound { id: of })
    }
}

/// Agents see their own executions, operators and auditors those of their tenant.
#[must_use]
pub(super) fn may_see(execution: &Execution, caller: &Caller, sees_tenant: bool) -> bool {
    execution.principal().tenant == caller.principal.tenant && (sees_tenant || acted(execution, caller))
}

fn acted(execution: &Execution, caller: &Caller) -> bool {
    let (actor, caller) = (execution.principal(), &caller.principal);
    actor.tenant == caller.tenant && actor.kind == caller.kind && actor.name == caller.name
}

async fn lay_undo(
    entry: &Entry,
    caller: &Caller,
    original: &Execution,
    force: bool,
) -> Result<Laid, Unprepared> {
    let done = undoable(original).map_err(|why| refusals::fault(ToolFaultKind::NotUndoable, why))?;
    let unforced = entry.tool.plan_undo(original.id, &done.planned, false).await;
    let unchanged = unforced.is_ok();
    let planned = match unforced {
        Err(fault) if force && fault.kind == ToolFaultKind::Stale => {
            entry.tool.plan_undo(original.id, &done.planned, true).await?
        }
        other => other?,
    };
    let facts = UndoFacts { own: acted(original, caller), unchanged, of_undo: original.undo_of.is_some() };
    Ok(Laid { planned, undo: Some(facts) })
}

fn undoable(original: &Execution) -> Result<&Prepared, String> {
    let state = original.state.as_str();
    let Some(prepared) = &original.prepared else {
        return Err(format!("it is {state} and did nothing"));
    };
    if original.state != State::Succeeded {
        return Err(format!("it is {state}; only SUCCEEDED calls can be taken back"));
    }
    match prepared.planned.reversibility {
        Reversibility::Reversible => Ok(prepared),
        Reversibility::ReadOnly => Err("it changed nothing".to_owned()),
        Reversibility::Irreversible => Err("it is irreversible".to_owned()),
    }
}

fn subject<'a>(execution: &'a Execution, entry: &'a Entry) -> Subject<'a> {
    let arguments: &Value = &execution.arguments;
    Subject {
        principal: execution.principal(),
        session: &execution.context.session_id,
        tool: &execution.tool,
        tool_schema_digest: &entry.schema_digest,
        arguments,
        undo_of: execution.undo_of,
    }
}
