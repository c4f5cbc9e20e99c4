//! A call's way in: claim, plan, ask the policy, and then run, ask people, or refuse.

use std::panic::AssertUnwindSafe;

use bulkhead_edge::fault::chain;
use bulkhead_idempotency::Request;
use futures::FutureExt as _;
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::prepare::{Target, Unprepared};
use super::{Engine, EngineError, Patience};
use crate::execution::{Before, CallResult, Draft, Execution, Opening, RunContext, State, Step, Trace};
use crate::permit::{self, Clearance};
use crate::policy::{Caller, Decision, Verdict};
use crate::refusals;
use crate::store::{Claimed, Committed};
use crate::tool::ToolFault;

/// A call that has passed the edge.
#[derive(Debug, Clone)]
pub struct Command {
    /// Who calls.
    pub caller: Caller,
    /// Whether the caller sees all of its tenant, or only its own.
    pub sees_tenant: bool,
    /// Where it belongs.
    pub context: RunContext,
    /// The id of the call, for the log.
    pub call_id: String,
    /// What is asked for.
    pub work: Work,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Work {
    /// A call of a tool.
    Call {
        /// Its name.
        tool: String,
        /// Its arguments, as sent.
        arguments_json: String,
    },
    /// Taking an execution back.
    Undo {
        /// Which.
        of: Uuid,
        /// Also when the state has changed since.
        force: bool,
    },
}

/// What would happen, with nothing written.
#[derive(Debug)]
pub struct Preview {
    /// Never recorded; it has no plan when there is a fault.
    pub execution: Execution,
    /// Why there is no plan.
    pub fault: Option<ToolFault>,
}

impl Engine {
    /// Acts on a command once, whatever becomes of the caller, and answers with the execution as it is when
    /// it has settled or the patience is at an end.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn execute(
        &self,
        command: Command,
        request: Request,
        patience: Patience,
    ) -> Result<Execution, EngineError> {
        let (reply, answer) = oneshot::channel();
        let engine = self.clone();
        let asked = request.clone();
        let work = async move {
            let submitted = engine.submit(command, asked).await;
            if let Err(Err(error)) = reply.send(submitted) {
                tracing::warn!(error = chain(&error, ": "), "a call failed after its caller went away");
            }
        };
        self.0.parts.tasks.spawn("call", work.instrument(Span::current()));
        match tokio::time::timeout(patience.total(), answer).await {
            Ok(Ok(submitted)) => self.settled(submitted?.id, patience).await,
            Ok(Err(_closed)) => Err(EngineError::TaskLost),
            Err(_elapsed) => match self.journal().claim(&request).await? {
                Claimed::Seen(id) => self.recorded(id).await,
                Claimed::New => Err(EngineError::DeadlineExceeded),
            },
        }
    }

