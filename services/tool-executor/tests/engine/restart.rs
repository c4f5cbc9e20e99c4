//! Stopping, and being torn away.

use std::sync::atomic::Ordering;

use bulkhead_proto::tools::v1 as pb;
use bulkhead_tool_executor::DEFAULT_POLICY;

use crate::world::{World, drop_note, error_kind, put, take_back, until};
use pb::ExecutionState as State;

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_person_survives_a_restart() {
    let mut world = World::start().await;
    world.write("a", "one");
    let request = drop_note("a");
    let asked = world.execute(request.clone()).await.expect("asks");
    world.stop();
    world.approvals.approve(&asked.approval_id, "bob");
    world.boot();
    world.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!((world.read("a"), world.begun()), (None, 1));
    let replayed = world.execute(request).await.expect("replays");
    assert_eq!(replayed.execution_id, asked.execution_id);
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_does_not_cover_another_edition_of_the_tool() {
    let mut world = World::start().await;
    world.write("a", "one");
    let asked = world.execute(drop_note("a")).await.expect("asks");
    world.stop();
    world.script.edition.store(2, Ordering::SeqCst);
    world.approvals.approve(&asked.approval_id, "bob");
    world.boot();
    world.until(&asked.execution_id, State::Stale).await;
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stricter_policy_counts_for_what_waits() {
    let mut world = World::start_under(DEFAULT_POLICY).await;
    world.write("a", "one");
    let asked = world.execute(drop_note("a")).await.expect("asks");
    world.stop();
    let shut = r#"forbid (principal, action == Bulkhead::Action::"execute", resource)
        when { context.effects.deletes > 0 };"#;
    std::fs::write(world.dir.path().join("policy.cedar"), format!("{DEFAULT_POLICY}{shut}")).expect("writes");
    world.approvals.approve(&asked.approval_id, "bob");
    world.boot();
    let refused = world.until(&asked.execution_id, State::Refused).await;
    assert_eq!(error_kind(&refused), "POLICY_DENIED");
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_effect_is_found_to_have_done_nothing() {
    let mut world = World::start().await;
    world.script.held.send_replace(true);
    let running = world.begin(put("a", "one")).await;
    world.crash();
    world.script.held.send_replace(false);
    world.boot();
    let found = world.get(&running.execution_id).await;
    assert_eq!(found.state(), State::Failed);
    assert_eq!(world.read("a"), None);
    let story = ["tool.intent", "tool.outcome failed"];
    world.until_told(&running.execution_id, &story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_effect_is_found_to_have_done_it() {
    let mut world = World::start().await;
    world.script.held_after.send_replace(true);
    let request = put("a", "one");
    let running = world.begin(request.clone()).await;
    until("written", || world.read("a").is_some(), || ()).await;
    world.crash();
    world.script.held_after.send_replace(false);
    world.boot();
    assert_eq!(world.get(&running.execution_id).await.state(), State::Succeeded);
    let replayed = world.execute(request).await.expect("replays");
    assert_eq!((replayed.execution_id.as_str(), world.begun()), (running.execution_id.as_str(), 1));
    let undo = world.undo("scribe", take_back(&running.execution_id, false)).await.expect("undoes");
    assert_eq!((undo.state(), world.read("a")), (State::Succeeded, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_tell_is_unknown_and_not_repeated() {
    let mut world = World::start().await;
    world.script.held_after.send_replace(true);
    let request = put("a", "one");
    let running = world.begin(request.clone()).await;
    until("written", || world.read("a").is_some(), || ()).await;
    world.crash();
    world.write("a", "somebody else");
    world.script.held_after.send_replace(false);
    world.boot();
    let unknown = world.execute(request).await.expect("replays");
    assert_eq!((unknown.state(), &unknown.execution_id), (State::Unknown, &running.execution_id));
    let error = unknown.result.expect("a result").error.expect("an error");
    assert_eq!((error.happened(), error.retryable), (pb::Happened::Unknown, false));
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("somebody else"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_waited_are_delivered_after_a_crash() {
    let mut world = World::start().await;
    world.audit.set_down(true);
    let done = world.execute(put("a", "one")).await.expect("runs");
    world.crash();
    world.audit.set_down(false);
    world.boot();
    world.until_told(&done.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
}
