//! What people granted, before it is signed.

use std::time::Duration;

use bulkhead_grant::{Grant, GrantedDecision, Voter};
use jiff::Timestamp;

use super::{Approval, Outcome, Vote};

/// The grant of an approved approval; none for any other.
pub(crate) fn grant(approval: &Approval, lifetime: Duration) -> Option<Grant> {
    let settlement = approval.settlement.as_ref().filter(|end| end.outcome == Outcome::Approved)?;
    // Whatever is approved is granted, even at the end of the calendar.
    let not_after = settlement.time.checked_add(lifetime).unwrap_or(Timestamp::MAX);
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
