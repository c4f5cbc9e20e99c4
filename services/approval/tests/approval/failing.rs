//! What goes on and what stops when something fails in the middle.

use std::time::Duration;

use bulkhead_edge::peer;
use bulkhead_proto::approval::v1::{self as pb, ApprovalState, Decision};
use prost_types::Duration as ProtoDuration;
use sqlx::Connection as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use crate::sandbox::{
    Sandbox, Service, approve, ask, ballot, decide, get, plan, question, refusal, requirement,
    says_when_to_retry, until,
};

/// The status line of `GET /readyz`.
async fn readiness(service: &Service) -> String {
    let mut stream = TcpStream::connect(service.address).await.expect("it listens");
    let request = "GET /readyz HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn people_go_on_deciding_while_the_audit_service_is_down() {
    let sandbox = Sandbox::new().await;
    sandbox.audit.set_down(true);
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    let approved = approve(&service, "bob", &asked).await.expect("the vote counts");
    assert_eq!(approved.state(), ApprovalState::Approved);
    assert_eq!(sandbox.audit.kinds(), Vec::<String>::new());

    sandbox.audit.set_down(false);
    sandbox.audit.events(3).await;
    assert_eq!(
        sandbox.audit.kinds(),
        ["approval.requested", "approval.voted approve", "approval.settled approved"]
    );
}

#[tokio::test]
async fn a_full_outbox_refuses_the_change_whole() {
    let sandbox = Sandbox::new().await;
    sandbox.audit.set_down(true);
    let service = sandbox.start_with("outbox_events_max = 2").await;
    let asked = ask(&service, question(&plan())).await;

    // One event has room and the vote needs two: the first must not stay behind.
    let status = approve(&service, "bob", &asked).await.expect_err("refused");
    assert_eq!((status.code(), peer::reason(&status).as_str()), (Code::ResourceExhausted, "OUTBOX_FULL"));
    assert!(says_when_to_retry(&status));
    let seen = get(&mut service.client("bob"), &asked.approval_id).await.expect("found");
    assert_eq!(seen, asked, "no vote without its record");

    sandbox.audit.set_down(false);
    sandbox.audit.events(1).await;
    let client = service.client("bob");
    let vote = ballot(&asked, Decision::Approve);
    until("the outbox has room", || async { decide(&mut client.clone(), vote.clone()).await.is_ok() }).await;
    sandbox.audit.events(3).await;
    assert_eq!(sandbox.audit.kinds()[1..], ["approval.voted approve", "approval.settled approved"]);
}

#[tokio::test]
async fn an_approval_reads_as_expired_even_when_that_cannot_be_written_down() {
    let sandbox = Sandbox::new().await;
    sandbox.audit.set_down(true);
    let service = sandbox.start_with("outbox_events_max = 2").await;
    let soon = Some(ProtoDuration { seconds: 1, nanos: 0 });
    ask(&service, question(&plan())).await;
    let asked = ask(&service, pb::CreateApprovalRequest { expires_in: soon, ..question(&plan()) }).await;
    // The outbox is full now.

    let client = service.client("tool-executor");
    let seen = || async { get(&mut client.clone(), &asked.approval_id).await.expect("found") };
    until("it expires", || async { seen().await.state() == ApprovalState::Expired }).await;
    assert_eq!(seen().await.revision, asked.revision, "nothing was written");
    let late = approve(&service, "bob", &asked).await;
    assert_eq!(refusal(late), (Code::FailedPrecondition, "APPROVAL_EXPIRED".into()));
    let filter = pb::ListApprovalsRequest {
        state: ApprovalState::Expired.into(),
        ..pb::ListApprovalsRequest::default()
    };
    let listed = client.clone().list_approvals(filter).await.expect("a page").into_inner().approvals;
    assert_eq!(listed.len(), 1);

    sandbox.audit.set_down(false);
    until("it is written down", || async { seen().await.revision > asked.revision }).await;
    sandbox.audit.events(3).await;
    assert!(sandbox.audit.kinds().contains(&"approval.settled expired".to_owned()));
}

