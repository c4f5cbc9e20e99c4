//! What people may decide, and what follows.

use bulkhead_grant::{Expected, SignedGrant};
use bulkhead_proto::approval::v1::{self as pb, ApprovalState, Decision};
use tonic::Code;

use crate::audit::attributes;
use crate::sandbox::{
    Sandbox, agent, approve, ask, ballot, decide, deny, get, plan, question, refusal, requirement,
};

fn signed(grant: pb::Grant) -> SignedGrant {
    SignedGrant { payload_json: grant.payload_json, key_id: grant.key_id, signature: grant.signature }
}

#[tokio::test]
async fn an_approval_ends_in_a_grant_that_an_executor_can_verify() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let plan = plan();
    let asked = ask(&service, question(&plan)).await;
    assert_eq!(asked.state(), ApprovalState::Pending);
    assert_eq!((asked.plan_json.as_str(), asked.grant.as_ref()), (plan.as_str(), None));

    let approved = approve(&service, "bob", &asked).await.expect("the vote counts");
    assert_eq!(approved.state(), ApprovalState::Approved);
    assert!(approved.settle_time.is_some() && approved.revision > asked.revision);
    assert_eq!(approved.grant, None, "a grant is for services");
    assert_eq!(get(&mut service.client("toni"), &asked.approval_id).await.expect("found").grant, None);

    let seen = get(&mut service.client("tool-executor"), &asked.approval_id).await.expect("found");
    let grant = signed(seen.grant.expect("the executor gets the grant"));
    let expected =
        Expected { approval_id: &asked.approval_id, plan_digest: &asked.plan_digest, tenant: "default" };
    let granted = grant.verify(&sandbox.pinned_keys(), expected, bulkhead_edge::now()).expect("it verifies");
    assert_eq!(granted.voters.len(), 1);
    assert_eq!(
        (granted.voters[0].name.as_str(), &granted.voters[0].roles[..]),
        ("bob", &["approver".into()][..])
    );
    let lifetime = granted.not_after.duration_since(bulkhead_edge::now()).as_secs();
    assert!((600..=900).contains(&lifetime), "{lifetime}");
}

#[tokio::test]
async fn the_audit_log_is_told_what_was_asked_voted_and_decided() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    approve(&service, "bob", &asked).await.expect("the vote counts");

    let events = sandbox.audit.events(3).await;
    assert_eq!(
        sandbox.audit.kinds(),
        ["approval.requested", "approval.voted approve", "approval.settled approved"]
    );
    for event in &events {
        assert_eq!(
            (event.subject_id.as_str(), event.tool.as_str()),
            (asked.approval_id.as_str(), "fs.delete")
        );
        assert_eq!(event.session_id, "session-1");
        assert!(!event.request_id.is_empty() && event.time.is_some());
        assert_eq!(attributes(event)["plan_digest"], asked.plan_digest.as_str());
    }
    let names: Vec<_> = events.iter().map(|e| e.principal.clone().expect("a principal").name).collect();
    assert_eq!(names, ["scribe", "bob", "bob"]);
    assert_eq!(attributes(&events[0])["requirements"][0]["role"], "approver");
    assert_eq!(attributes(&events[1])["reason"], "because I looked");
    assert_eq!(attributes(&events[2])["voters"][0], "bob");
    assert_eq!(attributes(&events[2])["key_id"].as_str().map(str::len), Some(16));
    let seen = get(&mut service.client("tool-executor"), &asked.approval_id).await.expect("found");
    let payload = seen.grant.expect("a grant").payload_json;
    let grant: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
    assert!(grant["not_after"].is_string(), "{grant}");
    assert_eq!(attributes(&events[2])["grant_not_after"], grant["not_after"]);
}

