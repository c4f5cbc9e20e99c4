//! What people granted, before it is signed.

use std::time::Duration;

use bulkhead_grant::{Grant, GrantedDecision, Voter};

use super::{Approval, Outcome, Vote};

/// The grant of an approved approval; none for any other.
pub(crate) fn grant(approval: &Approval, lifetime: Duration) -> Option<Grant> {
    let settlement = approval.settlement.as_ref().filter(|end| end.outcome == Outcome::Approved)?;
    let not_after = settlement.time.checked_add(lifetime).ok()?;
    Some(Grant {
        approval_id: approval.id.to_string(),
        decision: GrantedDecision::Approved,
        not_after,
        plan_digest: approval.question.plan.digest().to_owned(),
        tenant: approval.tenant().to_owned(),
        voters: approval.agreeing().map(voter).collect(),
    })
}

fn voter(vote: &Vote) -> Voter {
    Voter { name: vote.voter.name.clone(), roles: vote.roles.clone() }
}
