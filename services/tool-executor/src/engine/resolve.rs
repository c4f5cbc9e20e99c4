//! Takes up what people have decided, whoever still waits for it.

use std::time::Duration;

use bulkhead_edge::fault::chain;
use jiff::Timestamp;
use tracing::{Instrument as _, Span};

use super::{Engine, EngineError, Held, spans};
use crate::approvals::{Approval, ApprovalError, Ruling};
use crate::execution::{Draft, Execution, Step};
use crate::permit::{self, Approved, NotRedeemed, Permit};
use crate::policy::Question;
use crate::refusals;
use crate::store::StoreError;
use crate::tool::{ToolFault, ToolFaultKind};
use bulkhead_grant::SignedGrant;

/// Wait before the watch is opened again after it broke.
const WATCH_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why an approved execution does not run.
enum Shut {
    Changed(ToolFault),
    NotRedeemed(NotRedeemed),
}

impl Engine {
    /// Starts taking up decisions. [`Engine::recover`] comes first.
    pub fn start(&self) {
        let tasks = &self.0.parts.tasks;
        tasks.spawn("resolver", self.clone().resolve());
        tasks.spawn("approval watch", self.clone().watch());
        tasks.spawn("request sweep", self.clone().keep_swept());
        tasks.spawn("journal proof", self.clone().keep_proved());
    }

    /// Looks at everything that waits, whenever something may have been decided and at least once in an
    /// interval while something waits.
    async fn resolve(self) {
        let stopping = self.0.parts.tasks.stopping();
        let interval = self.0.parts.settings.recheck_interval;
        while !stopping.is_cancelled() {
            let idle = match self.look_at_all().await {
                Ok(waiting) => waiting == 0,
                Err(error) => {
                    let error = chain(&error, ": ");
                    tracing::warn!(error, "decisions could not be looked up; what waits keeps its place");
                    false
                }
            };
            let pause = async {
                if idle {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(interval).await;
            };
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = pause => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// A span in the trace that asked.
    pub(super) fn span(&self, name: &'static str, execution: &Execution) -> Span {
        let span = tracing::info_span!(
            "settle_approval",
            otel.name = name,
            gen_ai.tool.name = %execution.tool,
            gen_ai.tool.call.id = %execution.id,
        );
        bulkhead_telemetry::adopt_traceparent(&span, &execution.trace.traceparent);
        span
    }

    /// Settles one execution in a task of its own, in the trace that asked for it.
    pub(super) fn take_up(&self, execution: Execution, found: Result<Approval, ApprovalError>, held: Held) {
        let span = self.span("settle_approval", &execution);
        if let Ok(approval) = &found {
            bulkhead_telemetry::link_traceparent(&span, &approval.decision_traceparent);
        }
        let engine = self.clone();
        let settling = async move {
            let id = execution.id;
            if let Err(error) = engine.settle(execution, found).await {
                let error = chain(&error, ": ");
                tracing::error!(execution_id = %id, error, "a decision could not be taken up; trying again");
            }
            drop(held);
        };
        self.0.parts.tasks.spawn("settle", settling.instrument(span));
    }

    async fn settle(
        &self,
        execution: Execution,
        found: Result<Approval, ApprovalError>,
    ) -> Result<Execution, EngineError> {
        let tool = execution.tool.clone();
        let Ok(approval) = found else {
            return self.close(Draft::of(execution), Step::Expire, refusals::lost(&tool)).await;
        };
        if let Some((step, fault)) = refusals::ruling(&tool, &approval.ruling) {
            return self.close(Draft::of(execution), step, fault).await;
        }
        let Ruling::Approved(grant) = approval.ruling else { return Ok(execution) };
        let span = spans::redeeming(&execution);
        let now = bulkhead_edge::now();
        match span.in_scope(|| self.redeem(&execution, grant.as_ref(), now)) {
            Ok(permit) => {
                drop(span);
                self.run_approved(execution, permit.decided_in(approval.decision_traceparent), now).await
            }
            Err(shut) => {
                spans::failed(&span, "APPROVAL_NOT_REDEEMED");
                drop(span);
                let (step, fault) = shut.tell(&tool);
                self.close(Draft::of(execution), step, fault).await
            }
        }
    }

    async fn run_approved(
        &self,
        execution: Execution,
        permit: Permit,
        now: Timestamp,
    ) -> Result<Execution, EngineError> {
        let waiting = Draft::of(execution);
        let tool = waiting.execution.tool.clone();
        match self.write(waiting.clone(), permit, now).await {
            Err(EngineError::Store(StoreError::GrantUsed { .. })) => {
                self.close(waiting, Step::GoStale, refusals::used(&tool)).await
            }
            Err(EngineError::Store(StoreError::OriginalGone { .. })) => {
                self.close(waiting, Step::GoStale, refusals::original_gone(&tool)).await
            }
            other => other,
        }
    }

    /// The grant must be for the approval that was asked for, which is also the one that is used up.
    fn redeem(
        &self,
        execution: &Execution,
        grant: Option<&SignedGrant>,
        now: Timestamp,
    ) -> Result<Permit, Shut> {
        let (Some(prepared), Some(approval_id), Some(grant)) =
            (&execution.prepared, &execution.approval_id, grant)
        else {
            let message = format!("The approval for this call of {} came without a grant.", execution.tool);
            return Err(Shut::Changed(refusals::fault(ToolFaultKind::Stale, message)));
        };
        self.still_as_planned(execution, prepared).map_err(Shut::Changed)?;
        let question = Question {
            caller: &execution.caller,
            tool: &execution.tool,
            plan: &prepared.plan,
            planned: &prepared.planned,
            undo: prepared.undo,
        };
        let parts = &self.0.parts;
        permit::redeem(Approved { approval_id, grant }, &parts.keys, &parts.policy, &question, now)
            .map_err(Shut::NotRedeemed)
    }

    /// Remembers how far the approval service's changes were seen.
    pub(super) fn saw(&self, revision: u64) {
        self.0.seen.send_if_modified(|seen| std::mem::replace(seen, revision.max(*seen)) < revision);
    }

    /// Follows the approval service's changes, only to look sooner: what it says is looked up again.
    async fn watch(self) {
        let stopping = self.0.parts.tasks.stopping();
        tokio::select! {
            () = self.watch_forever() => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn watch_forever(&self) {
        let mut seen = self.0.seen.subscribe();
        // Before anything was asked there is nothing to follow, and no revision to follow it from.
        while seen.wait_for(|seen| *seen > 0).await.is_ok() {
            let after = *seen.borrow_and_update();
            if let Err(error) = self.follow_changes(after).await {
                let error = chain(&error, ": ");
                tracing::debug!(error, "the watch on approvals broke; opening it again");
            }
            tokio::time::sleep(WATCH_RETRY_DELAY).await;
        }
    }

    async fn follow_changes(&self, after: u64) -> Result<(), ApprovalError> {
        let mut changes = self.0.parts.approvals.watch(after).await?;
        let broken = |status| ApprovalError::NoAnswer(Box::new(status));
        while let Some(change) = changes.message().await.map_err(broken)? {
            if let Some(approval) = change.approval {
                self.saw(approval.revision);
                self.0.wake.notify_one();
            }
        }
        Ok(())
    }
}

impl Shut {
    fn tell(&self, tool: &str) -> (Step, ToolFault) {
        match self {
            Self::Changed(fault) => (Step::GoStale, fault.clone()),
            Self::NotRedeemed(error) => {
                tracing::error!(tool, error = chain(error, ": "), "an approved call was not let through");
                refusals::redeemed(tool, error)
            }
        }
    }
}
