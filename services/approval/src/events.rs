//! What the audit log is told, as docs/audit-events.md lists it.

use bulkhead_edge::{Principal, PrincipalKind};
use bulkhead_grant::SignedGrant;
use bulkhead_outbox::EventDraft;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::NAME;
use crate::approval::{Approval, Event, Outcome, Settlement, Vote};

/// A decision was asked for.
pub(crate) fn requested(approval: &Approval, call_id: &str) -> EventDraft {
    let question = &approval.question;
    let attributes = json!({
        "plan_digest": question.plan.digest(),
        "tool": question.plan.tool(),
        "requirements": question.requirements,
        "expire_time": question.expire_time.to_string(),
    });
    let actor = question.on_behalf_of.clone();
    draft("approval.requested", question.create_time, &actor, approval, attributes).request(call_id)
}

/// What happened to an approval, once it has.
pub(crate) fn happened(approval: &Approval, event: &Event, call_id: &str) -> EventDraft {
    match event {
        Event::Voted(vote) => voted(approval, vote),
        Event::Settled(settlement) => settled(approval, settlement),
    }
    .request(call_id)
}

fn voted(approval: &Approval, vote: &Vote) -> EventDraft {
    let attributes = json!({ "plan_digest": approval.question.plan.digest(), "reason": vote.reason });
    draft("approval.voted", vote.time, &vote.voter, approval, attributes).outcome(vote.decision.as_str())
}

fn settled(approval: &Approval, settlement: &Settlement) -> EventDraft {
    let voters: Vec<&str> = approval.votes.iter().map(|vote| vote.voter.name.as_str()).collect();
    let mut attributes = json!({
        "plan_digest": approval.question.plan.digest(),
        "voters": voters,
        "key_id": approval.grant.as_ref().map(|grant| grant.key_id.as_str()),
    });
    // From the bytes that were signed: the executor goes by no other time.
    if let Some(not_after) = approval.grant.as_ref().and_then(SignedGrant::stated_not_after) {
        attributes["grant_not_after"] = json!(not_after.to_string());
    }
    draft("approval.settled", settlement.time, &settler(approval, settlement), approval, attributes)
        .outcome(settlement.outcome.as_str())
}

/// Who ended it: the last voter, or this service when nobody did.
fn settler(approval: &Approval, settlement: &Settlement) -> Principal {
    match approval.votes.last() {
        Some(vote) if settlement.outcome != Outcome::Expired => vote.voter.clone(),
        _ => Principal {
            tenant: approval.tenant().to_owned(),
            kind: PrincipalKind::Service,
            name: NAME.to_owned(),
            owner: None,
        },
    }
}

fn draft(kind: &str, time: Timestamp, by: &Principal, approval: &Approval, attributes: Value) -> EventDraft {
    EventDraft::new(kind, time, by)
        .subject(approval.id)
        .session(&approval.question.session_id)
        .tool(approval.question.plan.tool())
        .attributes(attributes)
}