    /// Plans a command and asks the policy, and does nothing else.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn preview(&self, command: Command) -> Result<Preview, EngineError> {
        let target = self.target(&command).await?;
        let mut execution = open(Uuid::now_v7(), &command, &target);
        let fault = match self.prepare(&mut execution, &target).await {
            Ok(verdict) => match permit::clear(&verdict) {
                Clearance::Refused { may_plan: false } => Some(refusals::policy(&execution.tool, false)),
                _ => None,
            },
            Err(Unprepared::NotUndoable(fault)) => return Err(not_undoable(&execution, fault)),
            Err(Unprepared::Fault(fault) | Unprepared::Stale(fault)) => Some(fault),
        };
        self.journal().tell(self.0.events.dry_run(&execution, fault.as_ref())).await?;
        Ok(Preview { execution, fault })
    }

    async fn submit(&self, command: Command, request: Request) -> Result<Execution, EngineError> {
        let (id, known) = match self.journal().claim(&request).await? {
            Claimed::Seen(id) => (id, true),
            Claimed::New => (Uuid::now_v7(), false),
        };
        // Only what nobody is known to have been asked about is planned again; the rest is as it is.
        let settled = |known: &Execution| known.state != State::Planned;
        if known && let Some(known) = self.journal().find(id).await?.filter(settled) {
            return Ok(known);
        }
        let held = self.0.in_hand.wait_for(id).await;
        let target = self.target(&command).await?;
        let draft = if known {
            Draft::of(self.recorded(id).await?)
        } else {
            Draft { before: Before::Absent(request), execution: open(id, &command, &target) }
        };
        if known && settled(&draft.execution) {
            return Ok(draft.execution);
        }
        let submitted = self.advance(draft, &target).await;
        drop(held);
        // Whatever waits now, the resolver looks after.
        self.0.wake.notify_one();
        submitted
    }

    /// Plans, asks the policy, and acts on its word.
    async fn advance(&self, mut draft: Draft, target: &Target) -> Result<Execution, EngineError> {
        let recorded = draft.execution.plan_digest().map(str::to_owned);
        match self.prepare_guarded(&mut draft.execution, target).await? {
            Ok(verdict) => match permit::clear(&verdict) {
                Clearance::Permitted(permit) => self.permitted(draft, permit).await,
                Clearance::NeedsApproval(approvers) => {
                    self.gate(draft, recorded.as_deref(), &approvers).await
                }
                Clearance::Refused { may_plan } => {
                    let fault = refusals::policy(&draft.execution.tool, may_plan);
                    self.close(draft, Step::Refuse, fault).await
                }
            },
            Err(Unprepared::NotUndoable(fault)) if draft.is_new() => {
                Err(not_undoable(&draft.execution, fault))
            }
            Err(Unprepared::Stale(fault)) => self.close(draft, Step::GoStale, fault).await,
            Err(Unprepared::Fault(fault) | Unprepared::NotUndoable(fault)) => {
                self.close(draft, Step::Fail, fault).await
            }
        }
    }

    /// A tool that panics while it plans has written nothing: that ends the call, and not the service.
    async fn prepare_guarded(
        &self,
        execution: &mut Execution,
        target: &Target,
    ) -> Result<Result<Verdict, Unprepared>, EngineError> {
        let preparing = AssertUnwindSafe(self.prepare(execution, target)).catch_unwind();
        preparing.await.map_err(|_payload| {
            tracing::error!("a tool panicked while planning");
            EngineError::TaskLost
        })
    }

    async fn target(&self, command: &Command) -> Result<Target, EngineError> {
        match &command.work {
            Work::Call { arguments_json, .. } => Ok(Target::Call { arguments_json: arguments_json.clone() }),
            Work::Undo { of, force } => {
                let original = self.original(*of, &command.caller, command.sees_tenant).await?;
                Ok(Target::Undo { original: Box::new(original), force: *force })
            }
        }
    }

    /// Ends an execution that has had no effect, and tells the audit log.
    pub(super) async fn close(
        &self,
        draft: Draft,
        step: Step,
        fault: ToolFault,
    ) -> Result<Execution, EngineError> {
        let draft = draft.takes(step, bulkhead_edge::now())?.with_result(CallResult::Fault(fault));
        let event = self.0.events.outcome(&draft.execution, None);
        match self.journal().commit(draft, Some(event)).await? {
            Committed::Done { execution, .. } => Ok(*execution),
            Committed::Replayed(id) => self.recorded(id).await,
        }
    }
}

/// Whether a caller may be shown the plan: what may not even be planned is not shown either.
#[must_use]
pub fn may_show_plan(decision: &Decision) -> bool {
    !matches!(decision, Decision::Deny)
}

fn open(id: Uuid, command: &Command, target: &Target) -> Execution {
    let (tool, undo_of) = match (&command.work, target) {
        (Work::Call { tool, .. }, _) => (tool.clone(), None),
        (Work::Undo { of, .. }, Target::Undo { original, .. }) => (original.tool.clone(), Some(*of)),
        (Work::Undo { of, .. }, Target::Call { .. }) => (String::new(), Some(*of)),
    };
    let span = Span::current();
    let opening = Opening {
        caller: command.caller.clone(),
        context: command.context.clone(),
        tool,
        undo_of,
        trace: Trace {
            traceparent: bulkhead_telemetry::traceparent(&span),
            trace_id: bulkhead_telemetry::trace_id(&span),
        },
        call_id: command.call_id.clone(),
    };
    Execution::open(id, opening, bulkhead_edge::now())
}

fn not_undoable(execution: &Execution, fault: ToolFault) -> EngineError {
    EngineError::NotUndoable { id: execution.undo_of.unwrap_or(execution.id), why: fault.message }
}
