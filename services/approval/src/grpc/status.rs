//! The only place that turns failures into codes of gRPC.

use std::time::Duration;

use bulkhead_edge::Fault;
use tonic::Code;

use crate::approval::{ApprovalId, Rejection};
use crate::desk::DeskError;
use crate::store::StoreError;

/// A locked or full store may be back by then.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// The longest that the outbox waits between deliveries.
const OUTBOX_RETRY_DELAY: Duration = Duration::from_secs(5);
/// A supervisor starts the service again in about this time.
const RESTART_DELAY: Duration = Duration::from_secs(1);

/// There is no such approval, or none that the caller may know of: the two must look the same.
pub(super) fn not_found(id: ApprovalId) -> Fault {
    Fault::new(Code::NotFound, "APPROVAL_NOT_FOUND")
        .saying(format!("there is no approval {id}"))
        .with("approval_id", id)
}

/// The service stops; whoever watches goes on elsewhere or later.
pub(super) fn stopping() -> Fault {
    Fault::new(Code::Unavailable, "SERVICE_STOPPING")
        .saying("the service is stopping; watch again from the last revision seen")
        .retry_after(RESTART_DELAY)
}

impl From<DeskError> for Fault {
    /// Names every variant: a new one is a compile error here, not a silent INTERNAL.
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::NotFound { id } => not_found(id),
            DeskError::RequestIdReused { request_id } => Self::new(Code::AlreadyExists, "REQUEST_ID_REUSED")
                .saying("this request_id was used with another payload; make a new one for a new request")
                .with("request_id", request_id),
            DeskError::Rejected(rejection) => rejection.into(),
            DeskError::OutboxFull { waiting } => Self::new(Code::ResourceExhausted, "OUTBOX_FULL")
                .saying(format!(
                    "nothing was changed: {waiting} events wait for the audit service, and no more are taken"
                ))
                .with("waiting", waiting)
                .retry_after(OUTBOX_RETRY_DELAY),
            unsigned @ DeskError::Unsigned(_) => Self::new(Code::Internal, "GRANT_UNSIGNED")
                .saying("nothing was changed: the grant could not be signed")
                .because(unsigned),
            DeskError::Store(error) => error.into(),
        }
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        let text = rejection.to_string();
        match rejection {
            Rejection::NotAnApprover { voter, required } => {
                Self::new(Code::PermissionDenied, "NOT_AN_APPROVER")
                    .with("voter", voter)
                    .with("roles", required.join(","))
            }
            Rejection::SelfApproval { approver } => {
                Self::new(Code::PermissionDenied, "SELF_APPROVAL").with("approver", approver)
            }
            Rejection::Settled { outcome } => {
                Self::new(Code::FailedPrecondition, "APPROVAL_SETTLED").with("outcome", outcome.as_str())
            }
            Rejection::Expired { expire_time } => {
                Self::new(Code::FailedPrecondition, "APPROVAL_EXPIRED").with("expire_time", expire_time)
            }
            Rejection::PlanDigestMismatch { shown, expected } => {
                Self::new(Code::FailedPrecondition, "PLAN_DIGEST_MISMATCH")
                    .with("shown", shown)
                    .with("expected", expected)
            }
            Rejection::AlreadyVoted { voter } => {
                Self::new(Code::FailedPrecondition, "ALREADY_VOTED").with("voter", voter)
            }
        }
        .saying(text)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(_) => Self::new(Code::Unavailable, "STORE_UNAVAILABLE")
                .saying("nothing was changed: the store cannot be used at the moment")
                .retry_after(STORE_RETRY_DELAY),
            StoreError::OutcomeUnknown(_) => Self::new(Code::Unknown, "OUTCOME_UNKNOWN")
                .saying("the change may or may not be on disk; send the same request_id again to find out"),
            StoreError::Conflict { id, revision } => Self::new(Code::Aborted, "REVISION_CONFLICT")
                .saying("nothing was changed: somebody else changed the approval; send the request again")
                .with("approval_id", id)
                .with("revision", revision),
            StoreError::Corrupt(_) => Self::new(Code::DataLoss, "STORE_CORRUPT")
                .saying("nothing was changed: the store holds something that this version cannot read"),
        }
        .because(error)
    }
}
