//! Answers that will not do: what the model is told of them, in every format, plain and streamed, and what its provider is
//! sent back, which the simulator refuses where the provider would.

use std::time::{Duration, Instant};

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Action, Reply, Script, Step, ToolCall, ToolFault, Usage};
use serde_json::json;
use tonic::Code;

use crate::bench::{Bench, Plan, bench, metadata, on, reason, request, story};

const PROVIDERS: [&str; 4] = ["anthropic", "openai", "openai-compatible", "ollama"];

/// What the model is told of each fault.
const FAULTS: [(ToolFault, &str); 4] = [
    (ToolFault::BadJson, "is not JSON"),
    (ToolFault::Unoffered, "not on offer; on offer: fs.read."),
    (ToolFault::SameId, "have the same id"),
    (ToolFault::WrongInput, "is not of type"),
];

fn reader() -> pb::ToolDefinition {
    pb::ToolDefinition {
        name: "fs.read".into(),
        description: "Reads a file.".into(),
        input_schema_json: r#"{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}"#
            .into(),
    }
}

fn asked() -> pb::GenerateRequest {
    pb::GenerateRequest { tools: vec![reader()], ..on("cloud") }
}

fn right() -> Step {
    Step::tools([ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) }])
}

/// Ollama's calls have no ids.
fn can_happen(provider: &str, fault: ToolFault) -> bool {
    provider != "ollama" || fault != ToolFault::SameId
}

/// The answer, however it was asked for.
async fn answered(bench: &Bench, is_streamed: bool) -> pb::GenerateResponse {
    if is_streamed {
        bench.stream(asked()).await.answer().clone()
    } else {
        bench.generate(asked()).await.expect("answers")
    }
}

fn calls(answer: &pb::GenerateResponse) -> Vec<&str> {
    let blocks = answer.message.as_ref().map(|message| message.content.as_slice()).unwrap_or_default();
    let calls = blocks.iter().filter_map(|content| match &content.block {
        Some(pb::content_block::Block::ToolUse(call)) => Some(call.input_json.as_str()),
        _ => None,
    });
    calls.collect()
}

#[tokio::test]
async fn a_model_is_told_what_is_wrong_with_its_calls_and_may_do_it_right() {
    for provider in PROVIDERS {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        for (fault, told) in FAULTS.into_iter().filter(|(fault, _)| can_happen(provider, *fault)) {
            for is_streamed in [false, true] {
                bench.control.clear_requests().await.expect("cleared");
                let wrong: Step = Action::ToolFault(fault).into();
                bench.script("primary", Script::once([wrong.clone(), wrong, right()])).await;
                let answer = answered(&bench, is_streamed).await;
                let what = format!("{provider} {fault:?} streamed: {is_streamed}");
                let malformed = ("primary", "MALFORMED", 200);
                assert_eq!(story(&answer.attempts), [malformed, malformed, ("primary", "", 200)], "{what}");
                let repairs: Vec<bool> = answer.attempts.iter().map(|attempt| attempt.repair).collect();
                assert_eq!(repairs, [false, true, true], "{what}");
                assert!(answer.attempts.iter().all(|attempt| attempt.usage.is_some()), "{what}: counted");
                assert_eq!(calls(&answer), [r#"{"path":"a.md"}"#], "{what}");
                for again in &bench.received("primary").await[1..] {
                    let last = again.body["messages"].as_array().and_then(|messages| messages.last());
                    let last = last.expect("a turn").to_string();
                    assert!(last.contains(told), "{what}: {last}");
                }
            }
        }
    }
}

#[tokio::test]
async fn calls_that_stay_wrong_go_to_the_next_model_and_are_an_error_that_carries_them() {
    for provider in PROVIDERS {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        for (fault, _) in FAULTS.into_iter().filter(|(fault, _)| can_happen(provider, *fault)) {
            bench.control.clear_requests().await.expect("cleared");
            bench.always("primary", Action::ToolFault(fault).into()).await;
            bench.always("fallback", right()).await;
            let answer = answered(&bench, false).await;
            assert_eq!(answer.model, "fallback", "{provider} {fault:?}");
            assert_eq!(bench.counts().await, [3, 1, 0], "{provider} {fault:?}: two repairs");

            bench.always("fallback", Action::ToolFault(fault).into()).await;
            let status = bench.generate(asked()).await.expect_err("nobody does it right");
            let told = (status.code(), reason(&status));
            assert_eq!(told, (Code::FailedPrecondition, "OUTPUT_INVALID".into()), "{provider} {fault:?}");
            let name = if fault == ToolFault::Unoffered { "simulated_tool" } else { "fs.read" };
            let raw: serde_json::Value =
                serde_json::from_str(&metadata(&status, "raw_text")).expect("calls as JSON");
            assert_eq!(raw[0]["name"], name, "{provider} {fault:?} {raw}");
        }
    }
}

#[tokio::test]
async fn what_a_repair_takes_of_a_models_minute_is_its_own_size() {
    let bench = bench(Plan { cloud_model: "tokens_per_minute_max = 5000", ..Plan::default() }).await;
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonObject.into(),
        ..pb::ResponseFormat::default()
    };
    bench.always("fallback", Step::text("{}")).await;
    let malformed = ("primary", "MALFORMED", 200);
    for (words, expected) in
        [(10, [malformed, ("primary", "", 200)]), (8_000, [malformed, ("fallback", "", 200)])]
    {
        // What it says that it took is little, so that only what goes back to it is much.
        let usage = Some(Usage { input_tokens: 10, output_tokens: 10, ..Usage::default() });
        let wrong = Reply { text: Some("word ".repeat(words)), usage, ..Reply::default() };
        bench.script("primary", Script::once([wrong.into(), Step::text("{}")])).await;
        let asked = pb::GenerateRequest {
            response_format: Some(format.clone()),
            max_output_tokens: 500,
            ..on("cloud")
        };
        let answer = bench.generate(asked).await.expect("answers");
        assert_eq!(story(&answer.attempts), expected, "{words} words");
    }
}

#[tokio::test]
async fn a_repair_that_fits_a_models_minute_only_later_is_left_to_the_next_model() {
    let bench = bench(Plan { cloud_model: "tokens_per_minute_max = 5000", ..Plan::default() }).await;
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonObject.into(),
        ..pb::ResponseFormat::default()
    };
    // What is left of the minute has room for the request, and not for what the model wrote beside it.
    let usage = Some(Usage { input_tokens: 2_000, output_tokens: 1_000, ..Usage::default() });
    let wrong = Reply { text: Some("word ".repeat(2_000)), usage, ..Reply::default() };
    bench.script("primary", Script::once([wrong.into(), Step::text("{}")])).await;
    bench.always("fallback", Step::text("{}")).await;
    let asked = pb::GenerateRequest { response_format: Some(format), max_output_tokens: 500, ..on("cloud") };
    let started = Instant::now();
    let answer = bench.generate(asked).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "MALFORMED", 200), ("fallback", "", 200)]);
    assert!(started.elapsed() < Duration::from_secs(10), "at once, and not when its time is over");
}

#[tokio::test]
async fn what_a_model_called_is_in_no_record() {
    let bench = bench(Plan::default()).await;
    let made_up = Step::tools([ToolCall { name: "open_room_twelve".into(), input: json!({}) }]);
    bench.always("primary", made_up).await;
    let asked = pb::GenerateRequest { tools: vec![reader()], ..request() };
    bench.generate(asked.clone()).await.expect("another model answers");
    let event = bench.event(&asked.request_id).await;
    assert!(!event.attributes_json.contains("room_twelve"), "{}", event.attributes_json);
}
