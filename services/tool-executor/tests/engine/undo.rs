//! Taking back.

use bulkhead_edge::peer::reason;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::tools::v1 as pb;
use serde_json::{Value, json};
use tonic::Code;

use crate::world::{World, call, drop_note, error_kind, put, take_back};
use pb::ExecutionState as State;

async fn dropped(world: &World, name: &str) -> pb::Execution {
    let asked = world.execute(drop_note(name)).await.expect("asks");
    world.approvals.approve(&asked.approval_id, "bob");
    world.until(&asked.execution_id, State::Succeeded).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_unchanged_work_is_taken_back_freely_and_once() {
    let world = World::start().await;
    world.write("a", "one");
    let done = dropped(&world, "a").await;
    let request = take_back(&done.execution_id, false);
    let undo = world.undo("scribe", request.clone()).await.expect("undoes");
    assert_eq!(
        (undo.state(), undo.undo_of_execution_id.as_str()),
        (State::Succeeded, done.execution_id.as_str())
    );
    assert_eq!(world.read("a").as_deref(), Some("one"));
    assert_eq!(world.get(&done.execution_id).await.state(), State::Undone);
    world.until_told(&undo.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
    let plan: Value = serde_json::from_str(&undo.plan.expect("a plan").plan_json).expect("json");
    assert_eq!(plan["undo_of"], done.execution_id);

    let again = world.undo("scribe", request).await.expect("replays");
    assert_eq!(again.execution_id, undo.execution_id);
    let twice = world.undo("scribe", take_back(&done.execution_id, false)).await.expect_err("refused");
    assert_eq!((twice.code(), reason(&twice).as_str()), (Code::FailedPrecondition, "NOT_UNDOABLE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_state_is_stale_or_needs_a_person() {
    let world = World::start().await;
    let done = world.execute(put("a", "one")).await.expect("runs");
    world.write("a", "mine now");
    let stale = world.undo("scribe", take_back(&done.execution_id, false)).await.expect("answers");
    assert_eq!((stale.state(), error_kind(&stale)), (State::Stale, "STALE"));
    assert_eq!(world.read("a").as_deref(), Some("mine now"));
    world.until_told(&stale.execution_id, &["tool.outcome stale"]).await;

    let forced = world.undo("scribe", take_back(&done.execution_id, true)).await.expect("asks");
    assert_eq!(forced.state(), State::AwaitingApproval);
    world.approvals.approve(&forced.approval_id, "bob");
    world.until(&forced.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a"), None);
    assert_eq!(world.get(&done.execution_id).await.state(), State::Undone);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_of_others_needs_a_person_and_an_agent_does_not_see_it() {
    let world = World::start().await;
    let done = world.execute(put("a", "one")).await.expect("runs");
    let hidden = world.undo("other", take_back(&done.execution_id, false)).await.expect_err("hidden");
    assert_eq!(reason(&hidden), "EXECUTION_NOT_FOUND");
    let asked = world.undo("olga", take_back(&done.execution_id, false)).await.expect("asks");
    assert_eq!(asked.state(), State::AwaitingApproval);
    world.approvals.approve(&asked.approval_id, "bob");
    world.until(&done.execution_id, State::Undone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_did_nothing_cannot_be_taken_back() {
    let world = World::start().await;
    world.write("a", "one");
    let read = world.execute(call(&json!({ "op": "read", "name": "a" }))).await.expect("runs");
    let failed = world.execute(drop_note("nothing")).await.expect("answers");
    let waiting = world.execute(drop_note("a")).await.expect("asks");
    for execution in [read, failed, waiting] {
        let refused = world.undo("scribe", take_back(&execution.execution_id, true)).await;
        assert_eq!(reason(&refused.expect_err("refused")), "NOT_UNDOABLE", "{execution:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_undos_of_one_thing_take_it_back_once() {
    let world = World::start().await;
    world.write("a", "one");
    let done = dropped(&world, "a").await;
    let undos = (0..4).map(|_| world.undo("scribe", take_back(&done.execution_id, false)));
    let undos = futures::future::join_all(undos).await;
    let worked = undos.iter().filter(|undo| undo.as_ref().is_ok_and(|u| u.state() == State::Succeeded));
    assert_eq!(worked.count(), 1, "{undos:?}");
    assert_eq!(world.read("a").as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_can_be_planned_without_doing_it() {
    let world = World::start().await;
    let done = world.execute(put("a", "one")).await.expect("runs");
    let mut request = take_back(&done.execution_id, false);
    request.context = Some(RunContext { dry_run: true, ..RunContext::default() });
    let planned = world.undo("scribe", request).await.expect("plans");
    assert_eq!(planned.plan.expect("a plan").policy_decision(), pb::PolicyDecision::Execute);
    assert_eq!(world.read("a").as_deref(), Some("one"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_is_undone_once_and_only_after_a_person_agreed() {
    let world = World::start().await;
    let made = world.execute(put("a", "one")).await.expect("runs");
    let undo = world.undo("scribe", take_back(&made.execution_id, false)).await.expect("undoes");
    assert_eq!((undo.state(), world.read("a")), (State::Succeeded, None));
    let redo = world.undo("scribe", take_back(&undo.execution_id, false)).await.expect("asks");
    assert_eq!((redo.state(), world.read("a")), (State::AwaitingApproval, None));
    world.approvals.approve(&redo.approval_id, "bob");
    world.until(&redo.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a").as_deref(), Some("one"));
    // Each says what became of itself: the first call was undone, and so was its undo.
    assert_eq!(world.get(&made.execution_id).await.state(), State::Undone);
    assert_eq!(world.get(&undo.execution_id).await.state(), State::Undone);
    for gone in [&made, &undo] {
        let refused = world.undo("scribe", take_back(&gone.execution_id, true)).await.expect_err("refused");
        assert_eq!(reason(&refused), "NOT_UNDOABLE");
    }
}
