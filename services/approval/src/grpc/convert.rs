//! Messages to types. Each conversion goes to the end and names every field that is wrong.

use std::mem;
use std::time::Duration;

use bulkhead_edge::page::Page;
use bulkhead_edge::principal::is_tenant;
use bulkhead_edge::{Fault, Principal, PrincipalKind, Violations, wire};
use bulkhead_idempotency::PayloadDigest;
use bulkhead_proto::approval::v1 as pb;
use jiff::Timestamp;
use uuid::Uuid;

use crate::approval::plan::PlanError;
use crate::approval::quorum::{COUNT_MAX, REQUIREMENTS_MAX};
use crate::approval::{ApprovalId, Ballot, Decision, Outcome, Plan, Question, Requirement, Requirements};
use crate::config::ExpiryRange;
use crate::store::StateFilter;

/// Longest reason of a vote, in characters, as the contract says.
const REASON_CHARS_MAX: usize = 2_000;

/// A checked CreateApproval.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) request_id: Uuid,
    pub(super) payload: PayloadDigest,
    pub(super) on_behalf_of: Principal,
    plan: Plan,
    requirements: Requirements,
    expires_in: Duration,
    session_id: String,
}

impl Asked {
    /// The question as it is asked now.
    pub(super) fn into_question(self, by: &Principal, traceparent: String, now: Timestamp) -> Question {
        let expiry = now.checked_add(self.expires_in).unwrap_or(Timestamp::MAX);
        Question {
            requested_by: by.clone(),
            on_behalf_of: self.on_behalf_of,
            plan: self.plan,
            requirements: self.requirements,
            session_id: self.session_id,
            traceparent,
            create_time: now,
            expire_time: Timestamp::from_millisecond(expiry.as_millisecond()).unwrap_or(expiry),
        }
    }
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// After a revision.
    After(u64),
    /// After whatever the newest one is.
    Now,
}

/// Checks a WatchApprovals.
pub(super) fn place(message: &pb::WatchApprovalsRequest) -> Result<Place, Fault> {
    let mut violations = Violations::new();
    let place = if message.from_now { Place::Now } else { Place::After(message.after_revision) };
    let one = !message.from_now || message.after_revision == 0;
    violations.require(one, "from_now", "must be false where after_revision says where to begin");
    violations.finish(Some(place))
}

/// Checks a CreateApproval.
pub(super) fn asked(mut message: pb::CreateApprovalRequest, expiry: ExpiryRange) -> Result<Asked, Fault> {
    let mut violations = Violations::new();
    let request_id = violations.uuid("request_id", &mem::take(&mut message.request_id));
    let payload = PayloadDigest::of(&message);
    let on_behalf_of = on_behalf_of(&message, &mut violations);
    let requirements = requirements(&message.requirements, &mut violations);
    let expires_in = expires_in(&message, expiry, &mut violations);
    violations.context_id("session_id", &message.session_id);
    let plan = plan(message.plan_json, &message.plan_digest, &mut violations);
    let asked = || {
        Some(Asked {
            request_id: request_id?,
            payload,
            on_behalf_of: on_behalf_of?,
            plan: plan?,
            requirements,
            expires_in: expires_in?,
            session_id: message.session_id,
        })
    };
    violations.finish(asked())
}

fn on_behalf_of(message: &pb::CreateApprovalRequest, violations: &mut Violations) -> Option<Principal> {
    let principal = Principal::read(message.on_behalf_of.clone(), "on_behalf_of", violations)?;
    violations.require(
        principal.owner.is_none() || principal.kind == PrincipalKind::Agent,
        "on_behalf_of.owner",
        "must be empty: only an agent has an owner",
    );
    Some(principal)
}

fn plan(json: String, digest: &str, violations: &mut Violations) -> Option<Plan> {
    match Plan::check(json, digest) {
        Ok(plan) => Some(plan),
        Err(error) => {
            let field = match error {
                PlanError::Digest { .. } => "plan_digest",
                PlanError::TooLarge { .. } | PlanError::NotCanonical(_) | PlanError::NotAnObject => {
                    "plan_json"
                }
            };
            violations.add(field, error.to_string());
            None
        }
    }
}

fn requirements(list: &[pb::Requirement], violations: &mut Violations) -> Requirements {
    let fits = (1..=REQUIREMENTS_MAX).contains(&list.len());
    violations.require(fits, "requirements", format!("must have 1 to {REQUIREMENTS_MAX} entries"));
    for (at, one) in list.iter().take(REQUIREMENTS_MAX).enumerate() {
        let role = format!("requirements[{at}].role");
        violations.require(is_tenant(&one.role), &role, "must be 1 to 64 characters of [a-z0-9-]");
        let first = list.iter().take(at).all(|earlier| earlier.role != one.role);
        violations.require(first, &role, "must name each role once");
        let count = format!("requirements[{at}].count");
        violations.require((1..=COUNT_MAX).contains(&one.count), &count, format!("must be 1 to {COUNT_MAX}"));
    }
    let own = |one: &pb::Requirement| Requirement { role: one.role.clone(), count: one.count };
    Requirements::new(list.iter().map(own).collect())
}

