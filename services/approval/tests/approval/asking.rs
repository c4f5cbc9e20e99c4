//! Asking for a decision: once, in whose name, and with what.

use bulkhead_proto::approval::v1::{self as pb, ApprovalState};
use bulkhead_proto::common::v1 as common;
use futures::future::join_all;
use prost_types::Duration as ProtoDuration;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::sandbox::{
    Sandbox, agent, approve, ask, create, get, plan, question, refusal, requirement, until,
};

/// The same question under an id of its own.
fn again(question: &pb::CreateApprovalRequest) -> pb::CreateApprovalRequest {
    pb::CreateApprovalRequest { request_id: Uuid::new_v4().to_string(), ..question.clone() }
}

#[tokio::test]
async fn the_same_request_asks_once_and_gets_the_approval_as_it_is_now() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let question = question(&plan());
    let asked = ask(&service, question.clone()).await;
    approve(&service, "bob", &asked).await.expect("the vote counts");

    let same = ask(&service, question.clone()).await;
    assert_eq!(same.approval_id, asked.approval_id);
    assert_eq!(same.state(), ApprovalState::Approved);
    assert!(same.grant.is_some());

    let other = pb::CreateApprovalRequest { session_id: "session-2".into(), ..question };
    let outcome = create(&mut service.client("tool-executor"), other).await;
    assert_eq!(refusal(outcome), (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
    sandbox.audit.events(3).await;
    assert_eq!(sandbox.audit.kinds().len(), 3, "one question, one vote, one end");
}

#[tokio::test]
async fn requests_that_race_ask_once() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let question = question(&plan());
    let answers = join_all((0..16).map(|_| ask(&service, question.clone()))).await;
    let first = &answers[0].approval_id;
    assert!(answers.iter().all(|answer| answer.approval_id == *first));
}

#[tokio::test]
async fn an_equal_question_is_joined_while_it_waits_and_no_longer() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let question = question(&plan());
    let asked = ask(&service, question.clone()).await;
    let joined = ask(&service, again(&question)).await;
    assert_eq!(joined, asked, "one question for the people");

    let stricter =
        pb::CreateApprovalRequest { requirements: vec![requirement("approver", 2)], ..again(&question) };
    let for_another =
        pb::CreateApprovalRequest { on_behalf_of: Some(agent("courier", "bob")), ..again(&question) };
    for different in [stricter, for_another] {
        assert_ne!(ask(&service, different).await.approval_id, asked.approval_id);
    }
    approve(&service, "bob", &asked).await.expect("the vote counts");
    assert_ne!(
        ask(&service, again(&question)).await.approval_id,
        asked.approval_id,
        "its grant is used once"
    );
}

#[tokio::test]
async fn a_question_whose_time_is_over_is_not_joined() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut question = question(&plan());
    question.expires_in = Some(ProtoDuration { seconds: 1, nanos: 0 });
    let asked = ask(&service, question.clone()).await;
    let client = service.client("tool-executor");
    until("it expires", || async {
        let seen = get(&mut client.clone(), &asked.approval_id).await.expect("found");
        seen.state() == ApprovalState::Expired
    })
    .await;
    assert_ne!(ask(&service, again(&question)).await.approval_id, asked.approval_id);
}

#[tokio::test]
async fn only_a_service_asks_and_only_within_its_tenant() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    for name in ["scribe", "bob", "olga"] {
        let outcome = create(&mut service.client(name), question(&plan())).await;
        assert_eq!(refusal(outcome), (Code::PermissionDenied, "ROLE_REQUIRED".into()), "{name}");
    }
    let outcome = create(&mut service.client("other-executor"), question(&plan())).await;
    assert_eq!(refusal(outcome), (Code::PermissionDenied, "ON_BEHALF_OF_FORBIDDEN".into()));
}

#[tokio::test]
async fn every_wrong_field_is_named_over_the_wire() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let wrong = pb::CreateApprovalRequest {
        request_id: "one".into(),
        on_behalf_of: Some(common::Principal { name: "Scribe!".into(), ..agent("scribe", "ada") }),
        plan_json: r#"{"a":1,"a":2}"#.into(),
        requirements: vec![requirement("approver", 0)],
        expires_in: Some(ProtoDuration { seconds: 31 * 24 * 3_600, nanos: 0 }),
        session_id: "no spaces".into(),
        plan_digest: String::new(),
        ..pb::CreateApprovalRequest::default()
    };
    let status = create(&mut service.client("tool-executor"), wrong).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        ["request_id", "on_behalf_of.name", "requirements[0].count", "expires_in", "session_id", "plan_json"]
    );
}

#[tokio::test]
async fn a_plan_of_a_megabyte_arrives_whole() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let long = format!(r#"{{"diff":"{}"}}"#, "x".repeat((1 << 20) - 11));
    let asked = ask(&service, question(&long)).await;
    let shown = get(&mut service.client("bob"), &asked.approval_id).await.expect("found");
    assert!(shown.plan_json == long, "the plan was cut or changed");
    approve(&service, "bob", &asked).await.expect("the vote counts");
}
