//! Who sees what, and in which pages.

use bulkhead_edge::page;
use bulkhead_proto::approval::v1::{self as pb, ApprovalState};
use tonic::{Code, Status};

use crate::sandbox::{
    Client, Sandbox, agent, approve, ask, create, deny, get, plan, question, refusal, requirement,
};

async fn list(
    client: &mut Client,
    request: pb::ListApprovalsRequest,
) -> Result<pb::ListApprovalsResponse, Status> {
    Ok(client.list_approvals(request).await?.into_inner())
}

fn ids(approvals: &[pb::Approval]) -> Vec<&str> {
    approvals.iter().map(|approval| approval.approval_id.as_str()).collect()
}

/// Follows the pages to the end.
async fn all_pages(client: &mut Client, page_size: u32) -> Vec<Vec<pb::Approval>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListApprovalsRequest {
            page_size,
            page_token,
            state: 0,
            ..pb::ListApprovalsRequest::default()
        };
        let page = list(client, request).await.expect("a page");
        pages.push(page.approvals);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return pages;
        }
    }
}

#[tokio::test]
async fn an_agent_sees_what_was_asked_on_its_behalf_only() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    for name in ["scribe", "ada", "bob", "olga", "toni", "tool-executor"] {
        let seen = get(&mut service.client(name), &asked.approval_id).await.expect("found");
        assert_eq!(seen.plan_json, asked.plan_json, "{name}");
    }
    for name in ["courier", "robot", "eve", "other-executor"] {
        let outcome = get(&mut service.client(name), &asked.approval_id).await;
        assert_eq!(refusal(outcome), (Code::NotFound, "APPROVAL_NOT_FOUND".into()), "{name}");
    }
}

#[tokio::test]
async fn lists_are_newest_first_in_pages_that_fit_together() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut asked = Vec::new();
    for _ in 0..5 {
        asked.insert(0, ask(&service, question(&plan())).await);
    }
    let pages = all_pages(&mut service.client("bob"), 2).await;
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(ids(&pages.concat()), ids(&asked));
    assert_eq!(all_pages(&mut service.client("eve"), 2).await, [Vec::new()], "nothing crosses tenants");
}

#[tokio::test]
async fn a_list_can_be_of_one_state() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let waiting = ask(&service, question(&plan())).await;
    let approved = ask(&service, question(&plan())).await;
    let denied = ask(&service, question(&plan())).await;
    approve(&service, "bob", &approved).await.expect("the vote counts");
    deny(&service, "bob", &denied).await.expect("the vote counts");

    let cases = [
        (ApprovalState::Pending, vec![waiting.approval_id.as_str()]),
        (ApprovalState::Approved, vec![approved.approval_id.as_str()]),
        (ApprovalState::Denied, vec![denied.approval_id.as_str()]),
        (ApprovalState::Expired, vec![]),
        (ApprovalState::Cancelled, vec![]),
    ];
    for (state, expected) in cases {
        let request = pb::ListApprovalsRequest { state: state.into(), ..Default::default() };
        let listed = list(&mut service.client("olga"), request).await.expect("a page");
        assert_eq!(ids(&listed.approvals), expected, "{state:?}");
    }
}

#[tokio::test]
async fn a_page_of_large_plans_stays_below_what_callers_decode() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    for n in 0..9 {
        ask(&service, question(&format!(r#"{{"diff":"{}","n":{n}}}"#, "x".repeat(1_000_000)))).await;
    }
    let pages = all_pages(&mut service.client("bob"), 100).await;
    assert_eq!(pages.concat().len(), 9);
    assert!(pages.len() > 1 && pages.iter().all(|page| !page.is_empty()));
}

#[tokio::test]
async fn a_token_of_another_list_is_refused() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut bob = service.client("bob");
    for (page_size, page_token) in
        [(0, page::token(1, "state=1")), (0, "nonsense".into()), (1_001, String::new())]
    {
        let outcome = list(
            &mut bob,
            pb::ListApprovalsRequest {
                page_size,
                page_token,
                state: 0,
                ..pb::ListApprovalsRequest::default()
            },
        )
        .await;
        assert_eq!(refusal(outcome), (Code::InvalidArgument, "INVALID_REQUEST".into()));
    }
    let outcome = get(&mut bob, "a1").await;
    assert_eq!(refusal(outcome), (Code::InvalidArgument, "INVALID_REQUEST".into()));
}

#[tokio::test]
async fn the_signing_key_is_the_one_that_signs() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    approve(&service, "bob", &asked).await.expect("the vote counts");
    let grant = get(&mut service.client("tool-executor"), &asked.approval_id).await.expect("found").grant;

    let request = pb::ListSigningKeysRequest::default();
    let keys = service.client("scribe").list_signing_keys(request).await.expect("keys").into_inner().keys;
    assert_eq!(keys.len(), 1);
    assert_eq!(Some(&keys[0].key_id), grant.as_ref().map(|grant| &grant.key_id));
    assert_eq!(keys[0].public_key.len(), 32);
}

#[tokio::test]
async fn withdrawing_is_not_there_yet_and_says_so() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let outcome = service.client("olga").cancel_approval(pb::CancelApprovalRequest::default()).await;
    assert_eq!(refusal(outcome), (Code::Unimplemented, "RPC_NOT_IMPLEMENTED".into()));
}

#[tokio::test]
async fn a_tenant_has_its_own_questions_and_revisions() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    ask(&service, question(&plan())).await;
    let theirs = pb::CreateApprovalRequest {
        on_behalf_of: Some(bulkhead_proto::common::v1::Principal {
            tenant: "other".into(),
            ..agent("scribe", "ada")
        }),
        requirements: vec![requirement("approver", 1)],
        ..question(&plan())
    };
    let asked = create(&mut service.client("other-executor"), theirs).await.expect("asked");
    assert_eq!(asked.revision, 1);
    approve(&service, "eve", &asked).await.expect("the vote counts");
}
