//! Looks at what waits for people: is it decided, was it ever asked, is its time over.

use std::time::Duration;

use bulkhead_edge::fault::chain;
use jiff::Timestamp;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{Engine, EngineError};
use crate::approvals::{ApprovalError, Ruling};
use crate::execution::{Draft, Execution, State, Step};
use crate::policy::{Approver, Decision};
use crate::refusals;
use crate::store::{StoreError, Waiting};

/// Why a look at what waits ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// First what costs nothing, then what people were asked, then those who have yet to be asked: a question
    /// that the approval service does not take now keeps no decision waiting.
    pub(super) async fn look_at_all(&self) -> Result<usize, LookError> {
        let waiting = self.journal().waiting().await?;
        let now = bulkhead_edge::now();
        let (mut unasked, mut asked) = (Vec::new(), Vec::new());
        for one in &waiting {
            match &one.approval_id {
                Some(approval_id) => asked.push((one.id, approval_id)),
                None if self.is_over(one, now) => self.give_up(one.id),
                None => unasked.push(one.id),
            }
        }
        for (id, approval_id) in asked {
            self.look_at(id, approval_id).await?;
        }
        for id in unasked {
            self.ask_again(id).await?;
        }
        Ok(waiting.len())
    }

    fn is_over(&self, one: &Waiting, now: Timestamp) -> bool {
        let waited = Duration::try_from(now.duration_since(one.create_time)).unwrap_or_default();
        waited >= self.0.parts.approvals.expires_in()
    }

    /// Takes up one decision, if there is one.
    async fn look_at(&self, id: Uuid, approval_id: &str) -> Result<(), LookError> {
        let Some(held) = self.0.in_hand.take(id) else { return Ok(()) };
        let found = match self.0.parts.approvals.get(approval_id).await {
            Ok(approval) => {
                self.saw(approval.revision);
                if matches!(approval.ruling, Ruling::Pending) {
                    return Ok(());
                }
                Ok(approval)
            }
            Err(ApprovalError::Lost) => Err(ApprovalError::Lost),
            Err(error @ (ApprovalError::NotAsked(_) | ApprovalError::NoAnswer(_))) => {
                return Err(error.into());
            }
            // One approval that cannot be read does not stand in the way of the others.
            Err(error @ (ApprovalError::Refused(_) | ApprovalError::Empty)) => {
                let error = chain(&error, ": ");
                tracing::error!(execution_id = %id, approval_id, error, "cannot look a decision up");
                return Ok(());
            }
        };
        // It may have been settled before it was taken in hand.
        if let Some(execution) = self.still(id, State::AwaitingApproval).await? {
            self.take_up(execution, found, held);
        }
        Ok(())
    }

    /// Asks for the approval of what is recorded and in nobody's hand: the answer to the first question was
    /// lost, or it was never asked.
    async fn ask_again(&self, id: Uuid) -> Result<(), LookError> {
        let Some(_held) = self.0.in_hand.take(id) else { return Ok(()) };
        let Some(planned) = self.still(id, State::Planned).await? else { return Ok(()) };
        let Some(approvers) = approvers(&planned) else {
            tracing::error!(execution_id = %id, "is PLANNED, but not as a call that needs approval");
            return Ok(());
        };
        let span = self.span("ask_again", &planned);
        match self.ask(planned, &approvers).instrument(span).await {
            Ok(asked) => {
                tracing::info!(execution_id = %id, state = asked.state.as_str(), "asked people at last")
            }
            Err(EngineError::NotAsked { source, .. }) if source.is_of_the_service() => {
                return Err(source.into());
            }
            Err(error) => {
                let error = chain(&error, ": ");
                tracing::warn!(execution_id = %id, error, "people could not be asked; trying again");
            }
        }
        Ok(())
    }

    /// Ends what nobody is known to have been asked about for as long as people would have had.
    fn give_up(&self, id: Uuid) {
        let Some(held) = self.0.in_hand.take(id) else { return };
        let engine = self.clone();
        self.0.parts.tasks.spawn("give up", async move {
            let ended = match engine.still(id, State::Planned).await {
                Ok(Some(planned)) => {
                    let fault = refusals::never_asked(&planned.tool);
                    let span = engine.span("give_up", &planned);
                    let closing = engine.close(Draft::of(planned), Step::Expire, fault);
                    closing.instrument(span).await.map(drop)
                }
                Ok(None) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                let error = chain(&error, ": ");
                tracing::error!(execution_id = %id, error, "a call whose time is over was not closed; trying again");
            }
            drop(held);
        });
    }

    /// An execution, if it is still in a state.
    async fn still(&self, id: Uuid, state: State) -> Result<Option<Execution>, StoreError> {
        Ok(self.journal().find(id).await?.filter(|now| now.state == state))
    }
}

/// Whom the policy wanted asked when the plan was made. It is asked again before anything runs.
fn approvers(planned: &Execution) -> Option<Vec<Approver>> {
    match &planned.prepared.as_ref()?.decision {
        Decision::ExecuteWithApproval(approvers) => Some(approvers.clone()),
        Decision::Execute | Decision::DryRunOnly | Decision::Deny => None,
    }
}
