//! The only place in the service that names gRPC codes.

use std::time::Duration;

use bulkhead_edge::Fault;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::approvals::ApprovalError;
use crate::engine::EngineError;
use crate::store::StoreError;

/// A locked or full store is looked at by people; they need a moment.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(2);
/// A service that restarts is back within a few seconds.
const APPROVAL_RETRY_DELAY: Duration = Duration::from_secs(5);
/// People take their time; asking more often only fills the log.
const PEOPLE_RETRY_DELAY: Duration = Duration::from_secs(30);
/// The outbox drains as soon as the audit service answers.
const OUTBOX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// What the caller is told of an error.
pub(super) fn of(error: EngineError) -> Status {
    fault(error).into_status()
}

fn fault(error: EngineError) -> Fault {
    match error {
        EngineError::Store(error) => store(error),
        EngineError::NotAsked { id, source } => not_asked(id, source),
        EngineError::NotFound { id } => Fault::new(Code::NotFound, "EXECUTION_NOT_FOUND")
            .saying(format!("there is no execution {id} that you may see"))
            .with("execution_id", id),
        EngineError::NotUndoable { id, why } => Fault::new(Code::FailedPrecondition, "NOT_UNDOABLE")
            .saying(format!("execution {id} cannot be taken back: {why}"))
            .with("execution_id", id),
        EngineError::DeadlineExceeded => Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            .saying("not recorded within the deadline; send the same request_id again to learn the outcome"),
        error @ EngineError::Transition(_) => Fault::new(Code::Internal, "ILLEGAL_TRANSITION").because(error),
        error @ EngineError::TaskLost => Fault::new(Code::Internal, "CALL_LOST")
            .saying("the call ended without an answer; send the same request_id again to learn the outcome")
            .because(error),
    }
}

fn store(error: StoreError) -> Fault {
    match error {
        StoreError::RequestReused => Fault::new(Code::AlreadyExists, "REQUEST_ID_REUSED")
            .saying("this request_id was used for another request; take a new UUID"),
        StoreError::Conflict { id } => Fault::new(Code::Aborted, "REVISION_CONFLICT")
            .saying("the execution changed meanwhile; send the same request_id again")
            .with("execution_id", id),
        StoreError::GrantUsed { approval_id } => {
            Fault::new(Code::FailedPrecondition, "GRANT_USED").with("approval_id", approval_id)
        }
        StoreError::OriginalGone { id } => {
            Fault::new(Code::FailedPrecondition, "NOT_UNDOABLE").with("execution_id", id)
        }
        StoreError::OutboxFull { waiting } => Fault::new(Code::ResourceExhausted, "OUTBOX_FULL")
            .saying("too many audit events wait for delivery, so nothing was done; try again later")
            .with("waiting", waiting)
            .retry_after(OUTBOX_RETRY_DELAY),
        StoreError::TooManyPending { principal, pending } => Fault::new(
            Code::ResourceExhausted,
            "TOO_MANY_PENDING",
        )
        .saying(
            "too many of your calls wait for people, so this one was not recorded; wait until they are \
                     decided",
        )
        .with("principal", principal)
        .with("pending", pending)
        .retry_after(PEOPLE_RETRY_DELAY),
        error @ StoreError::Unavailable(_) => Fault::new(Code::Unavailable, "STORE_UNAVAILABLE")
            .saying("the journal cannot be written or read now, so nothing was done; try again")
            .retry_after(STORE_RETRY_DELAY)
            .because(error),
        error @ StoreError::OutcomeUnknown(_) => Fault::new(Code::Unknown, "OUTCOME_UNKNOWN")
            .saying(
                "the journal failed while committing; send the same request_id again to learn the outcome",
            )
            .because(error),
        error @ StoreError::Corrupt(_) => Fault::new(Code::DataLoss, "JOURNAL_CORRUPT").because(error),
    }
}

/// Nothing was done in any case; what is told apart is whether people may be looking at it already.
fn not_asked(id: Uuid, error: ApprovalError) -> Fault {
    let fault = match &error {
        ApprovalError::NotAsked(_) => Fault::new(Code::Unavailable, "APPROVAL_UNAVAILABLE")
            .saying(
                "people cannot be asked now, so nothing was done; the call is recorded and will be put to them \
                 when they can be asked; the same request_id finds it",
            )
            .retry_after(APPROVAL_RETRY_DELAY),
        ApprovalError::NoAnswer(_) | ApprovalError::Empty => {
            Fault::new(Code::Unavailable, "APPROVAL_UNAVAILABLE")
                .saying(
                    "the approval service did not answer, so it is not known whether people were asked; nothing \
                     was done; the call is recorded and they will be asked again, once; the same request_id \
                     finds it",
                )
                .retry_after(APPROVAL_RETRY_DELAY)
        }
        ApprovalError::Refused(_) | ApprovalError::Lost => Fault::new(Code::Internal, "APPROVAL_REFUSED")
            .saying(
                "the approval service refuses this executor, so nothing was done; tell the operator; the call \
                 is recorded and will be put to people if it is taken before its time is over",
            ),
    };
    fault.with("execution_id", id).because(error)
}
