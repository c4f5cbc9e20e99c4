//! The only place where a tool is let loose.

use std::time::{Duration, Instant};

use bulkhead_edge::fault::chain;
use bulkhead_failpoint::die;
use bulkhead_outbox::EventDraft;
use jiff::Timestamp;
use serde_json::json;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Engine, EngineError, spans};
use crate::execution::{Draft, Execution, Prepared, State, Step};
use crate::metrics;
use crate::permit::Permit;
use crate::refusals;
use crate::store::{Committed, StoreError};
use crate::tool::{Outcome, Output, Reversibility, ToolFaultKind};

/// First wait before an outcome is written again; it doubles up to the limit.
const OUTCOME_RETRY_BASE: Duration = Duration::from_millis(50);
/// Longest wait between attempts to write an outcome.
const OUTCOME_RETRY_MAX: Duration = Duration::from_secs(2);

/// An outcome and how long it took to come.
type Timed = (Outcome, Duration);

impl Engine {
    /// Runs what may run now.
    pub(super) async fn permitted(&self, draft: Draft, permit: Permit) -> Result<Execution, EngineError> {
        let reversibility = reversibility(&draft.execution);
        if draft.is_new() && reversibility == Some(Reversibility::ReadOnly) {
            return self.read(draft, permit).await;
        }
        let recorded = (!draft.is_new()).then(|| draft.clone());
        match (self.write(draft, permit, bulkhead_edge::now()).await, recorded) {
            (Err(EngineError::Store(StoreError::OriginalGone { id })), None) => {
                let why = "it was taken back already, or is being taken back now".to_owned();
                Err(EngineError::NotUndoable { id, why })
            }
            (Err(EngineError::Store(StoreError::OriginalGone { .. })), Some(recorded)) => {
                let fault = refusals::original_gone(&recorded.execution.tool);
                self.close(recorded, Step::GoStale, fault).await
            }
            (other, _) => other,
        }
    }

    /// Reads, then records that it read before the caller gets to see it.
    async fn read(&self, draft: Draft, permit: Permit) -> Result<Execution, EngineError> {
        let (outcome, took) = self.act(permit, &draft.execution).await;
        let (step, result) = refusals::outcome(outcome);
        // A read whose outcome is not known has changed nothing either way.
        let step = if step == Step::LoseTrack { Step::Fail } else { step };
        let draft = draft.takes(step, bulkhead_edge::now())?.with_result(result);
        let event = self.0.events.read(&draft.execution, took);
        match self.journal().commit(draft, Some(event)).await? {
            Committed::Done { execution, .. } => Ok(*execution),
            Committed::Replayed(id) => self.recorded(id).await,
        }
    }

    /// Writes the intent, then acts, then writes the outcome. The effect begins `now`: the time at which the permit
    /// was good, so that the record of a gated one shows that its grant had not run out.
    pub(super) async fn write(
        &self,
        draft: Draft,
        permit: Permit,
        now: Timestamp,
    ) -> Result<Execution, EngineError> {
        let draft = draft.takes(Step::Start, now)?;
        let event = self.0.events.intent(&draft.execution, &permit);
        if bulkhead_failpoint::active("executor.effect_before_intent") {
            let (outcome, took) = self.act(permit, &draft.execution).await;
            die("executor.after_effect");
            return match self.journal().commit(draft, Some(event)).await? {
                Committed::Done { execution, .. } => self.finish(*execution, outcome, took).await,
                Committed::Replayed(id) => self.recorded(id).await,
            };
        }
        match self.journal().commit(draft, Some(event)).await? {
            Committed::Done { execution, event_place } => {
                die("executor.after_intent");
                let (outcome, took) = self.act_once_told(permit, &execution, event_place).await;
                die("executor.after_effect");
                self.finish(*execution, outcome, took).await
            }
            Committed::Replayed(id) => self.recorded(id).await,
        }
    }

    /// Acts, but what cannot be undone only after the audit service has the intent.
    async fn act_once_told(&self, permit: Permit, execution: &Execution, event_place: Option<i64>) -> Timed {
        if reversibility(execution) == Some(Reversibility::Irreversible) {
            let bound = self.0.parts.settings.acknowledge_timeout;
            let told = match event_place {
                Some(place) => self.journal().acknowledged(place, bound).await.is_ok(),
                None => false,
            };
            if !told {
                tracing::warn!(execution_id = %execution.id, "irreversible and not confirmed by audit; not run");
                return (Outcome::Failed(refusals::audit_unavailable(&execution.tool)), Duration::ZERO);
            }
        }
        self.act(permit, execution).await
    }

