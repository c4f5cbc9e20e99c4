//! What may happen to an approval. The time is an argument; nothing here waits, reads or writes.

use bulkhead_edge::{Principal, PrincipalKind};
use jiff::Timestamp;

use super::{Approval, Decision, Outcome, Settlement, Vote};

/// A vote that is about to be cast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ballot {
    /// Who, from the credential.
    pub(crate) voter: Principal,
    /// The roles held now.
    pub(crate) roles: Vec<String>,
    /// What.
    pub(crate) decision: Decision,
    /// Why.
    pub(crate) reason: String,
    /// The digest of the plan that was shown.
    pub(crate) plan_digest: String,
    /// The trace in which the person decides, or empty.
    pub(crate) traceparent: String,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// A person voted.
    Voted(Vote),
    /// It is over.
    Settled(Settlement),
}

/// Why a vote does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    /// It is for a person to decide, and for one with a required role.
    #[error("{voter} is not a person with one of the roles {}", required.join(", "))]
    NotAnApprover {
        /// Who tried.
        voter: String,
        /// The roles that may vote.
        required: Vec<String>,
    },
    /// Nobody decides on what is done for them, by them or by their agent.
    #[error("{approver} cannot decide on a request of their own or of their agent")]
    SelfApproval {
        /// Who tried.
        approver: String,
    },
    /// It was decided before.
    #[error("the approval is already {}", outcome.as_str())]
    Settled {
        /// How.
        outcome: Outcome,
    },
    /// Its time is over.
    #[error("the approval expired at {expire_time}")]
    Expired {
        /// When.
        expire_time: Timestamp,
    },
    /// The voter was shown something else.
    #[error("the vote is for plan {shown}, and the approval for plan {expected}")]
    PlanDigestMismatch {
        /// What the voter named.
        shown: String,
        /// What would run.
        expected: String,
    },
    /// One person, one yes.
    #[error("{voter} has already approved; a denial is still possible")]
    AlreadyVoted {
        /// Who.
        voter: String,
    },
}

/// What follows from a vote: the vote itself, and the end of the approval when it decides.
///
/// One denial decides. A person says yes at most once, and who said yes may still say no until it is
/// settled: refusing is always the safe direction.
pub(crate) fn decide(approval: &Approval, ballot: &Ballot, now: Timestamp) -> Result<Vec<Event>, Rejection> {
    may_vote(approval, ballot)?;
    is_open(approval, now)?;
    is_informed(approval, ballot)?;
    if ballot.decision == Decision::Approve && has_agreed(approval, &ballot.voter) {
        return Err(Rejection::AlreadyVoted { voter: ballot.voter.to_string() });
    }
    let vote = Vote {
        voter: ballot.voter.clone(),
        roles: ballot.roles.clone(),
        decision: ballot.decision,
        reason: ballot.reason.clone(),
        time: now,
    };
    let outcome = outcome(approval, &vote);
    let settled =
        |outcome| Event::Settled(Settlement { outcome, time: now, traceparent: ballot.traceparent.clone() });
    Ok([Event::Voted(vote)].into_iter().chain(outcome.map(settled)).collect())
}

/// The end of a pending approval whose time is over; none for any other. It ended when its time was over,
/// not when somebody noticed.
pub(crate) fn expire(approval: &Approval, now: Timestamp) -> Option<Event> {
    let due = approval.settlement.is_none() && approval.is_overdue(now);
    let time = approval.question.expire_time;
    let settlement = Settlement { outcome: Outcome::Expired, time, traceparent: String::new() };
    due.then_some(Event::Settled(settlement))
}

fn may_vote(approval: &Approval, ballot: &Ballot) -> Result<(), Rejection> {
    let Ballot { voter, roles, .. } = ballot;
    let question = &approval.question;
    if voter.kind != PrincipalKind::Person || !question.requirements.admit(roles) {
        let required = question.requirements.roles();
        return Err(Rejection::NotAnApprover { voter: voter.to_string(), required });
    }
    if question.requested_by.is_or_belongs_to(voter) || question.on_behalf_of.is_or_belongs_to(voter) {
        return Err(Rejection::SelfApproval { approver: voter.name.clone() });
    }
    Ok(())
}

fn is_open(approval: &Approval, now: Timestamp) -> Result<(), Rejection> {
    let expire_time = approval.question.expire_time;
    match approval.settlement.as_ref().map(|end| end.outcome) {
        Some(Outcome::Expired) => Err(Rejection::Expired { expire_time }),
        Some(outcome) => Err(Rejection::Settled { outcome }),
        None if approval.is_overdue(now) => Err(Rejection::Expired { expire_time }),
        None => Ok(()),
    }
}

fn is_informed(approval: &Approval, ballot: &Ballot) -> Result<(), Rejection> {
    let expected = approval.question.plan.digest();
    if ballot.plan_digest == expected {
        return Ok(());
    }
    Err(Rejection::PlanDigestMismatch { shown: ballot.plan_digest.clone(), expected: expected.to_owned() })
}

fn has_agreed(approval: &Approval, voter: &Principal) -> bool {
    // A person is one person whatever else the credential says now.
    approval.agreeing().any(|vote| vote.voter.kind == voter.kind && vote.voter.name == voter.name)
}

fn outcome(approval: &Approval, vote: &Vote) -> Option<Outcome> {
    if vote.decision == Decision::Deny {
        return Some(Outcome::Denied);
    }
    let people: Vec<&[String]> =
        approval.agreeing().chain([vote]).map(|vote| vote.roles.as_slice()).collect();
    approval.question.requirements.met_by(&people).then_some(Outcome::Approved)
}

#[cfg(test)]
mod tests;
