//! The real binary, killed.

use std::net::SocketAddr;
use std::process::Stdio;

use bulkhead_proto::approval::v1::{self as pb, ApprovalState, Decision};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tonic::Request;

use crate::sandbox::{PATIENCE, Sandbox, ballot, client, create, decide, get, plan, question, requirement};

/// A process of its own and where it listens.
pub(crate) async fn spawn(sandbox: &Sandbox) -> (Child, SocketAddr) {
    spawn_broken(sandbox, "").await
}

/// With failpoints, where the binary has any.
pub(crate) async fn spawn_broken(sandbox: &Sandbox, failpoints: &str) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_approval"))
        .arg("--config")
        .arg(sandbox.config_file(""))
        .env_clear()
        .env(bulkhead_failpoint::VARIABLE, failpoints)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let line = timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable");
    let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
    let address = line["listening"].as_str().expect("an address").parse().expect("an address");
    (child, address)
}

#[tokio::test]
async fn a_vote_that_was_answered_survives_a_kill() {
    let sandbox = Sandbox::new().await;
    sandbox.audit.set_down(true);
    let (mut child, address) = spawn(&sandbox).await;
    let two =
        pb::CreateApprovalRequest { requirements: vec![requirement("approver", 2)], ..question(&plan()) };
    let asked = create(&mut client(address, "tool-executor"), two).await.expect("asked");
    let vote = ballot(&asked, Decision::Approve);
    let half = decide(&mut client(address, "bob"), vote).await.expect("the vote counts");
    child.kill().await.expect("killed");

    sandbox.audit.set_down(false);
    let (_child, address) = spawn(&sandbox).await;
    let kept = get(&mut client(address, "bob"), &asked.approval_id).await.expect("found");
    assert_eq!(kept, half);
    let vote = ballot(&asked, Decision::Approve);
    let whole = decide(&mut client(address, "cleo"), vote).await.expect("the vote counts");
    assert_eq!(whole.state(), ApprovalState::Approved);
    sandbox.audit.events(4).await;
    let expected = [
        "approval.requested",
        "approval.voted approve",
        "approval.voted approve",
        "approval.settled approved",
    ];
    assert_eq!(sandbox.audit.kinds(), expected);
}

/// A message that belongs to a trace.
fn traced<T>(message: T, trace_id: &str) -> Request<T> {
    let mut request = Request::new(message);
    let header = format!("00-{trace_id}-00f067aa0ba902b7-01").parse().expect("a header");
    request.metadata_mut().insert("traceparent", header);
    request
}

#[tokio::test]
async fn the_traces_that_asked_and_decided_are_kept() {
    const ASKED: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const DECIDED: &str = "5bf92f3577b34da6a3ce929d0e0e4736";
    let sandbox = Sandbox::new().await;
    let (_child, address) = spawn(&sandbox).await;
    let created = client(address, "tool-executor").create_approval(traced(question(&plan()), ASKED)).await;
    let asked = created.expect("asked").into_inner().approval.expect("an approval");
    assert!(asked.traceparent.starts_with(&format!("00-{ASKED}-")), "{}", asked.traceparent);
    assert_eq!(asked.decision_traceparent, "");

    let vote = traced(ballot(&asked, Decision::Approve), DECIDED);
    let decided = client(address, "bob").decide_approval(vote).await.expect("the vote counts");
    let decided = decided.into_inner().approval.expect("an approval");
    assert_eq!(decided.traceparent, asked.traceparent);
    assert!(decided.decision_traceparent.starts_with(&format!("00-{DECIDED}-")));

    let events = sandbox.audit.events(3).await;
    let traces: Vec<&str> = events.iter().map(|event| event.trace_id.as_str()).collect();
    assert_eq!(traces, [ASKED, DECIDED, DECIDED]);
    for event in &events {
        let told = event.traceparent.starts_with(&format!("00-{}-", event.trace_id));
        assert!(told, "{}: {}", event.kind, event.traceparent);
    }
    assert_eq!(events[2].traceparent, decided.decision_traceparent);
}

#[tokio::test]
async fn what_nobody_decided_ends_in_the_trace_that_asked() {
    const ASKED: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sandbox = Sandbox::new().await;
    let (_child, address) = spawn(&sandbox).await;
    let soon = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let asked = pb::CreateApprovalRequest { expires_in: soon, ..question(&plan()) };
    client(address, "tool-executor").create_approval(traced(asked, ASKED)).await.expect("asked");
    let events = sandbox.audit.events(2).await;
    assert_eq!(sandbox.audit.kinds(), ["approval.requested", "approval.settled expired"]);
    assert_eq!(events[1].trace_id, ASKED);
}
