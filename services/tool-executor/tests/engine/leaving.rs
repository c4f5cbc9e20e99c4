//! Callers who go away: before the point of no return nothing has happened, after it everything does.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bulkhead_edge::peer::within;
use bulkhead_proto::tools::v1 as pb;
use tonic::Code;

use crate::world::{World, drop_note, put, until};
use pb::ExecutionState as State;

fn planning(world: &World) -> usize {
    world.script.planning.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_while_the_call_is_planned_has_asked_for_nothing() {
    let world = World::start().await;
    world.write("kept", "one");
    for request in [put("a", "x"), drop_note("kept")] {
        world.script.held_plan.send_replace(true);
        let planned = until("planned", || planning(&world) == 1, || planning(&world));
        world.leave(request.clone(), planned).await;
        until("given up", || planning(&world) == 0, || planning(&world)).await;
        world.script.held_plan.send_replace(false);
        assert_eq!(world.executions().await, [], "nothing is recorded");
        assert_eq!((world.read("a"), world.begun()), (None, 0));
        assert_eq!(world.audit.events().len(), 0, "nothing is told");
    }

    // The id was not used up: under it the call still acts once.
    let request = put("a", "x");
    world.script.held_plan.send_replace(true);
    world.leave(request.clone(), until("planned", || planning(&world) == 1, || ())).await;
    until("given up", || planning(&world) == 0, || ()).await;
    world.script.held_plan.send_replace(false);
    let first = world.execute(request.clone()).await.expect("runs");
    let again = world.execute(request).await.expect("replays");
    assert_eq!((first.state(), again.execution_id), (State::Succeeded, first.execution_id));
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("x"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_takes_too_long_is_told_apart_and_leaves_nothing() {
    let world = World::start().await;
    world.script.held_plan.send_replace(true);
    let mut client = world.client("scribe");
    let late = client.execute_tool_call(within(put("a", "x"), Duration::from_secs(1))).await;
    assert_eq!(late.expect_err("too late").code(), Code::DeadlineExceeded);
    until("given up", || planning(&world) == 0, || planning(&world)).await;
    world.script.held_plan.send_replace(false);
    assert_eq!((world.executions().await, world.begun()), (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_after_the_intent_has_asked_for_all_of_it() {
    let world = World::start().await;
    world.script.held.send_replace(true);
    let request = put("a", "x");
    let running = world.begin(request.clone()).await;
    world.script.held.send_replace(false);
    world.until(&running.execution_id, State::Succeeded).await;
    world.until_told(&running.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;
    let again = world.execute(request).await.expect("replays");
    assert_eq!((again.state(), again.execution_id), (State::Succeeded, running.execution_id));
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("x"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_caller_is_not_harmed_by_the_first_who_left() {
    let world = World::start().await;
    world.script.held_plan.send_replace(true);
    let request = put("a", "x");
    let second = async {
        until("the first plans", || planning(&world) == 1, || ()).await;
        world.execute(request.clone()).await
    };
    let first = async {
        world.leave(request.clone(), until("both plan", || planning(&world) == 2, || ())).await;
        until("one was given up", || planning(&world) == 1, || ()).await;
        world.script.held_plan.send_replace(false);
    };
    let (second, ()) = tokio::join!(second, first);
    assert_eq!(second.expect("runs").state(), State::Succeeded);
    assert_eq!((world.executions().await.len(), world.begun()), (1, 1));
}
