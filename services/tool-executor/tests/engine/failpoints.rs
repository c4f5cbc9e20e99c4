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
async fn a_skipped_undo_says_done_and_does_nothing() {
    let world = World::idle().await;
    let binary = Binary::start_broken(&world, "executor.skip_undo");
    let made = binary.execute("fs.write", &json!({ "path": "a.md", "content": "one\n" })).await;
    let undo = within(take_back(&made.execution_id, false), BOUND);
    let undo = client_of(binary.address, "scribe").undo_execution(undo).await.expect("answers");
    assert_eq!(undo.into_inner().execution.expect("one").state(), State::Succeeded);
    assert_eq!(world.read("a.md").as_deref(), Some("one\n"));
}
