//! Bad input, replay, explanations, dry runs.

use std::time::Duration;

use bulkhead_proto::common::v1::{RunContext, Sensitivity};
use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Answered, RetryAfter, Script, Step, StopReason, ToolCall};
use pb::content_block::Block;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{PATIENCE, Plan, bench, metadata, on, reason, request, sensitive, story};

fn turn(role: pb::Role, block: Option<Block>) -> pb::Message {
    pb::Message {
        role: role.into(),
        content: vec![pb::ContentBlock { block, ..pb::ContentBlock::default() }],
    }
}

fn fields(error: &tonic::Status) -> Vec<String> {
    let bad = error.get_details_bad_request().expect("a BadRequest");
    bad.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn every_violation_is_told_at_once() {
    let bench = bench(Plan::default()).await;
    let call = pb::ToolUse { tool_use_id: "t1".into(), name: "no spaces".into(), input_json: "[1]".into() };
    let result = pb::ToolResultBlock { tool_use_id: "t9".into(), ..pb::ToolResultBlock::default() };
    let tool = pb::ToolDefinition {
        name: "a".into(),
        input_schema_json: "{".into(),
        ..pb::ToolDefinition::default()
    };
    let bad = pb::GenerateRequest {
        request_id: "7".into(),
        route: "nowhere".into(),
        messages: vec![
            turn(pb::Role::User, None),
            turn(pb::Role::Unspecified, Some(Block::Text(String::new()))),
            turn(pb::Role::User, Some(Block::ToolResult(result))),
            turn(pb::Role::Assistant, Some(Block::ToolUse(call))),
        ],
        tools: vec![tool.clone(), tool],
        max_output_tokens: 1_000_001,
        temperature: Some(2.5),
        context: Some(RunContext { sensitivity: vec![0], ..RunContext::default() }),
        ..pb::GenerateRequest::default()
    };
    let error = bench.generate(bad).await.expect_err("refused");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::InvalidArgument, "INVALID_REQUEST"));
    let expected = [
        "request_id",
        "route",
        "context.sensitivity[0]",
        "messages",
        "messages[0].content[0]",
        "messages[1].role",
        "messages[1].content[0].text",
        "messages[2].content[0].tool_result.tool_use_id",
        "messages[3].content[0].tool_use.name",
        "messages[3].content[0].tool_use.input_json",
        "tools[0].input_schema_json",
        "tools[1].name",
        "tools[1].input_schema_json",
        "max_output_tokens",
        "temperature",
    ];
    assert_eq!(fields(&error), expected);
    let error = bench.generate(pb::GenerateRequest::default()).await.expect_err("refused");
    assert_eq!(fields(&error), ["request_id", "messages"]);
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn tools_travel_through_both_providers_under_the_agents_names() {
    let bench = bench(Plan::default()).await;
    let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
    for model in ["primary", "local"] {
        bench.always(model, Step::tools([call.clone()])).await;
    }
    let tools = vec![pb::ToolDefinition {
        name: "fs.read".into(),
        description: "Reads a file.".into(),
        input_schema_json: r#"{"type":"object"}"#.into(),
    }];
    for first in [request(), sensitive("default")] {
        let asked = pb::GenerateRequest { tools: tools.clone(), ..first };
        let answer = bench.generate(asked.clone()).await.expect("answers");
        assert_eq!(answer.stop_reason(), pb::StopReason::ToolUse);
        let message = answer.message.expect("a message");
        let Some(Block::ToolUse(wanted)) = message.content[0].block.clone() else { panic!("{message:?}") };
        assert_eq!((wanted.name.as_str(), wanted.input_json.as_str()), ("fs.read", r#"{"path":"a.md"}"#));

        let result = pb::ToolResultBlock {
            tool_use_id: wanted.tool_use_id,
            content: "File not found: a.md".into(),
            is_error: true,
            ..pb::ToolResultBlock::default()
        };
        let mut next = asked;
        next.request_id = request().request_id;
        next.messages.extend([message, turn(pb::Role::User, Some(Block::ToolResult(result)))]);
        bench.generate(next).await.expect("the conversation goes on");
    }
    let sent = &bench.received("primary").await[1].body;
    assert_eq!(sent["tools"][0]["name"], "fs_read");
    assert_eq!(sent["messages"][1]["content"][0]["name"], "fs_read");
    assert_eq!(sent["messages"][2]["content"][0]["is_error"], true);
    let sent = &bench.received("local").await[1].body;
    assert_eq!(sent["messages"][2]["tool_name"], "fs.read");
}

#[tokio::test]
async fn a_refusal_is_an_answer() {
    let bench = bench(Plan::default()).await;
    let refusal = bulkhead_provider_sim::Reply {
        stop_reason: Some(StopReason::Refusal),
        ..bulkhead_provider_sim::Reply::default()
    };
    bench.always("primary", refusal.into()).await;
    let answer = bench.generate(request()).await.expect("answers");
    assert_eq!((answer.stop_reason(), answer.model.as_str()), (pb::StopReason::Refusal, "primary"));
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn the_same_id_gets_the_same_answer_and_one_call() {
    let bench = bench(Plan::default()).await;
    bench.script("primary", Script::once([Step::text("first"), Step::text("second")])).await;
    let asked = request();
    let first = bench.generate(asked.clone()).await.expect("answers");
    assert_eq!(bench.generate(asked.clone()).await.expect("replays"), first);
    assert_eq!(bench.counts().await, [1, 0, 0]);
    let other = pb::GenerateRequest { system: "Be brief.".into(), ..asked };
    let error = bench.generate(other).await.expect_err("another payload");
    assert_eq!((error.code(), reason(&error).as_str()), (Code::AlreadyExists, "REQUEST_ID_REUSED"));
}

#[tokio::test]
async fn concurrent_duplicates_share_one_call() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::text("once").after_ms(200)).await;
    let asked = request();
    let (left, right) = tokio::join!(bench.generate(asked.clone()), bench.generate(asked.clone()));
    assert_eq!(left.expect("answers"), right.expect("answers"));
    assert_eq!(bench.counts().await, [1, 0, 0]);
}

#[tokio::test]
async fn a_failure_is_not_replayed() {
    let bench = bench(Plan { model: "attempts_max = 1", ..Plan::default() }).await;
    bench.script("primary", Script::once([Step::status(503)])).await;
    let asked = on("short");
    bench.generate(asked.clone()).await.expect_err("fails");
    assert_eq!(bench.generate(asked).await.expect("answers").attempts.len(), 1);
}

#[tokio::test]
async fn an_explanation_is_what_then_happens() {
    let bench = bench(Plan { settings: "retry_base_ms = 10\npatience_ms = 100", ..Plan::default() }).await;
    bench.script("primary", Script::once([Step::status_after(429, RetryAfter::Seconds(60))])).await;
    bench.generate(request()).await.expect("falls back");

    for sensitivity in [vec![], vec![Sensitivity::Health.into()]] {
        let context = RunContext { sensitivity, ..RunContext::default() };
        let explained = bench.explain("default", Some(context.clone())).await;
        let answer = bench.generate(pb::GenerateRequest { context: Some(context), ..request() }).await;
        let answer = answer.expect("answers");
        assert_eq!(explained.planned[0].model, answer.model);
        assert_eq!(explained.excluded.iter().filter(|e| e.model == answer.model).count(), 0);
    }
    let context = RunContext { sensitivity: vec![Sensitivity::Health.into()], ..RunContext::default() };
    let explained = bench.explain("default", Some(context)).await;
    assert!(explained.local_only && explained.reasons[0].contains("health"), "{explained:?}");
    let excluded: Vec<_> = explained.excluded.iter().map(|e| (e.model.as_str(), e.reason.as_str())).collect();
    assert_eq!(excluded, [("primary", "NOT_LOCAL"), ("fallback", "NOT_LOCAL")]);
}

#[tokio::test]
async fn a_dry_run_plans_and_sends_nothing() {
    let bench = bench(Plan::default()).await;
    let context = RunContext { dry_run: true, ..RunContext::default() };
    let answer =
        bench.generate(pb::GenerateRequest { context: Some(context), ..request() }).await.expect("plans");
    assert_eq!(answer.message, None);
    assert_eq!(story(&answer.attempts), [("primary", "", 0), ("fallback", "", 0), ("local", "", 0)]);
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_dry_run_fails_as_the_run_would() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::status(404)).await;
    bench.always("local", Step::status(404)).await;
    for asked in [on("short"), sensitive("default")] {
        bench.generate(asked.clone()).await.expect_err("marks it");
        let run = pb::GenerateRequest { request_id: request().request_id, ..asked };
        let mut dry = pb::GenerateRequest { request_id: request().request_id, ..run.clone() };
        dry.context.get_or_insert_default().dry_run = true;
        let run = bench.generate(run).await.expect_err("no model is left");
        let dry = bench.generate(dry).await.expect_err("nor for the dry run");
        assert_eq!((dry.code(), dry.message()), (run.code(), run.message()));
        assert_eq!(reason(&dry), reason(&run));
        for key in ["route", "local_only", "attempts", "excluded"] {
            assert_eq!(metadata(&dry, key), metadata(&run, key), "{key}");
        }
        assert!(dry.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    }
    assert_eq!(bench.counts().await, [1, 0, 1]);
}

#[tokio::test]
async fn a_dry_run_leaves_out_what_money_stands_against_and_fails_where_nothing_is_left() {
    let cloud_model = "input_price_usd_micros = 3000000\noutput_price_usd_micros = 15000000";
    let bench = bench(Plan { cloud_model, ..Plan::default() }).await;
    let limits = Some(pb::GenerateLimits { cost_usd_micros_max: 100, ..pb::GenerateLimits::default() });
    let asked = |route, dry_run| {
        let context = Some(RunContext { dry_run, ..RunContext::default() });
        pb::GenerateRequest { context, limits, max_output_tokens: 100, ..on(route) }
    };
    let planned = bench.generate(asked("default", true)).await.expect("the local one is free");
    assert_eq!(story(&planned.attempts), [("local", "", 0)]);
    let dry = bench.generate(asked("cloud", true)).await.expect_err("all are too dear");
    let run = bench.generate(asked("cloud", false)).await.expect_err("as it was told");
    assert_eq!((reason(&dry).as_str(), dry.code()), ("COST_LIMIT_REACHED", run.code()));
    for key in ["route", "attempts", "cost_usd_micros_max", "estimate_usd_micros"] {
        assert_eq!(metadata(&dry, key), metadata(&run, key), "{key}");
    }
    assert_eq!(bench.stream(asked("default", true)).await.answer().attempts.len(), 1);
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

/// A small model comes first, and what is too long for it is asked of no other.
#[tokio::test]
async fn an_explanation_follows_a_route_that_ends_at_a_model_that_is_too_small() {
    let mut bench = bench(Plan { route: "fallback_on_context_length = false", ..Plan::default() }).await;
    bench.configure(|text| text.replacen("local = false", "local = false\ncontext_window_tokens = 100", 1));
    bench.restart().await;
    let asked = pb::GenerateRequest { system: "What was said, word for word. ".repeat(1_000), ..request() };
    let run = bench.generate(asked.clone()).await.expect_err("too long for the first");
    assert_eq!(reason(&run), "REQUEST_REJECTED_BY_MODEL");
    let generate = Some(pb::GenerateRequest { request_id: request().request_id, ..asked });
    let explained = pb::ExplainRouteRequest { generate, ..pb::ExplainRouteRequest::default() };
    let told = bench.client.clone().explain_route(explained).await.expect("explains").into_inner();
    assert_eq!(told.planned, []);
    let excluded: Vec<_> =
        told.excluded.iter().map(|left| (left.model.as_str(), left.reason.as_str())).collect();
    assert_eq!(excluded, ["primary", "fallback", "local"].map(|model| (model, "CONTEXT_LENGTH")));
    assert_eq!(
        bench.explain("default", None).await.planned.len(),
        3,
        "of what is not given nothing is known"
    );
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn models_are_listed_by_name_in_pages() {
    let bench = bench(Plan::default()).await;
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListModelsRequest { page_size: 2, page_token };
        let page = bench.client.clone().list_models(request).await.expect("lists").into_inner();
        names.extend(page.models.into_iter().map(|model| (model.name, model.routes, model.usable)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let routes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let expected = [
        ("fallback".to_owned(), routes(&["cloud", "default"]), true),
        ("local".to_owned(), routes(&["default"]), true),
        ("primary".to_owned(), routes(&["cloud", "default", "short"]), true),
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn when_the_caller_goes_away_so_does_the_call_to_the_model() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", bulkhead_provider_sim::Action::Silence.into()).await;
    let asked = request();
    let gone = tokio::time::timeout(Duration::from_millis(300), bench.generate(asked.clone())).await;
    assert!(gone.is_err());
    let dropped = async {
        while bench.received("primary").await.iter().any(|request| request.answered != Answered::Abandoned) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the model's connection is closed");
    let event = bench.event(&asked.request_id).await;
    assert_eq!(event.outcome, "failed");
    assert_eq!(crate::bench::attributes(&event)["error"], "CALLER_GONE");
    assert_eq!(bench.counts().await, [1, 0, 0]);
}
