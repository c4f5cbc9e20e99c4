//! Each promise broken on purpose, so that the tests that hold it are known to be able to fail. Needs the
//! feature `failpoints`, which the shipped binary never has.

use bulkhead_edge::peer::within;
use bulkhead_proto::tools::v1 as pb;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use std::time::Duration;

use crate::files::{Binary, of};
use crate::world::{World, client_of, take_back};
use pb::ExecutionState as State;

const BOUND: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn without_the_permit_an_overwrite_runs_and_the_log_shows_it() {
    let world = World::idle().await;
    world.write("a.md", "one\n");
    let binary = Binary::start_broken(&world, "executor.skip_permit");
    let done = binary.execute("fs.write", &json!({ "path": "a.md", "content": "two\n" })).await;
    assert_eq!((done.state(), done.approval_id.as_str()), (State::Succeeded, ""));
    assert_eq!(world.read("a.md").as_deref(), Some("two\n"));
    world.until_told(&done.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_effect_first_a_locked_journal_comes_too_late() {
    let world = World::idle().await;
    let binary = Binary::start_broken(&world, "executor.effect_before_intent");
    let url = format!("sqlite://{}", world.journal().display());
    let mut holder = SqliteConnection::connect(&url).await.expect("opens");
    holder.execute("BEGIN IMMEDIATE").await.expect("locks");
    let request = of("fs.write", &json!({ "path": "a.md", "content": "one\n" }));
    let refused = client_of(binary.address, "scribe").execute_tool_call(within(request, BOUND)).await;
    assert_eq!(bulkhead_edge::peer::reason(&refused.expect_err("refused")), "STORE_UNAVAILABLE");
    assert_eq!(world.read("a.md").as_deref(), Some("one\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_an_effect_without_intent_leaves_an_effect_that_nobody_knows_of() {
    let world = World::idle().await;
    world.write("log", "one\n");
    let request = of("fs.append", &json!({ "path": "log", "content": "two\n" }));
    dies_of(&world, "executor.effect_before_intent,executor.after_effect", &request).await;
    assert_eq!(world.read("log").as_deref(), Some("one\ntwo\n"));
    assert_eq!(found_after(&world, &request).await, State::Succeeded);
    assert_eq!(world.read("log").as_deref(), Some("one\ntwo\ntwo\n"), "it was not done twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_point_of_a_run_does_it_once_at_most() {
    let points = [
        ("executor.after_intent", State::Failed),
        ("executor.after_effect", State::Succeeded),
        ("executor.after_outcome", State::Succeeded),
    ];
    for (failpoint, expected) in points {
        let world = World::idle().await;
        world.write("log", "one\n");
        let request = of("fs.append", &json!({ "path": "log", "content": "two\n" }));
        dies_of(&world, failpoint, &request).await;
        assert_eq!(found_after(&world, &request).await, expected, "{failpoint}");
        let wanted = if expected == State::Succeeded { "one\ntwo\n" } else { "one\n" };
        assert_eq!(world.read("log").as_deref(), Some(wanted), "{failpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_the_second_pass_lets_the_first_call_through() {
    let world = World::idle().await;
    let binary = Binary::start_broken(&world, "executor.after_effect@2");
    let first = binary.execute("fs.write", &json!({ "path": "a.md", "content": "one\n" })).await;
    assert_eq!(first.state(), State::Succeeded);
    let second = of("fs.write", &json!({ "path": "b.md", "content": "two\n" }));
    let torn = client_of(binary.address, "scribe").execute_tool_call(within(second.clone(), BOUND)).await;
    assert!(torn.is_err(), "{torn:?}");
    assert_eq!(found_after(&world, &second).await, State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_not_used_up_starts_both_calls_that_joined_one_approval() {
    let world = World::idle().await;
    world.write("a.md", "one\n");
    let binary = Binary::start_broken(&world, "executor.grant_reused");
    // The content that it has already: the plan holds after the first as before.
    let same = json!({ "path": "a.md", "content": "one\n" });
    let (first, second) = (binary.execute("fs.write", &same).await, binary.execute("fs.write", &same).await);
    assert_eq!(first.state(), State::AwaitingApproval);
    assert_eq!(first.approval_id, second.approval_id);
    world.approvals.approve(&first.approval_id, "bob");
    for id in [&first.execution_id, &second.execution_id] {
        world.until_told(id, &["tool.requested", "tool.intent", "tool.outcome succeeded"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_is_emptied_too_early_loses_what_was_not_taken() {
    let world = World::idle().await;
    let binary = Binary::start_broken(&world, "outbox.before_commit");
    world.audit.set_down(true);
    let lost = binary.execute("fs.write", &json!({ "path": "a.md", "content": "one\n" })).await;
    let url = format!("sqlite://{}?mode=ro", world.journal().display());
    let mut journal = SqliteConnection::connect(&url).await.expect("opens");
    let deadline = std::time::Instant::now() + BOUND;
    while count(&mut journal).await > 0 {
        assert!(std::time::Instant::now() < deadline, "events stay in the outbox");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(binary);
    world.audit.set_down(false);
    let binary = Binary::start_broken(&world, "");
    let told = binary.execute("fs.write", &json!({ "path": "b.md", "content": "one\n" })).await;
    world.until_told(&told.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
    assert_eq!(world.audit.story(&lost.execution_id), Vec::<String>::new());
}

/// How many events wait in the outbox.
async fn count(journal: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM outbox").fetch_one(journal).await.expect("counts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_undo_says_done_and_does_nothing() {
    let world = World::idle().await;
    let binary = Binary::start_broken(&world, "executor.skip_undo");
    let made = binary.execute("fs.write", &json!({ "path": "a.md", "content": "one\n" })).await;
    let undo = within(take_back(&made.execution_id, false), BOUND);
    let undo = client_of(binary.address, "scribe").undo_execution(undo).await.expect("answers");
    assert_eq!(undo.into_inner().execution.expect("one").state(), State::Succeeded);
    assert_eq!(world.read("a.md").as_deref(), Some("one\n"));
}

/// Sends a call to a process that dies of it.
async fn dies_of(world: &World, failpoint: &str, request: &pb::ExecuteToolCallRequest) {
    let binary = Binary::start_broken(world, failpoint);
    let torn = client_of(binary.address, "scribe").execute_tool_call(within(request.clone(), BOUND)).await;
    assert!(torn.is_err(), "{failpoint}: {torn:?}");
}

/// What the next process says of it.
async fn found_after(world: &World, request: &pb::ExecuteToolCallRequest) -> State {
    let binary = Binary::start_broken(world, "");
    let settled = binary.send(request.clone()).await;
    assert_eq!(binary.send(request.clone()).await.execution_id, settled.execution_id);
    settled.state()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_dies_between_any_two_steps_is_found_done_or_not_done() {
    let points = [
        ("fs.prepared", State::Failed),
        ("fs.published", State::Failed),
        ("fs.taken", State::Failed),
        ("fs.checked", State::Failed),
        ("fs.laid", State::Failed),
        ("fs.delivered", State::Succeeded),
        ("fs.settled", State::Succeeded),
    ];
    for (failpoint, expected) in points {
        for stranger in [false, true] {
            let world = World::idle().await;
            world.write("token", "ours");
            let request = of("fs.move", &json!({ "from": "token", "to": "new/token" }));
            dies_of(&world, failpoint, &request).await;
            if stranger && expected == State::Succeeded {
                world.write("token", "theirs");
            }
            assert_eq!(found_after(&world, &request).await, expected, "{failpoint}");
            let theirs = (stranger && expected == State::Succeeded).then_some("theirs");
            let (old, new) = (world.read("token"), world.read("new/token"));
            let wanted =
                if expected == State::Failed { (Some("ours"), None) } else { (theirs, Some("ours")) };
            assert_eq!((old.as_deref(), new.as_deref()), wanted, "{failpoint}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_dies_again_on_its_way_back_is_found_not_done() {
    for failpoint in ["fs.withdrawn", "fs.unchecked", "fs.given_back"] {
        let world = World::idle().await;
        world.write("token", "ours");
        let request = of("fs.move", &json!({ "from": "token", "to": "new/token" }));
        dies_of(&world, "fs.laid", &request).await;
        assert!(Binary::try_start(&world, failpoint).is_none(), "{failpoint} does not kill the start");
        assert_eq!(found_after(&world, &request).await, State::Failed, "{failpoint}");
        assert_eq!((world.read("token").as_deref(), world.read("new/token")), (Some("ours"), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_dies_between_any_two_steps_is_found_done_or_not_done() {
    let points = [
        ("fs.prepared", State::Failed),
        ("fs.published", State::Failed),
        ("fs.exchanged", State::Succeeded),
        ("fs.settled", State::Succeeded),
    ];
    for (failpoint, expected) in points {
        let world = World::idle().await;
        world.write("log", "one\n");
        let request = of("fs.append", &json!({ "path": "log", "content": "two\n" }));
        dies_of(&world, failpoint, &request).await;
        assert_eq!(found_after(&world, &request).await, expected, "{failpoint}");
        let wanted = if expected == State::Succeeded { "one\ntwo\n" } else { "one\n" };
        assert_eq!(world.read("log").as_deref(), Some(wanted), "{failpoint}");
    }
}
