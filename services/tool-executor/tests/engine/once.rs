//! The same request acts once.

use bulkhead_edge::peer::reason;
use bulkhead_proto::tools::v1 as pb;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tonic::Code;

use crate::world::{World, drop_note, put};
use pb::ExecutionState as State;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_at_the_same_time_acts_once() {
    let world = World::start().await;
    let request = put("a", "one");
    let answers = futures::future::join_all((0..8).map(|_| world.execute(request.clone()))).await;
    let ids: Vec<String> = answers.into_iter().map(|a| a.expect("answers").execution_id).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_gated_request_at_the_same_time_asks_once() {
    let world = World::start().await;
    world.write("a", "one");
    let request = drop_note("a");
    let answers = futures::future::join_all((0..8).map(|_| world.execute(request.clone()))).await;
    let first = answers[0].as_ref().expect("answers");
    for answer in &answers {
        assert_eq!(answer.as_ref().expect("answers").execution_id, first.execution_id);
    }
    assert_eq!(world.approvals.all().len(), 1);
    let asked = world.until(&first.execution_id, State::AwaitingApproval).await;
    world.approvals.approve(&asked.approval_id, "bob");
    world.until(&first.execution_id, State::Succeeded).await;
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_stands_for_one_payload() {
    let world = World::start().await;
    let request = put("a", "one");
    world.execute(request.clone()).await.expect("runs");
    let mut other = put("b", "one");
    other.request_id.clone_from(&request.request_id);
    let refused = world.execute(other.clone()).await.expect_err("refused");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
    assert_eq!(world.read("b"), None);

    let as_another = world.client("other").execute_tool_call(other).await.expect("is another's id");
    assert_eq!(as_another.into_inner().execution.expect("an execution").state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_replayed_as_it_failed() {
    let world = World::start().await;
    let request = drop_note("a");
    let failed = world.execute(request.clone()).await.expect("answers");
    assert_eq!(failed.state(), State::Failed);
    world.write("a", "now it is there");
    let again = world.execute(request).await.expect("replays");
    assert_eq!((again.state(), again.execution_id), (State::Failed, failed.execution_id));
    assert!(world.approvals.all().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_forgotten_after_a_month_and_not_before() {
    let mut world = World::start().await;
    let (old, recent) = (put("a", "one"), put("b", "one"));
    for request in [&old, &recent] {
        world.execute(request.clone()).await.expect("runs");
    }
    world.stop();
    let url = format!("sqlite://{}", world.journal().display());
    let mut journal = SqliteConnection::connect(&url).await.expect("opens");
    for (days, request) in [(32, &old), (30, &recent)] {
        let age = format!(
            "UPDATE requests SET create_time_ms = create_time_ms - {days} * 86400000 WHERE request_id = '{}'",
            request.request_id
        );
        journal.execute(sqlx::AssertSqlSafe(age)).await.expect("ages");
    }
    world.boot();
    for looks in 0.. {
        let left = sqlx::query_scalar::<_, String>("SELECT request_id FROM requests");
        let left = left.fetch_all(&mut journal).await.expect("reads");
        if left == [recent.request_id.clone()] {
            return;
        }
        assert!(looks < 1_000, "never forgotten: {left:?}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