#[tokio::test]
async fn one_denial_is_final() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let two =
        pb::CreateApprovalRequest { requirements: vec![requirement("approver", 2)], ..question(&plan()) };
    let asked = ask(&service, two).await;
    approve(&service, "bob", &asked).await.expect("the vote counts");
    let denied = deny(&service, "cleo", &asked).await.expect("the denial counts");
    assert_eq!(denied.state(), ApprovalState::Denied);

    let late = approve(&service, "dan", &asked).await;
    assert_eq!(refusal(late), (Code::FailedPrecondition, "APPROVAL_SETTLED".into()));
    let seen = get(&mut service.client("tool-executor"), &asked.approval_id).await.expect("found");
    assert_eq!((seen.grant.as_ref(), seen.votes.len()), (None, 2));
    assert_eq!(seen.votes[1].reason, "because I looked", "the agent reads it");
    let events = sandbox.audit.events(4).await;
    assert_eq!(attributes(&events[3]).get("grant_not_after"), None, "nothing was granted");
}

#[tokio::test]
async fn a_quorum_is_of_distinct_people() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let both = vec![requirement("dba", 1), requirement("approver", 1)];
    let asked = ask(&service, pb::CreateApprovalRequest { requirements: both, ..question(&plan()) }).await;

    let half = approve(&service, "dan", &asked).await.expect("the vote counts");
    assert_eq!(half.state(), ApprovalState::Pending, "dan holds both roles and is one person");
    let again = approve(&service, "dan", &asked).await;
    assert_eq!(refusal(again), (Code::FailedPrecondition, "ALREADY_VOTED".into()));
    let whole = approve(&service, "bob", &asked).await.expect("the vote counts");
    assert_eq!(whole.state(), ApprovalState::Approved);
}

#[tokio::test]
async fn votes_that_must_not_count_do_not() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    let own = pb::CreateApprovalRequest { on_behalf_of: Some(agent("courier", "bob")), ..question(&plan()) };
    let bobs = ask(&service, own).await;
    let dba = pb::CreateApprovalRequest { requirements: vec![requirement("dba", 1)], ..question(&plan()) };
    let dbas = ask(&service, dba).await;

    let cases = [
        ("ada", &asked, Code::PermissionDenied, "SELF_APPROVAL"),
        ("bob", &bobs, Code::PermissionDenied, "SELF_APPROVAL"),
        ("robot", &asked, Code::PermissionDenied, "NOT_AN_APPROVER"),
        ("bob", &dbas, Code::PermissionDenied, "NOT_AN_APPROVER"),
        ("eve", &asked, Code::NotFound, "APPROVAL_NOT_FOUND"),
        ("olga", &asked, Code::PermissionDenied, "ROLE_REQUIRED"),
        ("scribe", &asked, Code::PermissionDenied, "ROLE_REQUIRED"),
        ("tool-executor", &asked, Code::PermissionDenied, "ROLE_REQUIRED"),
        ("nobody", &asked, Code::Unauthenticated, "CREDENTIAL_REQUIRED"),
    ];
    for (name, approval, code, reason) in cases {
        let outcome = approve(&service, name, approval).await;
        assert_eq!(refusal(outcome), (code, reason.into()), "{name}");
    }
    let mut blind = ballot(&asked, Decision::Approve);
    blind.plan_digest.clone_from(&bobs.plan_digest);
    let outcome = decide(&mut service.client("bob"), blind).await;
    assert_eq!(refusal(outcome), (Code::FailedPrecondition, "PLAN_DIGEST_MISMATCH".into()));

    let seen = get(&mut service.client("tool-executor"), &asked.approval_id).await.expect("found");
    assert_eq!(seen, asked, "nothing of that left a trace in the approval");
}

#[tokio::test]
async fn a_vote_sent_twice_counts_once() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    let vote = ballot(&asked, Decision::Approve);
    let mut bob = service.client("bob");
    let first = decide(&mut bob, vote.clone()).await.expect("the vote counts");
    let second = decide(&mut bob, vote.clone()).await.expect("the same answer");
    assert_eq!(first, second);

    let other = pb::DecideApprovalRequest { decision: Decision::Deny.into(), ..vote.clone() };
    assert_eq!(refusal(decide(&mut bob, other).await), (Code::AlreadyExists, "REQUEST_ID_REUSED".into()));
    let cleo = decide(&mut service.client("cleo"), vote).await;
    assert_eq!(refusal(cleo), (Code::FailedPrecondition, "APPROVAL_SETTLED".into()), "ids are per caller");
}
