//! Types to messages.

use bulkhead_canonical_json::sha256_hex;
use bulkhead_edge::{Call, wire};
use bulkhead_grant::SignedGrant;
use bulkhead_proto::approval::v1 as pb;
use ed25519_dalek::VerifyingKey;

use crate::approval::{Approval, Decision, Outcome, Requirement, Vote};

/// An approval as this caller may see it: the grant is for services alone.
pub(super) fn approval(approval: &Approval, call: &Call) -> pb::Approval {
    let question = &approval.question;
    let end = approval.settlement.as_ref();
    pb::Approval {
        approval_id: approval.id.to_string(),
        state: state(end.map(|end| end.outcome)).into(),
        requested_by: Some((&question.requested_by).into()),
        on_behalf_of: Some((&question.on_behalf_of).into()),
        plan_json: question.plan.json().to_owned(),
        plan_digest: question.plan.digest().to_owned(),
        requirements: question.requirements.iter().map(requirement).collect(),
        votes: approval.votes.iter().map(vote).collect(),
        create_time: Some(wire::timestamp(question.create_time)),
        expire_time: Some(wire::timestamp(question.expire_time)),
        settle_time: end.map(|end| wire::timestamp(end.time)),
        grant: approval.grant.as_ref().filter(|_| call.has_role("service")).map(grant),
        revision: approval.revision,
        session_id: question.session_id.clone(),
        traceparent: question.traceparent.clone(),
        decision_traceparent: end.map_or_else(String::new, |end| end.traceparent.clone()),
        ..pb::Approval::default()
    }
}

/// The key, with the id that grants name it by.
pub(super) fn signing_key(key: &VerifyingKey) -> pb::SigningKey {
    let mut key_id = sha256_hex(key.as_bytes());
    key_id.truncate(16);
    pb::SigningKey { key_id, public_key: key.as_bytes().to_vec(), ..pb::SigningKey::default() }
}

fn state(outcome: Option<Outcome>) -> pb::ApprovalState {
    match outcome {
        None => pb::ApprovalState::Pending,
        Some(Outcome::Approved) => pb::ApprovalState::Approved,
        Some(Outcome::Denied) => pb::ApprovalState::Denied,
        Some(Outcome::Expired) => pb::ApprovalState::Expired,
    }
}

fn requirement(one: &Requirement) -> pb::Requirement {
    pb::Requirement { role: one.role.clone(), count: one.count }
}

fn vote(vote: &Vote) -> pb::Vote {
    let decision = match vote.decision {
        Decision::Approve => pb::Decision::Approve,
        Decision::Deny => pb::Decision::Deny,
    };
    pb::Vote {
        voter: Some((&vote.voter).into()),
        roles: vote.roles.clone(),
        decision: decision.into(),
        reason: vote.reason.clone(),
        time: Some(wire::timestamp(vote.time)),
    }
}

fn grant(grant: &SignedGrant) -> pb::Grant {
    pb::Grant {
        payload_json: grant.payload_json.clone(),
        key_id: grant.key_id.clone(),
        signature: grant.signature.clone(),
    }
}
