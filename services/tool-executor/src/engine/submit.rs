//! A call's way in: claim, plan, ask the policy, and then run, ask people, or refuse. Up to there it is the caller's,
//! and ends with the caller; from there on it is ours.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use bulkhead_edge::fault::chain;
use bulkhead_idempotency::Request;
use futures::FutureExt as _;
use tracing::Span;
use uuid::Uuid;

use super::prepare::{Target, Unprepared};
use super::{Engine, EngineError, Held, Patience};
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
    /// Acts on a command once, and answers with the execution as it is when it has settled or the patience is at an
    /// end. A caller that goes away while the call is planned has asked for nothing; what has begun to be recorded is
    /// carried through without it.
    ///
    /// # Errors
    /// [`EngineError`].
    pub async fn execute(
        &self,
        command: Command,
        request: Request,
        patience: Patience,
    ) -> Result<Execution, EngineError> {
        match tokio::time::timeout(patience.total(), self.submit(command, request.clone())).await {
            Ok(submitted) => self.settled(submitted?.id, patience).await,
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

    /// Plans in the caller's own time, and hands over what is to be recorded.
    async fn submit(&self, command: Command, request: Request) -> Result<Execution, EngineError> {
        let id = match self.journal().claim(&request).await? {
            Claimed::Seen(id) => return self.resume(id, command).await,
            Claimed::New => Uuid::now_v7(),
        };
        let held = self.0.in_hand.wait_for(id).await;
        let target = self.target(&command).await?;
        let mut execution = open(id, &command, &target);
        let prepared = self.prepare_guarded(&mut execution, &target).await?;
        let draft = Draft { before: Before::Absent(request), execution };
        let engine = self.clone();
        self.see_through(held, async move { engine.decided(draft, None, prepared).await }).await
    }

    /// Takes up what was recorded under the same id. Only what nobody is known to have been asked about is planned
    /// again; the rest is as it is.
    async fn resume(&self, id: Uuid, command: Command) -> Result<Execution, EngineError> {
        let settled = |known: &Execution| known.state != State::Planned;
        if let Some(known) = self.journal().find(id).await?.filter(settled) {
            return Ok(known);
        }
        let target = self.target(&command).await?;
        let held = self.0.in_hand.wait_for(id).await;
        let engine = self.clone();
        let resumed = async move {
            let mut draft = Draft::of(engine.recorded(id).await?);
            if settled(&draft.execution) {
                return Ok(draft.execution);
            }
            let recorded = draft.execution.plan_digest().map(str::to_owned);
            let prepared = engine.prepare_guarded(&mut draft.execution, &target).await?;
            engine.decided(draft, recorded.as_deref(), prepared).await
        };
        self.see_through(held, resumed).await
    }

    /// The point of no return: this is finished and recorded, whatever becomes of the caller.
    async fn see_through(
        &self,
        held: Held,
        work: impl Future<Output = Result<Execution, EngineError>> + Send + 'static,
    ) -> Result<Execution, EngineError> {
        let engine = self.clone();
        let carried = async move {
            let submitted = work.await;
            drop(held);
            // Whatever waits now, the resolver looks after.
            engine.0.wake.notify_one();
            submitted
        };
        let untold = |submitted: Result<Execution, EngineError>| {
            if let Err(error) = submitted {
                tracing::warn!(error = chain(&error, ": "), "a call failed after its caller went away");
            }
        };
        let seen = self.0.parts.tasks.see_through("call", carried, untold).await;
        seen.map_err(|_lost| EngineError::TaskLost)?
    }

    /// Acts on the policy's word about a plan, or ends what could not be planned. `recorded` is the digest of the plan
    /// that stands in the journal already.
    async fn decided(
        &self,
        draft: Draft,
        recorded: Option<&str>,
        prepared: Result<Verdict, Unprepared>,
    ) -> Result<Execution, EngineError> {
        match prepared {
            Ok(verdict) => match permit::clear(&verdict) {
                Clearance::Permitted(permit) => self.permitted(draft, permit).await,
                Clearance::NeedsApproval(approvers) => self.gate(draft, recorded, &approvers).await,
                Clearance::Refused { may_plan } => {
                    let fault = refusals::policy(&draft.execution.tool, may_plan);
                    self.close(draft, Step::Refuse, fault).await
                }
            },
            Err(Unprepared::NotUndoable(fault)) if draft.is_new() => match self.meanwhile(&draft).await? {
                Some(recorded) => Ok(recorded),
                None => Err(not_undoable(&draft.execution, fault)),
            },
            Err(Unprepared::Stale(fault)) => self.close(draft, Step::GoStale, fault).await,
            Err(Unprepared::Fault(fault) | Unprepared::NotUndoable(fault)) => {
                self.close(draft, Step::Fail, fault).await
            }
        }
    }

    /// What the same request has come to in another's hands while this one was planned: its undo may be the reason why
    /// nothing is left to take back.
    async fn meanwhile(&self, draft: &Draft) -> Result<Option<Execution>, EngineError> {
        let Before::Absent(request) = &draft.before else { return Ok(None) };
        match self.journal().claim(request).await? {
            Claimed::Seen(id) => self.recorded(id).await.map(Some),
            Claimed::New => Ok(None),
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
