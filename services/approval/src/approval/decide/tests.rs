//! The rules of voting, as tables.

use std::time::Duration;

use bulkhead_canonical_json::sha256_hex;
use bulkhead_grant::GrantedDecision;

use super::*;
use crate::approval::grant::grant;
use crate::approval::{ApprovalId, Plan, Question, Requirement, Requirements, expire};

const PLAN: &str = r#"{"tool":"fs.delete"}"#;

fn noon() -> Timestamp {
    "2026-05-09T12:00:00Z".parse().expect("a time")
}

fn principal(kind: PrincipalKind, name: &str, owner: Option<&str>) -> Principal {
    Principal { tenant: "default".into(), kind, name: name.into(), owner: owner.map(str::to_owned) }
}

/// Asked at noon for an hour by the executor for ada's agent `scribe`.
fn open(requirements: &[(&str, u32)]) -> Approval {
    let entry = |(role, count): &(&str, u32)| Requirement { role: (*role).to_owned(), count: *count };
    let question = Question {
        requested_by: principal(PrincipalKind::Service, "tool-executor", None),
        on_behalf_of: principal(PrincipalKind::Agent, "scribe", Some("ada")),
        plan: Plan::check(PLAN.into(), &sha256_hex(PLAN)).expect("a plan"),
        requirements: Requirements::new(requirements.iter().map(entry).collect()),
        session_id: String::new(),
        traceparent: String::new(),
        create_time: noon(),
        expire_time: noon() + Duration::from_secs(3_600),
    };
    Approval::open(ApprovalId::generate(), question)
}

fn ballot(name: &str, decision: Decision, roles: &[&str]) -> Ballot {
    Ballot {
        voter: principal(PrincipalKind::Person, name, None),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        decision,
        reason: "because".into(),
        plan_digest: sha256_hex(PLAN),
        traceparent: "the-voters-trace".into(),
    }
}

fn approve(name: &str) -> Ballot {
    ballot(name, Decision::Approve, &["approver"])
}

fn deny(name: &str) -> Ballot {
    ballot(name, Decision::Deny, &["approver"])
}

/// The approval after these votes, each of which must count.
fn after(approval: Approval, ballots: &[Ballot]) -> Approval {
    ballots.iter().fold(approval, |approval, ballot| {
        let events = decide(&approval, ballot, noon()).expect("the vote counts");
        events.into_iter().fold(approval, Approval::after)
    })
}

fn outcome_of(approval: &Approval) -> Option<Outcome> {
    approval.settlement.as_ref().map(|end| end.outcome)
}

#[test]
fn votes_end_an_approval_when_they_should() {
    let one = &[("approver", 1)][..];
    let two = &[("approver", 2)][..];
    let both = &[("approver", 1), ("dba", 1)][..];
    let dba = || ballot("dan", Decision::Approve, &["approver", "dba"]);
    let cases = [
        (one, vec![], None),
        (one, vec![approve("bob")], Some(Outcome::Approved)),
        (one, vec![deny("bob")], Some(Outcome::Denied)),
        (two, vec![approve("bob")], None),
        (two, vec![approve("bob"), approve("cleo")], Some(Outcome::Approved)),
        (two, vec![approve("bob"), deny("cleo")], Some(Outcome::Denied)),
        (two, vec![approve("bob"), deny("bob")], Some(Outcome::Denied)),
        (both, vec![dba()], None),
        (both, vec![approve("bob"), approve("cleo")], None),
        (both, vec![dba(), approve("bob")], Some(Outcome::Approved)),
    ];
    for (requirements, ballots, expected) in cases {
        let settled = after(open(requirements), &ballots);
        assert_eq!(outcome_of(&settled), expected, "{requirements:?} after {ballots:?}");
        assert_eq!(settled.votes.len(), ballots.len());
    }
}

