//! What is wrong with a request, field by field.

use bulkhead_proto::common::v1 as common;
use prost_types::Duration as ProtoDuration;
use tonic::Status;
use tonic_types::StatusExt as _;

use bulkhead_canonical_json::sha256_hex;

use super::*;

const RANGE: ExpiryRange = ExpiryRange {
    default: Duration::from_secs(3_600),
    min: Duration::from_secs(1),
    max: Duration::from_secs(60),
};

const PLAN: &str = r#"{"tool":"fs.delete"}"#;

fn valid() -> pb::CreateApprovalRequest {
    pb::CreateApprovalRequest {
        request_id: "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55".into(),
        on_behalf_of: Some(common::Principal {
            tenant: "default".into(),
            kind: common::PrincipalKind::Agent.into(),
            name: "scribe".into(),
            owner: "ada".into(),
        }),
        plan_json: PLAN.into(),
        plan_digest: sha256_hex(PLAN),
        requirements: vec![requirement("approver", 1)],
        expires_in: None,
        session_id: "s-1".into(),
        ..pb::CreateApprovalRequest::default()
    }
}

fn requirement(role: &str, count: u32) -> pb::Requirement {
    pb::Requirement { role: role.into(), count }
}

fn seconds(seconds: i64) -> Option<ProtoDuration> {
    Some(ProtoDuration { seconds, nanos: 0 })
}

/// The fields that a conversion complains about.
fn complaints<T>(result: Result<T, Fault>) -> Vec<String> {
    let Err(fault) = result else { return Vec::new() };
    let status: Status = fault.into_status();
    let bad = status.get_details_bad_request().expect("violations");
    bad.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn each_wrong_field_of_a_question_is_named() {
    let change = |edit: fn(&mut pb::CreateApprovalRequest)| {
        let mut message = valid();
        edit(&mut message);
        message
    };
    let cases: Vec<(pb::CreateApprovalRequest, &[&str])> = vec![
        (valid(), &[]),
        (change(|m| m.request_id = "1".into()), &["request_id"]),
        (change(|m| m.on_behalf_of = None), &["on_behalf_of"]),
        (change(|m| m.plan_json = r#"{"a": 1}"#.into()), &["plan_json"]),
        (change(|m| m.plan_json = "x".repeat((1 << 20) + 1)), &["plan_json"]),
        (change(|m| m.plan_digest = sha256_hex("{}")), &["plan_digest"]),
        (change(|m| m.plan_digest = sha256_hex(PLAN).to_uppercase()), &["plan_digest"]),
        (change(|m| m.requirements.clear()), &["requirements"]),
        (
            change(|m| m.requirements = (0..9).map(|n| requirement(&format!("r{n}"), 1)).collect()),
            &["requirements"],
        ),
        (change(|m| m.requirements[0].role = "A b".into()), &["requirements[0].role"]),
        (change(|m| m.requirements.push(requirement("approver", 2))), &["requirements[1].role"]),
        (change(|m| m.requirements[0].count = 0), &["requirements[0].count"]),
        (change(|m| m.requirements[0].count = 17), &["requirements[0].count"]),
        (change(|m| m.expires_in = seconds(0)), &["expires_in"]),
        (change(|m| m.expires_in = seconds(61)), &["expires_in"]),
        (change(|m| m.expires_in = seconds(-1)), &["expires_in"]),
        (change(|m| m.session_id = "a b".into()), &["session_id"]),
        (
            change(|m| m.on_behalf_of.iter_mut().for_each(|p| p.kind = common::PrincipalKind::Person.into())),
            &["on_behalf_of.owner"],
        ),
    ];
    for (message, expected) in cases {
        assert_eq!(complaints(asked(message.clone(), RANGE)), expected, "{:?}", message.requirements);
    }
}

#[test]
fn all_wrong_fields_of_an_empty_question_are_named_at_once() {
    let named = complaints(asked(pb::CreateApprovalRequest::default(), RANGE));
    assert_eq!(named, ["request_id", "on_behalf_of", "requirements", "plan_json"]);
}

#[test]
fn each_wrong_field_of_a_vote_is_named() {
    let valid = pb::DecideApprovalRequest {
        request_id: "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55".into(),
        approval_id: "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a56".into(),
        decision: pb::Decision::Deny.into(),
        reason: "ä".repeat(2_000),
        plan_digest: sha256_hex(PLAN),
        ..pb::DecideApprovalRequest::default()
    };
    let change = |edit: fn(&mut pb::DecideApprovalRequest)| {
        let mut message = valid.clone();
        edit(&mut message);
        message
    };
    let cases: [(pb::DecideApprovalRequest, &[&str]); 11] = [
        (valid.clone(), &[]),
        (change(|m| m.reason = "no:\n\tnot today".into()), &[]),
        (change(|m| m.reason = "no\u{1b}[2J".into()), &["reason"]),
        (change(|m| m.request_id.clear()), &["request_id"]),
        (change(|m| m.approval_id = "a1".into()), &["approval_id"]),
        (change(|m| m.decision = 0), &["decision"]),
        (change(|m| m.decision = 99), &["decision"]),
        (change(|m| m.reason.push('!')), &["reason"]),
        (change(|m| m.reason = " \n".into()), &["reason"]),
        (change(|m| m.plan_digest.clear()), &["plan_digest"]),
        (change(|m| m.plan_digest = "G".repeat(64)), &["plan_digest"]),
    ];
    for (message, expected) in cases {
        assert_eq!(complaints(cast(message.clone())), expected, "{message:?}");
    }
}

#[test]
fn a_yes_needs_no_reason() {
    let yes = pb::DecideApprovalRequest {
        request_id: "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a55".into(),
        approval_id: "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a56".into(),
        decision: pb::Decision::Approve.into(),
        reason: String::new(),
        plan_digest: sha256_hex(PLAN),
        ..pb::DecideApprovalRequest::default()
    };
    assert!(cast(yes).is_ok());
}

#[test]
fn the_request_id_is_no_part_of_the_payload() {
    let digest = |message| asked(message, RANGE).expect("valid").payload;
    let other_id = "0b9c7c3e-5d0e-4a3c-9f57-2f6f9b1d8a57";
    let same = pb::CreateApprovalRequest { request_id: other_id.into(), ..valid() };
    let longer = pb::CreateApprovalRequest { expires_in: seconds(2), ..valid() };
    assert_eq!(digest(same), digest(valid()));
    assert_ne!(digest(longer), digest(valid()));
}

#[test]
fn states_that_the_contract_does_not_know_are_refused() {
    let list = |state| wanted(&pb::ListApprovalsRequest { state, ..Default::default() });
    assert_eq!(complaints(list(6)), ["state"]);
    assert_eq!(complaints(list(-1)), ["state"]);
    assert_eq!(list(0).expect("all").filter, StateFilter::Any);
}