    /// Lets the tool act, once, under a permit for exactly this plan.
    async fn act(&self, permit: Permit, execution: &Execution) -> Timed {
        let span = spans::tool(execution, &permit);
        let started = Instant::now();
        let outcome = match execution.prepared.as_ref() {
            Some(prepared) if permit.plan_digest() == prepared.plan.digest() => {
                self.apply(execution, prepared).instrument(span.clone()).await
            }
            Some(_) | None => Outcome::Failed(refusals::policy(&execution.tool, false)),
        };
        if let Outcome::Failed(fault) | Outcome::Stale(fault) | Outcome::Unknown(fault) = &outcome {
            spans::faulted(&span, fault.kind);
            tracing::warn!(
                execution_id = %execution.id, tool = execution.tool, kind = ?fault.kind, error = fault.message,
                "the tool did not do it"
            );
        }
        let took = started.elapsed();
        if self.toolbox().find(&execution.tool).is_ok() {
            metrics::acted(&execution.tool, &outcome, took);
        }
        (outcome, took)
    }

    async fn apply(&self, execution: &Execution, prepared: &Prepared) -> Outcome {
        let entry = match self.toolbox().find(&execution.tool) {
            Ok(entry) => entry,
            Err(fault) => return Outcome::Failed(fault),
        };
        let Some(original) = execution.undo_of else {
            return entry.tool.apply(execution.id, &execution.arguments, &prepared.planned).await;
        };
        if bulkhead_failpoint::active("executor.skip_undo") {
            return Outcome::Succeeded(skipped(original));
        }
        match self.done_by(original).await {
            Ok(done) => entry.tool.undo(execution.id, original, &done.planned, &prepared.planned).await,
            Err(error) => {
                let message = format!(
                    "Cannot read what {original} did from the journal ({error}). Nothing was done. Try again."
                );
                Outcome::Failed(refusals::fault(ToolFaultKind::IoError, message))
            }
        }
    }

    /// What the original of an undo had planned.
    pub(super) async fn done_by(&self, original: Uuid) -> Result<Prepared, EngineError> {
        let found = self.recorded(original).await?;
        found.prepared.ok_or(EngineError::NotFound { id: original })
    }

    /// Records how it ended. The effect is in the world by now, so this does not give up before the service
    /// stops; what is RUNNING then is reconciled at the next start.
    pub(super) async fn finish(
        &self,
        running: Execution,
        outcome: Outcome,
        took: Duration,
    ) -> Result<Execution, EngineError> {
        let (step, result) = refusals::outcome(outcome);
        let draft = Draft::of(running).takes(step, bulkhead_edge::now())?.with_result(result);
        let event = self.0.events.outcome(&draft.execution, Some(took));
        let stopping = self.0.parts.tasks.stopping();
        let mut wait = OUTCOME_RETRY_BASE;
        loop {
            let error = match self.record_outcome(&draft, &event).await {
                Ok(execution) => {
                    die("executor.after_outcome");
                    return Ok(execution);
                }
                Err(error) => error,
            };
            tracing::error!(
                execution_id = %draft.execution.id, error = chain(&error, ": "),
                "an outcome could not be recorded; trying again"
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(OUTCOME_RETRY_MAX),
                () = stopping.cancelled() => return Err(error),
            }
        }
    }

    async fn record_outcome(&self, draft: &Draft, event: &EventDraft) -> Result<Execution, EngineError> {
        match self.journal().commit(draft.clone(), Some(event.clone())).await {
            Ok(Committed::Done { execution, .. }) => Ok(*execution),
            Ok(Committed::Replayed(id)) => self.recorded(id).await,
            // An earlier attempt whose commit seemed to fail may have made it.
            Err(StoreError::Conflict { id }) => {
                let now = self.recorded(id).await?;
                if now.state == State::Running { Err(StoreError::Conflict { id }.into()) } else { Ok(now) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn reversibility(execution: &Execution) -> Option<Reversibility> {
    execution.prepared.as_ref().map(|prepared| prepared.planned.reversibility)
}

/// What a test binary says when it was told to lie about an undo.
fn skipped(original: Uuid) -> Output {
    Output {
        content: format!("Took {original} back."),
        structured: json!({}),
        sensitivity: Vec::new(),
        untrusted: false,
    }
}
