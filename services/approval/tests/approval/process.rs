//! The real binary, killed.

use std::net::SocketAddr;
use std::process::Stdio;

use bulkhead_proto::approval::v1::{self as pb, ApprovalState, Decision};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::sandbox::{PATIENCE, Sandbox, ballot, client, create, decide, get, plan, question, requirement};

/// A process of its own and where it listens.
async fn spawn(sandbox: &Sandbox) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_approval"))
        .arg("--config")
        .arg(sandbox.config_file(""))
        .env_clear()
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
