//! Crashes between a commit and its answer. Needs the feature `failpoints`, which the shipped binary never has.

use bulkhead_proto::approval::v1::{ApprovalState, Decision};

use tokio::time::timeout;

use crate::process::{spawn, spawn_broken};
use crate::sandbox::{PATIENCE, Sandbox, ballot, client, create, decide, plan, question};

#[tokio::test]
async fn a_vote_whose_answer_is_lost_counts_once() {
    let sandbox = Sandbox::new().await;
    let (_child, address) = spawn_broken(&sandbox, "approval.decided").await;
    let asked = create(&mut client(address, "tool-executor"), question(&plan())).await.expect("asked");
    let vote = ballot(&asked, Decision::Approve);
    decide(&mut client(address, "bob"), vote.clone()).await.expect_err("it dies");

    let (_child, address) = spawn(&sandbox).await;
    let decided = decide(&mut client(address, "bob"), vote).await.expect("the same vote");
    assert_eq!((decided.state(), decided.votes.len()), (ApprovalState::Approved, 1));
    sandbox.audit.events(3).await;
    let expected = ["approval.requested", "approval.voted approve", "approval.settled approved"];
    assert_eq!(sandbox.audit.kinds(), expected);
}

#[tokio::test]
async fn a_question_whose_answer_is_lost_is_one_question() {
    let sandbox = Sandbox::new().await;
    let (_child, address) = spawn_broken(&sandbox, "approval.asked").await;
    let asked = question(&plan());
    create(&mut client(address, "tool-executor"), asked.clone()).await.expect_err("it dies");

    let (_child, address) = spawn(&sandbox).await;
    let first = create(&mut client(address, "tool-executor"), asked).await.expect("asked");
    sandbox.audit.events(1).await;
    assert_eq!(sandbox.audit.kinds(), ["approval.requested"]);
    assert_eq!(first.state(), ApprovalState::Pending);
}

#[tokio::test]
async fn events_whose_confirmation_is_lost_do_not_stand_in_the_way() {
    let sandbox = Sandbox::new().await;
    let (mut child, address) = spawn_broken(&sandbox, "outbox.delivered").await;
    // The answer may be faster than the crash.
    drop(create(&mut client(address, "tool-executor"), question(&plan())).await);
    timeout(PATIENCE, child.wait()).await.expect("in time").expect("it dies");
    assert_eq!(sandbox.audit.kinds(), ["approval.requested"]);

    let (_child, address) = spawn(&sandbox).await;
    create(&mut client(address, "tool-executor"), question(&plan())).await.expect("asked");
    sandbox.audit.events(2).await;
    assert_eq!(sandbox.audit.kinds(), ["approval.requested", "approval.requested"]);
}