#[test]
fn nobody_decides_for_themselves_or_for_their_agent() {
    let approval = open(&[("approver", 1)]);
    for ballot in [approve("ada"), deny("ada")] {
        let outcome = decide(&approval, &ballot, noon());
        assert_eq!(outcome, Err(Rejection::SelfApproval { approver: "ada".into() }));
    }
    let mut own = open(&[("approver", 1)]);
    own.question.on_behalf_of = principal(PrincipalKind::Person, "bob", None);
    let outcome = decide(&own, &approve("bob"), noon());
    assert_eq!(outcome, Err(Rejection::SelfApproval { approver: "bob".into() }));

    let mut asked = open(&[("approver", 1)]);
    asked.question.requested_by = principal(PrincipalKind::Person, "bob", None);
    let outcome = decide(&asked, &approve("bob"), noon());
    assert_eq!(outcome, Err(Rejection::SelfApproval { approver: "bob".into() }));
}

#[test]
fn only_a_person_with_a_required_role_may_vote() {
    let approval = open(&[("dba", 1)]);
    let agent = Ballot {
        voter: principal(PrincipalKind::Agent, "bob", None),
        ..ballot("bob", Decision::Approve, &["dba"])
    };
    for ballot in [approve("bob"), deny("bob"), ballot("bob", Decision::Approve, &[]), agent] {
        let outcome = decide(&approval, &ballot, noon());
        assert!(matches!(outcome, Err(Rejection::NotAnApprover { .. })), "{ballot:?} gave {outcome:?}");
    }
}

#[test]
fn a_vote_counts_only_for_the_plan_that_was_shown() {
    let other = Ballot { plan_digest: sha256_hex("{}"), ..approve("bob") };
    let outcome = decide(&open(&[("approver", 1)]), &other, noon());
    assert!(matches!(outcome, Err(Rejection::PlanDigestMismatch { .. })), "{outcome:?}");
}

#[test]
fn a_settled_approval_stays_settled() {
    for (first, expected) in [(approve("bob"), Outcome::Approved), (deny("bob"), Outcome::Denied)] {
        let settled = after(open(&[("approver", 1)]), &[first]);
        for ballot in [approve("cleo"), deny("cleo")] {
            let outcome = decide(&settled, &ballot, noon());
            assert_eq!(outcome, Err(Rejection::Settled { outcome: expected }));
        }
        assert_eq!(expire(&settled, noon() + Duration::from_secs(7_200)), None);
    }
}

#[test]
fn one_person_says_yes_once() {
    let half = after(open(&[("approver", 2)]), &[approve("bob")]);
    let outcome = decide(&half, &approve("bob"), noon());
    assert!(matches!(outcome, Err(Rejection::AlreadyVoted { .. })), "{outcome:?}");
}

#[test]
fn the_last_moment_to_vote_is_before_the_expiry() {
    let approval = open(&[("approver", 1)]);
    let expiry = approval.question.expire_time;
    let just_before = expiry - Duration::from_millis(1);

    assert!(decide(&approval, &approve("bob"), just_before).is_ok());
    assert_eq!(expire(&approval, just_before), None);

    let late = Err(Rejection::Expired { expire_time: expiry });
    assert_eq!(decide(&approval, &approve("bob"), expiry), late, "before it is written down");
    let expired = approval.seen_at(expiry);
    assert_eq!(outcome_of(&expired), Some(Outcome::Expired));
    assert_eq!(decide(&expired, &deny("bob"), expiry), late, "and after");
}

#[test]
fn only_what_was_approved_is_granted() {
    let lifetime = Duration::from_secs(900);
    assert_eq!(grant(&open(&[("approver", 1)]), lifetime), None);
    assert_eq!(grant(&after(open(&[("approver", 1)]), &[deny("bob")]), lifetime), None);

    let approved = after(open(&[("approver", 2)]), &[approve("bob"), approve("cleo")]);
    let granted = grant(&approved, lifetime).expect("a grant");
    assert_eq!(granted.decision, GrantedDecision::Approved);
    assert_eq!(granted.plan_digest, sha256_hex(PLAN));
    assert_eq!(granted.not_after, noon() + lifetime);
    let voters: Vec<&str> = granted.voters.iter().map(|voter| voter.name.as_str()).collect();
    assert_eq!(voters, ["bob", "cleo"]);
}

#[test]
fn the_settlement_belongs_to_the_trace_of_the_vote() {
    let approved = after(open(&[("approver", 1)]), &[approve("bob")]);
    let traceparent = approved.settlement.map(|end| end.traceparent);
    assert_eq!(traceparent.as_deref(), Some("the-voters-trace"));
}
