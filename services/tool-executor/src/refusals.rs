//! What a model reads when the executor, and not a tool, kept a call from happening: what failed, why, and
//! what to do next.

use std::time::Duration;

use crate::approvals::Ruling;
use crate::execution::{CallResult, Step};
use crate::permit::NotRedeemed;
use crate::policy::NotConfirmed;
use crate::tool::{Outcome, ToolFault, ToolFaultKind as K};
use bulkhead_grant::GrantError;

/// When to try again what waits for the audit service.
pub(crate) const AUDIT_RETRY_DELAY: Duration = Duration::from_secs(10);

/// The policy forbids it.
pub(crate) fn policy(tool: &str, may_plan: bool) -> ToolFault {
    let next = if may_plan {
        "It may be planned with dry_run. Choose another way, or ask the operator to change the policy."
    } else {
        "Choose another way, or ask the operator to change the policy; asking again will not help."
    };
    fault(K::PolicyDenied, format!("The policy does not allow this call of {tool}. Nothing was done. {next}"))
}

/// People decided, and not in favour; none when they did agree or have not decided.
pub(crate) fn ruling(tool: &str, ruling: &Ruling) -> Option<(Step, ToolFault)> {
    match ruling {
        Ruling::Denied { reason } => Some((
            Step::Deny,
            fault(
                K::ApprovalDenied,
                format!(
                    "A person denied this call of {tool} ({reason}). Nothing was done. Do not repeat it; change \
                     the plan as the reason says, or ask your owner."
                ),
            ),
        )),
        Ruling::Withdrawn => Some((
            Step::Deny,
            fault(
                K::ApprovalDenied,
                format!("The approval for this call of {tool} was withdrawn. Nothing was done."),
            ),
        )),
        Ruling::Expired => Some((Step::Expire, expired(tool))),
        Ruling::Pending | Ruling::Approved(_) => None,
    }
}

/// The approval service has no record of what was asked.
pub(crate) fn lost(tool: &str) -> ToolFault {
    fault(
        K::ApprovalExpired,
        format!(
            "The approval service does not know the approval for this call of {tool} any more. Nothing was \
             done. Call again with a new request_id if it is still needed."
        ),
    )
}

/// A grant that does not open the door.
pub(crate) fn redeemed(tool: &str, error: &NotRedeemed) -> (Step, ToolFault) {
    match error {
        NotRedeemed::Grant(GrantError::Expired { .. }) => (Step::Expire, outlived(tool)),
        NotRedeemed::Grant(_) => (
            Step::Refuse,
            fault(
                K::PolicyDenied,
                format!(
                    "The approval for this call of {tool} could not be verified. Nothing was done. Tell the \
                     operator: the executor must have the approval service's public key in `grant_keys`."
                ),
            ),
        ),
        NotRedeemed::Policy(NotConfirmed::Votes(missing)) => (
            Step::Refuse,
            fault(
                K::PolicyDenied,
                format!(
                    "This call of {tool} was approved, but the policy now asks for {missing} more, each another \
                     person. Nothing was done. Call again with a new request_id to ask them."
                ),
            ),
        ),
        NotRedeemed::Policy(_) => (Step::Refuse, policy(tool, false)),
    }
}

/// The approval was used for an equal call.
pub(crate) fn used(tool: &str) -> ToolFault {
    fault(
        K::Stale,
        format!(
            "The approval for this call of {tool} was used by an equal call. Nothing was done this time. Look \
             at what is there now, and plan again if something is left to do."
        ),
    )
}

/// What was approved is not what would run.
pub(crate) fn plan_changed(tool: &str) -> ToolFault {
    fault(
        K::Stale,
        format!(
            "{tool} changed after this call was approved, so the approval does not cover it. Nothing was done. \
             Call again with a new request_id."
        ),
    )
}

/// The original of an undo is gone meanwhile.
pub(crate) fn original_gone(tool: &str) -> ToolFault {
    fault(
        K::Stale,
        format!(
            "The {tool} call was taken back already, or is being taken back now. Nothing was done this time."
        ),
    )
}

/// An irreversible call whose intent the audit service has not confirmed.
pub(crate) fn audit_unavailable(tool: &str) -> ToolFault {
    ToolFault {
        kind: K::AuditUnavailable,
        message: format!(
            "This call of {tool} cannot be undone and the audit service did not confirm it in time. Nothing was \
             done. Its approval, if it had one, is used up: call again later with a new request_id, and people \
             have to agree again."
        ),
        retry_after: Some(AUDIT_RETRY_DELAY),
    }
}

/// After a crash the tool is not there to say what happened.
pub(crate) fn cannot_reconcile(tool: &str) -> ToolFault {
    fault(
        K::OutcomeUnknown,
        format!(
            "The executor stopped while this call of {tool} ran and cannot tell whether it happened. Do not \
             repeat it; look at what is there, or ask a person to settle it."
        ),
    )
}

/// How an outcome moves an execution, and what its caller reads.
pub(crate) fn outcome(outcome: Outcome) -> (Step, CallResult) {
    match outcome {
        Outcome::Succeeded(output) => (Step::Succeed, CallResult::Done(output)),
        Outcome::Failed(fault) => (Step::Fail, CallResult::Fault(fault)),
        Outcome::Stale(fault) => (Step::GoStale, CallResult::Fault(fault)),
        Outcome::Unknown(fault) => (Step::LoseTrack, CallResult::Fault(fault)),
    }
}

/// Nobody is known to have been asked for as long as people have to decide.
pub(crate) fn never_asked(tool: &str) -> ToolFault {
    fault(
        K::ApprovalExpired,
        format!(
            "Nobody could be asked about this call of {tool} in time: the approval service did not answer. \
             Nothing was done. Call again with a new request_id if it is still needed, or go on without it."
        ),
    )
}

/// People agreed, but it did not come to run while their word counted.
fn outlived(tool: &str) -> ToolFault {
    fault(
        K::ApprovalExpired,
        format!(
            "This call of {tool} was approved, but the time in which the approval could be used was over. \
             Nothing was done. Call again with a new request_id to ask once more, if it is still needed."
        ),
    )
}

fn expired(tool: &str) -> ToolFault {
    fault(
        K::ApprovalExpired,
        format!(
            "Nobody approved this call of {tool} in time. Nothing was done. Call again with a new request_id \
             if it is still needed, or go on without it."
        ),
    )
}

pub(crate) fn fault(kind: K, message: String) -> ToolFault {
    ToolFault { kind, message, retry_after: None }
}