fn expires_in(
    message: &pb::CreateApprovalRequest,
    range: ExpiryRange,
    violations: &mut Violations,
) -> Option<Duration> {
    let Some(sent) = message.expires_in else { return Some(range.default) };
    let span = wire::read_duration(sent, "expires_in", violations)?;
    let (min, max) = (range.min.as_secs_f64(), range.max.as_secs_f64());
    violations.require(
        (range.min..=range.max).contains(&span),
        "expires_in",
        format!("must be {min} to {max} seconds"),
    );
    Some(span)
}

/// A checked DecideApproval.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) request_id: Uuid,
    pub(super) payload: PayloadDigest,
    pub(super) approval_id: ApprovalId,
    decision: Decision,
    reason: String,
    plan_digest: String,
}

impl Cast {
    /// The vote as this person casts it.
    pub(super) fn into_ballot(self, voter: &Principal, roles: &[String], traceparent: String) -> Ballot {
        Ballot {
            voter: voter.clone(),
            roles: roles.to_vec(),
            decision: self.decision,
            reason: self.reason,
            plan_digest: self.plan_digest,
            traceparent,
        }
    }
}

/// Checks a DecideApproval.
pub(super) fn cast(mut message: pb::DecideApprovalRequest) -> Result<Cast, Fault> {
    let mut violations = Violations::new();
    let request_id = violations.uuid("request_id", &mem::take(&mut message.request_id));
    let payload = PayloadDigest::of(&message);
    let approval_id = violations.parse("approval_id", &message.approval_id, "a UUID");
    let decision = match message.decision() {
        pb::Decision::Approve => Some(Decision::Approve),
        pb::Decision::Deny => Some(Decision::Deny),
        // EDIT is not implemented; the violation below names what is.
        pb::Decision::Unspecified | pb::Decision::Edit => None,
    };
    violations.require(decision.is_some(), "decision", "must be APPROVE or DENY");
    check_reason(decision, &message.reason, &mut violations);
    violations.require(
        is_digest(&message.plan_digest),
        "plan_digest",
        "must be the plan_digest of the approval that was shown, 64 lower-case hex digits",
    );
    let cast = || {
        Some(Cast {
            request_id: request_id?,
            payload,
            approval_id: approval_id?,
            decision: decision?,
            reason: message.reason,
            plan_digest: message.plan_digest,
        })
    };
    violations.finish(cast())
}

fn check_reason(decision: Option<Decision>, reason: &str, violations: &mut Violations) {
    let fits = reason.chars().count() <= REASON_CHARS_MAX;
    violations.require(fits, "reason", format!("must be at most {REASON_CHARS_MAX} characters"));
    // People read it at terminals, where an escape sequence could rewrite what they see.
    let plain = !reason.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    violations.require(plain, "reason", "must hold no control characters but line breaks and tabs");
    let given = decision != Some(Decision::Deny) || !reason.trim().is_empty();
    violations.require(given, "reason", "is required for a denial: the agent reads it");
}

fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Checks the id of an approval.
pub(super) fn approval_id(text: &str) -> Result<ApprovalId, Fault> {
    let mut violations = Violations::new();
    let id = violations.parse("approval_id", text, "a UUID");
    violations.finish(id)
}

/// A checked ListApprovals.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) filter: StateFilter,
    pub(super) page: Page,
    /// What the page token is bound to.
    pub(super) filters: String,
}

/// Checks a ListApprovals.
pub(super) fn wanted(message: &pb::ListApprovalsRequest) -> Result<Wanted, Fault> {
    let mut violations = Violations::new();
    let filters = format!("state={}", message.state);
    let page = Page::read(message.page_size, &message.page_token, &filters, &mut violations);
    let filter = filter(message.state, &mut violations);
    violations.finish(filter.map(|filter| Wanted { filter, page, filters }))
}

fn filter(state: i32, violations: &mut Violations) -> Option<StateFilter> {
    let filter = match pb::ApprovalState::try_from(state) {
        Ok(pb::ApprovalState::Unspecified) => Some(StateFilter::Any),
        Ok(pb::ApprovalState::Pending) => Some(StateFilter::Pending),
        Ok(pb::ApprovalState::Approved) => Some(StateFilter::Settled(Outcome::Approved)),
        Ok(pb::ApprovalState::Denied) => Some(StateFilter::Settled(Outcome::Denied)),
        Ok(pb::ApprovalState::Expired) => Some(StateFilter::Settled(Outcome::Expired)),
        Ok(pb::ApprovalState::Cancelled) => Some(StateFilter::Cancelled),
        // No approval can be in that state yet.
        Ok(pb::ApprovalState::Editing) | Err(_) => None,
    };
    violations.require(filter.is_some(), "state", "must be a state of the contract, or UNSPECIFIED for all");
    filter
}

#[cfg(test)]
mod tests;
