//! Asking people.

use jiff::Timestamp;

use super::{Engine, EngineError};
use crate::execution::{Draft, Execution, Step};
use crate::policy::Approver;
use crate::store::{Committed, StoreError};

impl Engine {
    /// Records the plan, asks for an approval of it, and records that it was asked. When nobody can be
    /// asked, the plan stays recorded and the same request takes it up again; `recorded` is the digest of
    /// the plan that stands there then.
    pub(super) async fn gate(
        &self,
        draft: Draft,
        recorded: Option<&str>,
        approvers: &[Approver],
    ) -> Result<Execution, EngineError> {
        let planned = if recorded.is_some() && recorded == draft.execution.plan_digest() {
            draft.execution
        } else {
            match self.journal().commit(draft.takes(Step::Plan, Timestamp::now())?, None).await {
                Ok(Committed::Done { execution, .. }) => *execution,
                Ok(Committed::Replayed(id)) | Err(StoreError::Conflict { id }) => {
                    return self.recorded(id).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let approval = self.0.parts.approvals.ask(&planned, approvers).await?;
        self.saw(approval.revision);
        let mut draft = Draft::of(planned).takes(Step::Ask, Timestamp::now())?;
        draft.execution.approval_id = Some(approval.id);
        let event = self.0.events.requested(&draft.execution);
        let awaiting = match self.journal().commit(draft, Some(event)).await {
            Ok(Committed::Done { execution, .. }) => *execution,
            // The same request at the same time got there first.
            Ok(Committed::Replayed(id)) | Err(StoreError::Conflict { id }) => return self.recorded(id).await,
            Err(error) => return Err(error.into()),
        };
        self.0.wake.notify_one();
        Ok(awaiting)
    }
}
