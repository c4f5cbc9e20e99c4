//! Asking people.

use super::{Engine, EngineError};
use crate::execution::{Draft, Execution, Step};
use crate::policy::Approver;
use crate::store::{Committed, StoreError};

impl Engine {
    /// Records the plan, then asks for an approval of it. `recorded` is the digest of the plan that stands in
    /// the journal already. The caller has the execution in hand: what is PLANNED and in nobody's hand is
    /// taken up by the resolver, so that a question whose answer was lost is asked again.
    pub(super) async fn gate(
        &self,
        draft: Draft,
        recorded: Option<&str>,
        approvers: &[Approver],
    ) -> Result<Execution, EngineError> {
        if recorded.is_some() && recorded == draft.execution.plan_digest() {
            return self.ask(draft.execution, approvers).await;
        }
        match self.journal().commit(draft.takes(Step::Plan, bulkhead_edge::now())?, None).await {
            Ok(Committed::Done { execution, .. }) => self.ask(*execution, approvers).await,
            Ok(Committed::Replayed(id)) | Err(StoreError::Conflict { id }) => self.recorded(id).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for an approval of a recorded plan, and records that it was asked. The id of the question depends
    /// on the plan only, so asking twice is asking once.
    pub(super) async fn ask(
        &self,
        planned: Execution,
        approvers: &[Approver],
    ) -> Result<Execution, EngineError> {
        let asked = self.0.parts.approvals.ask(&planned, approvers).await;
        let approval = asked.map_err(|source| EngineError::NotAsked { id: planned.id, source })?;
        self.saw(approval.revision);
        let mut draft = Draft::of(planned).takes(Step::Ask, bulkhead_edge::now())?;
        draft.execution.approval_id = Some(approval.id);
        let event = self.0.events.requested(&draft.execution);
        match self.journal().commit(draft, Some(event)).await {
            Ok(Committed::Done { execution, .. }) => Ok(*execution),
            // An earlier attempt whose commit seemed to fail had made it.
            Ok(Committed::Replayed(id)) | Err(StoreError::Conflict { id }) => self.recorded(id).await,
            Err(error) => Err(error.into()),
        }
    }
}