#[tokio::test]
async fn a_locked_store_refuses_and_says_that_nothing_happened() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    assert!(readiness(&service).await.contains("200"));

    let mut intruder = sandbox.intruder().await;
    let locked = intruder.begin_with("BEGIN IMMEDIATE").await.expect("locked");
    let vote = ballot(&asked, Decision::Approve);
    let status = decide(&mut service.client("bob"), vote.clone()).await.expect_err("refused");
    assert_eq!((status.code(), peer::reason(&status).as_str()), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(says_when_to_retry(&status));
    assert!(!status.message().contains("sqlite") && !status.message().contains("locked"), "no cause is sent");
    assert!(readiness(&service).await.contains("503"));
    locked.rollback().await.expect("let go");

    let seen = get(&mut service.client("bob"), &asked.approval_id).await.expect("found");
    assert_eq!(seen, asked);
    let approved = decide(&mut service.client("bob"), vote).await.expect("the same vote counts now");
    assert_eq!(approved.state(), ApprovalState::Approved);
    until("it is ready again", || async { readiness(&service).await.contains("200") }).await;
}

#[tokio::test]
async fn a_restart_keeps_what_was_asked_said_and_seen() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let two =
        pb::CreateApprovalRequest { requirements: vec![requirement("approver", 2)], ..question(&plan()) };
    let asked = ask(&service, two.clone()).await;
    let vote = ballot(&asked, Decision::Approve);
    let half = decide(&mut service.client("bob"), vote.clone()).await.expect("the vote counts");
    service.stop().await;

    let service = sandbox.start().await;
    assert_eq!(ask(&service, two).await, half, "the same request finds it");
    assert_eq!(decide(&mut service.client("bob"), vote).await.expect("replayed"), half);
    let whole = approve(&service, "cleo", &asked).await.expect("the vote counts");
    assert_eq!((whole.state(), whole.votes.len()), (ApprovalState::Approved, 2));
}

#[tokio::test]
async fn what_expired_while_the_service_was_down_is_closed_when_it_is_back() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let soon = Some(ProtoDuration { seconds: 1, nanos: 0 });
    let asked = ask(&service, pb::CreateApprovalRequest { expires_in: soon, ..question(&plan()) }).await;
    service.stop().await;

    let service = sandbox.start().await;
    let client = service.client("bob");
    until("it is closed", || async {
        let seen = get(&mut client.clone(), &asked.approval_id).await.expect("found");
        seen.state() == ApprovalState::Expired && seen.revision > asked.revision
    })
    .await;
    sandbox.audit.events(2).await;
}

#[tokio::test]
async fn a_second_service_on_the_same_store_does_not_start() {
    let sandbox = Sandbox::new().await;
    let _service = sandbox.start().await;
    let config = bulkhead_edge::Settings::load(&sandbox.config_file(""), bulkhead_approval::NAME)
        .and_then(|settings| settings.read(bulkhead_approval::Config::read))
        .expect("a configuration");
    let second = bulkhead_approval::serve(config, Box::new(|_| {}), Default::default()).await;
    let text = second.expect_err("refused").to_string();
    assert!(text.contains("in use"), "{text}");
}

/// Asks while the store is locked, and goes away before it is let go. True: whoever watches was told.
async fn told_of_an_abandoned_question(sandbox: &Sandbox, service: &Service) -> bool {
    let watch = pb::WatchApprovalsRequest::default();
    let mut watch = service.client("bob").watch_approvals(watch).await.expect("a stream").into_inner();
    let mut intruder = sandbox.intruder().await;
    let locked = intruder.begin_with("BEGIN IMMEDIATE").await.expect("locked");
    let question = peer::within(question(&plan()), Duration::from_millis(300));
    service.client("tool-executor").create_approval(question).await.expect_err("it takes too long");
    locked.rollback().await.expect("let go");
    tokio::time::timeout(Duration::from_secs(3), watch.message()).await.is_ok()
}

#[tokio::test]
async fn a_change_is_finished_and_told_when_its_caller_is_gone() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    // On a busy machine a question may not even have arrived when its caller gives up; then it is asked again.
    for _ in 0..7 {
        if told_of_an_abandoned_question(&sandbox, &service).await {
            sandbox.audit.events(1).await;
            return;
        }
    }
    panic!("nobody was told");
}
