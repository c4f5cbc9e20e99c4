//! What stops when a part is gone, and what goes on.

use std::time::Duration;

use bulkhead_edge::peer::{reason, within};
use bulkhead_proto::tools::v1 as pb;
use serde_json::json;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::world::{BOUND, World, call, drop_note, error_kind, put, until};
use pb::ExecutionState as State;

/// Waiting helps, and the answer says how long.
fn assert_retryable(status: &Status, code: Code, expected: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (code, expected));
    let retry = status.get_details_retry_info().expect("RetryInfo");
    assert!(retry.retry_delay.is_some_and(|delay| delay > Duration::ZERO));
}

/// The execution that an error tells of.
fn named(status: &Status) -> String {
    status.get_details_error_info().expect("ErrorInfo").metadata["execution_id"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_durable_record_no_effect() {
    let world = World::start().await;
    let url = format!("sqlite://{}", world.journal().display());
    let mut holder = SqliteConnection::connect(&url).await.expect("opens");
    holder.execute("BEGIN IMMEDIATE").await.expect("locks");
    let request = put("a", "one");
    let refused = world.execute(request.clone()).await.expect_err("refused");
    assert_retryable(&refused, Code::Unavailable, "STORE_UNAVAILABLE");
    assert_eq!((world.read("a"), world.begun()), (None, 0));

    holder.execute("ROLLBACK").await.expect("unlocks");
    let done = world.execute(request).await.expect("runs");
    assert_eq!(done.state(), State::Succeeded);
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_refuses_before_the_effect_and_never_loses_an_outcome() {
    let world = World::start_with("outbox_events_max = 5").await;
    world.audit.set_down(true);
    // Five places: two calls take two each, the fifth is too few for a third.
    for name in ["a", "b"] {
        assert_eq!(world.execute(put(name, "x")).await.expect("runs").state(), State::Succeeded);
    }
    let refused = world.execute(put("c", "x")).await.expect_err("refused");
    assert_retryable(&refused, Code::ResourceExhausted, "OUTBOX_FULL");
    assert_eq!((world.read("c"), world.begun()), (None, 2));

    world.audit.set_down(false);
    until("delivered", || world.audit.events().len() == 4, || world.audit.events()).await;
    // What was delivered leaves its places a moment later.
    let emptied = async {
        loop {
            match world.execute(put("c", "x")).await {
                Ok(execution) => break execution,
                Err(refused) => assert_retryable(&refused, Code::ResourceExhausted, "OUTBOX_FULL"),
            }
        }
    };
    let again = tokio::time::timeout(BOUND, emptied).await.expect("places come back");
    assert_eq!(again.state(), State::Succeeded);
    assert_eq!(world.begun(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_keeps_its_place_in_the_outbox() {
    let world = World::start_with("outbox_events_max = 4").await;
    world.audit.set_down(true);
    world.script.held.send_replace(true);
    let first = world.execute(put("a", "x"));
    let others = async {
        until("begun", || world.begun() == 1, || ()).await;
        // One event waits and one place is kept: two are left, so a second intent fits and a third does not.
        assert_eq!(world.begin(put("b", "x")).await.state(), State::Running);
        let third = world.execute(put("c", "x")).await.expect_err("refused");
        assert_retryable(&third, Code::ResourceExhausted, "OUTBOX_FULL");
        world.script.held.send_replace(false);
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.expect("answers").state(), State::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_to_ask_means_not_done_and_the_same_request_asks_again() {
    let world = World::start().await;
    world.write("a", "one");
    world.approvals.set_down(true);
    let request = drop_note("a");
    let refused = world.execute(request.clone()).await.expect_err("refused");
    assert_retryable(&refused, Code::Unavailable, "APPROVAL_UNAVAILABLE");
    assert_eq!(world.execute(put("b", "free")).await.expect("ungated").state(), State::Succeeded);

    // The world moves on, and the same request plans again; what is asked for in the end is the plan of then.
    world.write("a", "two");
    let refused = world.execute(request.clone()).await.expect_err("refused");
    assert_retryable(&refused, Code::Unavailable, "APPROVAL_UNAVAILABLE");
    world.approvals.set_down(false);
    let asked = world.until(&named(&refused), State::AwaitingApproval).await;
    let again = world.execute(request).await.expect("replays");
    assert_eq!((again.state(), &again.execution_id), (State::AwaitingApproval, &asked.execution_id));
    assert!(asked.plan.expect("a plan").effects[0].preview.contains("two"));
    world.approvals.approve(&asked.approval_id, "bob");
    world.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_keeps_its_place_while_nobody_can_be_asked() {
    let world = World::start().await;
    world.write("a", "one");
    let asked = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.set_down(true);
    world.approvals.approve(&asked.approval_id, "bob");
    assert_eq!(world.get(&asked.execution_id).await.state(), State::AwaitingApproval);
    world.approvals.set_down(false);
    world.until(&asked.execution_id, State::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_irreversible_waits_for_the_audit_service() {
    let world = World::start_with("audit_confirm_timeout_ms = 1000").await;
    world.write("a", "one");
    let burn = call(&json!({ "op": "burn", "name": "a" }));
    let asked = world.execute(burn.clone()).await.expect("asks");
    world.audit.set_down(true);
    world.approvals.approve(&asked.approval_id, "bob");
    let failed = world.until(&asked.execution_id, State::Failed).await;
    assert_eq!((error_kind(&failed), world.begun()), ("AUDIT_UNAVAILABLE", 0));
    let error = failed.result.clone().expect("a result").error.expect("an error");
    assert!(error.retryable && error.message.contains("people have to agree again"), "{}", error.message);

    world.audit.set_down(false);
    // The outbox has noticed; before that the next call would rightly fail as this one did.
    let story = ["tool.requested", "tool.intent", "tool.outcome failed"];
    world.until_told(&failed.execution_id, &story).await;
    let again = world.execute(call(&json!({ "op": "burn", "name": "a" }))).await.expect("asks");
    world.approvals.approve(&again.approval_id, "bob");
    world.until(&again.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_changes_nothing() {
    let world = World::start().await;
    world.script.held.send_replace(true);
    let request = put("a", "one");
    let mut client = world.client("scribe");
    let short = client.execute_tool_call(within(request.clone(), Duration::from_secs(2))).await;
    let begun = short.expect("answers in time").into_inner().execution.expect("an execution");
    assert_eq!(begun.state(), State::Running);
    world.script.held.send_replace(false);
    world.until(&begun.execution_id, State::Succeeded).await;
    let again = world.execute(request).await.expect("replays");
    assert_eq!((again.state(), world.begun()), (State::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_whose_answer_was_lost_is_asked_once_and_runs_without_its_caller() {
    let world = World::start_with("approval_timeout_ms = 200").await;
    world.write("a", "one");
    world.approvals.set_mute(true);
    let unanswered = world.execute(drop_note("a")).await.expect_err("no answer");
    assert_retryable(&unanswered, Code::Unavailable, "APPROVAL_UNAVAILABLE");
    assert!(unanswered.message().contains("not known"), "{}", unanswered.message());
    let id = named(&unanswered);
    assert_eq!(world.get(&id).await.state(), State::Planned);
    assert_eq!(world.approvals.all().len(), 1);

    // The person decides; nobody calls again.
    world.approvals.approve(&world.approvals.all()[0].approval_id, "bob");
    world.approvals.set_mute(false);
    world.until(&id, State::Succeeded).await;
    assert_eq!((world.read("a"), world.begun(), world.approvals.all().len()), (None, 1, 1));
    world.until_told(&id, &["tool.requested", "tool.intent", "tool.outcome succeeded"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_never_asked_is_asked_later_without_the_caller() {
    let world = World::start().await;
    world.write("a", "one");
    world.approvals.set_down(true);
    let refused = world.execute(drop_note("a")).await.expect_err("refused");
    assert!(refused.message().contains("recorded"), "{}", refused.message());
    world.approvals.set_down(false);
    let asked = world.until(&named(&refused), State::AwaitingApproval).await;
    world.approvals.approve(&asked.approval_id, "bob");
    world.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_be_asked_about_expires() {
    let world = World::start_with("approval_expires_in_ms = 1000").await;
    world.write("a", "one");
    world.approvals.set_down(true);
    let request = drop_note("a");
    let id = named(&world.execute(request.clone()).await.expect_err("refused"));
    let expired = world.until(&id, State::Expired).await;
    assert_eq!(error_kind(&expired), "APPROVAL_EXPIRED");
    world.until_told(&id, &["tool.outcome expired"]).await;
    world.approvals.set_down(false);
    assert_eq!(world.execute(request).await.expect("replays").state(), State::Expired);
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_keeps_people_busy_without_limit() {
    let world = World::start_with("pending_max_per_principal = 2").await;
    for name in ["a", "b", "c"] {
        world.write(name, "one");
    }
    // One waits for a decision, one for being asked.
    let first = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.set_down(true);
    let second = drop_note("b");
    let refused = world.execute(second.clone()).await.expect_err("refused");
    assert_retryable(&refused, Code::Unavailable, "APPROVAL_UNAVAILABLE");
    let third = drop_note("c");
    let refused = world.execute(third.clone()).await.expect_err("too many");
    assert_retryable(&refused, Code::ResourceExhausted, "TOO_MANY_PENDING");
    assert_eq!(world.execute(put("d", "free")).await.expect("ungated").state(), State::Succeeded);
    let mut other = world.client("other");
    let others = other.execute_tool_call(within(drop_note("c"), Duration::from_secs(10))).await;
    assert_eq!(reason(&others.expect_err("down")), "APPROVAL_UNAVAILABLE");

    // A replay adds nothing, and a decision makes room.
    world.approvals.set_down(false);
    world.execute(second).await.expect("replays");
    world.approvals.deny(&first.approval_id, "no");
    world.until(&first.execution_id, State::Denied).await;
    assert_eq!(world.execute(third).await.expect("asks").state(), State::AwaitingApproval);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_is_recorded_as_soon_as_the_journal_can_be_read_again() {
    let world = World::start().await;
    world.script.held_after.send_replace(true);
    let mut call = std::pin::pin!(world.execute(put("a", "one")));
    let written = async { until("written", || world.read("a").is_some(), || ()).await };
    tokio::select! {
        () = written => {}
        ended = &mut call => panic!("it is held: {ended:?}"),
    }
    let url = format!("sqlite://{}", world.journal().display());
    let mut journal = SqliteConnection::connect(&url).await.expect("opens");
    // The outcome does not fit what stands there, and what stands there cannot be read.
    let broken = "UPDATE executions SET revision = revision + 1000, record = '!' || record";
    journal.execute(broken).await.expect("breaks");
    world.script.held_after.send_replace(false);
    let early = tokio::time::timeout(Duration::from_millis(700), &mut call).await;
    assert!(early.is_err(), "it gave up: {early:?}");
    let mended = "UPDATE executions SET revision = revision - 1000, record = substr(record, 2)";
    journal.execute(mended).await.expect("mends");
    assert_eq!(call.await.expect("answers").state(), State::Succeeded);
}
