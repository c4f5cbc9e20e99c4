//! What runs freely, what waits for people, and what their word does.

use std::time::Duration;

use bulkhead_proto::tools::v1 as pb;
use serde_json::{Value, json};

use crate::world::{World, call, drop_note, dry, error_kind, foreign_seed, put, waiting};
use pb::ExecutionState as State;

#[tokio::test(flavor = "multi_thread")]
async fn creating_is_free_and_told_before_and_after() {
    let world = World::start().await;
    let done = world.execute(put("a", "one")).await.expect("runs");
    assert_eq!(done.state(), State::Succeeded);
    assert_eq!(world.read("a").as_deref(), Some("one"));
    assert_eq!(done.plan.expect("a plan").policy_ids, ["creating-is-free"]);
    assert!(world.approvals.all().is_empty());
    world.until_told(&done.execution_id, &["tool.intent", "tool.outcome succeeded"]).await;

    let events = world.audit.events();
    let intent = events.iter().find(|event| event.kind == "tool.intent").expect("told");
    assert_eq!((intent.session_id.as_str(), intent.run_id.as_str(), intent.step), ("s1", "r1", 1));
    assert!(!intent.attributes_json.contains("one"), "content in the log: {}", intent.attributes_json);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_one_event_and_its_result_is_kept() {
    let world = World::start().await;
    world.write("a", "one");
    let read = world.execute(call(&json!({ "op": "read", "name": "a" }))).await.expect("runs");
    assert_eq!(read.state(), State::Succeeded);
    assert_eq!(read.result.expect("a result").content, "one");
    world.until_told(&read.execution_id, &["tool.read succeeded"]).await;
    assert_eq!(world.get(&read.execution_id).await.result.expect("kept").content, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn overwriting_waits_for_a_person_and_then_happens_once() {
    let world = World::start().await;
    world.write("a", "one");
    let request = put("a", "two");
    let asked = world.execute(request.clone()).await.expect("asks");
    assert_eq!(asked.state(), State::AwaitingApproval);
    assert_eq!(world.read("a").as_deref(), Some("one"));

    let approval = world.approvals.all().remove(0);
    let plan = asked.plan.expect("a plan");
    assert_eq!(approval.plan_json, plan.plan_json);
    assert_eq!(approval.plan_digest, plan.plan_digest);
    assert_eq!(approval.requirements[0].role, "approver");
    assert_eq!(approval.on_behalf_of.expect("on behalf").owner, "ada");

    world.approvals.approve(&asked.approval_id, "bob");
    let done = world.until(&asked.execution_id, State::Succeeded).await;
    assert_eq!(world.read("a").as_deref(), Some("two"));
    let story = ["tool.requested", "tool.intent", "tool.outcome succeeded"];
    world.until_told(&done.execution_id, &story).await;

    world.write("a", "three");
    let again = world.execute(request).await.expect("replays");
    assert_eq!((again.state(), again.execution_id), (State::Succeeded, done.execution_id));
    assert_eq!(world.read("a").as_deref(), Some("three"));
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_waits_gets_the_outcome() {
    let world = World::start().await;
    world.write("a", "one");
    let waits = world.execute(waiting(drop_note("a"), Duration::from_secs(15)));
    let decides = async {
        crate::world::until("asked", || !world.approvals.all().is_empty(), || ()).await;
        world.approvals.approve(&world.approvals.all()[0].approval_id, "bob");
    };
    let (done, ()) = tokio::join!(waits, decides);
    assert_eq!(done.expect("answers").state(), State::Succeeded);
    assert_eq!(world.read("a"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_means_no_and_the_reason_reaches_the_agent() {
    let world = World::start().await;
    world.write("a", "one");
    let denied = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.deny(&denied.approval_id, "still needed for the audit");
    let denied = world.until(&denied.execution_id, State::Denied).await;
    assert_eq!(error_kind(&denied), "APPROVAL_DENIED");
    let error = denied.result.expect("a result").error.expect("an error");
    assert!(error.message.contains("still needed for the audit"), "{}", error.message);
    assert_eq!((error.retryable, error.happened()), (false, pb::Happened::No));
    world.until_told(&denied.execution_id, &["tool.requested", "tool.outcome denied"]).await;

    let late = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.expire(&late.approval_id);
    let late = world.until(&late.execution_id, State::Expired).await;
    assert_eq!(error_kind(&late), "APPROVAL_EXPIRED");

    let lost = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.forget_all();
    world.until(&lost.execution_id, State::Expired).await;
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_does_not_count_opens_nothing() {
    let world = World::start().await;
    world.write("a", "one");
    world.write("b", "one");

    let foreign = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.approve_with(&foreign.approval_id, "bob", Duration::from_secs(60), foreign_seed());
    let foreign = world.until(&foreign.execution_id, State::Refused).await;
    assert_eq!(error_kind(&foreign), "POLICY_DENIED");

    let late = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.approve_with(&late.approval_id, "bob", Duration::ZERO, crate::fakes::SEED);
    let late = world.until(&late.execution_id, State::Expired).await;
    let told = late.result.expect("a result").content;
    assert!(told.contains("was approved, but the time"), "{told}");

    let own = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.approve(&own.approval_id, "ada");
    world.until(&own.execution_id, State::Refused).await;

    let other = world.execute(drop_note("b")).await.expect("asks");
    let borrowed = world.execute(drop_note("a")).await.expect("asks");
    world.approvals.approve(&other.approval_id, "bob");
    world.until(&other.execution_id, State::Succeeded).await;
    world.approvals.approve_with_grant_of(&borrowed.approval_id, &other.approval_id);
    world.until(&borrowed.execution_id, State::Refused).await;
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_since_the_plan_is_stale_and_the_grant_is_used() {
    let world = World::start().await;
    world.write("a", "one");
    let asked = world.execute(drop_note("a")).await.expect("asks");
    world.write("a", "somebody else was here");
    world.approvals.approve(&asked.approval_id, "bob");
    let stale = world.until(&asked.execution_id, State::Stale).await;
    assert_eq!(error_kind(&stale), "STALE");
    assert_eq!(world.read("a").as_deref(), Some("somebody else was here"));
    let story = ["tool.requested", "tool.intent", "tool.outcome stale"];
    world.until_told(&stale.execution_id, &story).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_of_two_equal_calls_starts_one_of_them() {
    let world = World::start().await;
    world.write("a", "one");
    let first = world.execute(drop_note("a")).await.expect("asks");
    let second = world.execute(drop_note("a")).await.expect("joins");
    assert_eq!(first.approval_id, second.approval_id);
    assert_ne!(first.execution_id, second.execution_id);
    world.approvals.approve(&first.approval_id, "bob");
    crate::world::until("begun", || world.begun() > 0, || ()).await;
    let mut states = Vec::new();
    for id in [&first.execution_id, &second.execution_id] {
        loop {
            let state = world.get(id).await.state();
            if matches!(state, State::Succeeded | State::Stale) {
                states.push(state.as_str_name());
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    states.sort_unstable();
    assert_eq!(states, ["EXECUTION_STATE_STALE", "EXECUTION_STATE_SUCCEEDED"]);
    assert_eq!(world.begun(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_leaves_nothing_but_its_event() {
    let world = World::start().await;
    world.write("a", "one");
    let planned = world.execute(dry(drop_note("a"))).await.expect("plans");
    assert_eq!((planned.execution_id.as_str(), planned.state()), ("", State::Unspecified));
    let plan = planned.plan.expect("a plan");
    assert_eq!(plan.policy_decision(), pb::PolicyDecision::ExecuteWithApproval);
    assert_eq!(plan.requirements.len(), 1);
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
    assert!(world.approvals.all().is_empty());

    let request = pb::PlanToolCallRequest { call: drop_note("a").call, context: None };
    let same = world.client("scribe").plan_tool_call(request).await.expect("plans").into_inner();
    let listed = world.client("olga").list_executions(pb::ListExecutionsRequest::default()).await;
    assert!(listed.expect("lists").into_inner().executions.is_empty());
    let same: Value = serde_json::from_str(&same.plan.expect("a plan").plan_json).expect("json");
    assert_eq!(same["effects"][0]["kind"], "file.delete");
    let dry_runs = || world.audit.events().iter().filter(|event| event.kind == "tool.dry_run").count();
    crate::world::until("told twice", || dry_runs() == 2, dry_runs).await;

    let missing = world.execute(dry(drop_note("nothing"))).await.expect("answers");
    assert_eq!((error_kind(&missing), &missing.plan), ("NOT_FOUND", &None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_can_forbid_and_hides_what_it_forbids() {
    let read_only = r#"permit (principal, action == Bulkhead::Action::"execute", resource)
        when { context.reversibility == "read_only" };
        permit (principal, action == Bulkhead::Action::"dry_run", resource)
        when { context.effects.deletes == 0 };"#;
    let world = World::start_under(read_only).await;
    world.write("a", "one");
    for (request, shown) in [(put("a", "two"), true), (drop_note("a"), false)] {
        let refused = world.execute(request).await.expect("answers");
        assert_eq!((refused.state(), error_kind(&refused)), (State::Refused, "POLICY_DENIED"));
        world.until_told(&refused.execution_id, &["tool.outcome refused"]).await;
        let plan = refused.plan.expect("a decision");
        assert_eq!((plan.plan_json.contains("one"), !plan.effects.is_empty()), (shown, shown));
    }
    let unplanned = world.execute(dry(drop_note("a"))).await.expect("answers");
    assert_eq!((error_kind(&unplanned), &unplanned.plan), ("POLICY_DENIED", &None));
    assert_eq!((world.read("a").as_deref(), world.begun()), (Some("one"), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn people_see_what_they_may_see() {
    let world = World::start().await;
    let mine = world.execute(put("a", "one")).await.expect("runs");
    let get = pb::GetExecutionRequest { execution_id: mine.execution_id.clone() };
    for (who, sees) in [("scribe", true), ("other", false), ("olga", true), ("aud", true)] {
        let got = world.client(who).get_execution(get.clone()).await;
        assert_eq!(got.is_ok(), sees, "{who}");
        let listed = world.client(who).list_executions(pb::ListExecutionsRequest::default()).await;
        assert_eq!(listed.expect("lists").into_inner().executions.len(), usize::from(sees), "{who}");
    }
    let hidden = world.client("other").get_execution(get).await.expect_err("hidden");
    assert_eq!(bulkhead_edge::peer::reason(&hidden), "EXECUTION_NOT_FOUND");
    assert!(world.client("bob").execute_tool_call(put("b", "x")).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_each_state_until_the_last() {
    let world = World::start().await;
    world.write("a", "one");
    let asked = world.execute(drop_note("a")).await.expect("asks");
    let request = pb::WatchExecutionRequest {
        execution_id: asked.execution_id.clone(),
        ..pb::WatchExecutionRequest::default()
    };
    let mut watch = world.client("scribe").watch_execution(request).await.expect("watches").into_inner();
    let mut told = Vec::new();
    while let Some(change) = watch.message().await.expect("goes on") {
        let now = change.execution.expect("an execution");
        if told.is_empty() {
            world.approvals.approve(&now.approval_id, "bob");
        }
        told.push(now.state());
    }
    assert_eq!((told.first(), told.last()), (Some(&State::AwaitingApproval), Some(&State::Succeeded)));
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_are_paged_newest_first() {
    let world = World::start().await;
    for name in ["a", "b", "c"] {
        world.execute(put(name, "x")).await.expect("runs");
    }
    let mut request =
        pb::ListExecutionsRequest { page_size: 2, session_id: "s1".into(), ..Default::default() };
    let mut names = Vec::new();
    loop {
        let page = world.client("scribe").list_executions(request.clone()).await.expect("lists").into_inner();
        names.extend(
            page.executions.iter().map(|e| e.plan.clone().expect("a plan").effects[0].target.clone()),
        );
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(names, ["c", "b", "a"]);
    let none = pb::ListExecutionsRequest { session_id: "s2".into(), ..Default::default() };
    let none = world.client("scribe").list_executions(none).await.expect("lists").into_inner();
    assert!(none.executions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_executions_ends_early_and_the_next_goes_on() {
    let world = World::start().await;
    let letters = 'a'..='z';
    let names: Vec<String> =
        letters.clone().flat_map(|a| letters.clone().map(move |b| format!("{a}{b}"))).take(40).collect();
    for name in names {
        let done = world.execute(put(&name, &"x".repeat(190_000))).await.expect("runs");
        assert_eq!(done.state(), State::Succeeded);
    }
    let mut request = pb::ListExecutionsRequest::default();
    let (mut seen, mut pages) = (std::collections::BTreeSet::new(), 0);
    loop {
        let page = world.client("scribe").list_executions(request.clone()).await.expect("fits").into_inner();
        assert!(!page.executions.is_empty(), "an empty page after {pages}");
        seen.extend(page.executions.into_iter().map(|execution| execution.execution_id));
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(seen.len(), 40);
    assert!(pages > 1, "{pages}");
}
