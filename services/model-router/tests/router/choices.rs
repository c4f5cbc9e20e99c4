//! What a request chooses beside its conversation: who can be told of it, and what its answer has to be.

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{Script, Step, ToolCall};
use pb::content_block::Block;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::bench::{Bench, Plan, attributes, bench, metadata, on, reason, request, story};

/// A request for `{"n": INTEGER}` on the models that are not local.
fn counted() -> pb::GenerateRequest {
    let schema = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}"#;
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonSchema.into(),
        name: "count".into(),
        schema_json: schema.into(),
        repairs_max: None,
    };
    pb::GenerateRequest { response_format: Some(format), ..on("cloud") }
}

fn reader() -> pb::ToolDefinition {
    pb::ToolDefinition {
        name: "fs.read".into(),
        description: "Reads a file.".into(),
        input_schema_json: r#"{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}"#
            .into(),
    }
}

fn call(input: serde_json::Value) -> Step {
    Step::tools([ToolCall { name: "fs.read".into(), input }])
}

async fn sent(bench: &Bench, model: &str, at: usize) -> serde_json::Value {
    bench.received(model).await[at].body.clone()
}

#[tokio::test]
async fn what_a_provider_has_no_words_for_is_left_to_one_that_has() {
    let bench = bench(Plan::default()).await;
    let asked = pb::GenerateRequest { seed: Some(7), stop_sequences: vec!["END".into()], ..request() };
    let explained = pb::ExplainRouteRequest { generate: Some(asked.clone()), ..Default::default() };
    let explained = bench.client.clone().explain_route(explained).await.expect("explains").into_inner();
    let excluded: Vec<(&str, &str)> =
        explained.excluded.iter().map(|e| (e.model.as_str(), e.reason.as_str())).collect();
    assert_eq!(excluded, [("primary", "NOT_EXPRESSIBLE"), ("fallback", "NOT_EXPRESSIBLE")]);

    let answer = bench.generate(asked).await.expect("answers");
    assert_eq!(answer.model, "local");
    assert_eq!(bench.counts().await, [0, 0, 1]);
    let options = sent(&bench, "local", 0).await["options"].clone();
    assert_eq!((&options["seed"], &options["stop"]), (&json!(7), &json!(["END"])));
}

#[tokio::test]
async fn a_hint_for_the_cache_reaches_who_waits_for_one_and_nobody_refuses_it() {
    for provider in ["anthropic", "openai", "openai-compatible", "ollama"] {
        let bench = bench(Plan { cloud_provider: provider, ..Plan::default() }).await;
        let mut asked = on("cloud");
        let content = &mut asked.messages[0].content;
        content[0].cache_breakpoint = true;
        content.extend(vec![content[0].clone(); 5]);
        bench.generate(asked.clone()).await.expect("answers");
        let body = sent(&bench, "primary", 0).await.to_string();
        let expected = if provider == "anthropic" { 4 } else { 0 };
        assert_eq!(body.matches("cache_control").count(), expected, "{provider}: {body}");
        let untrusted = pb::ContentBlock { untrusted: true, ..asked.messages[0].content[0].clone() };
        asked.messages[0].content.push(untrusted);
        let refused = pb::GenerateRequest { request_id: request().request_id, ..asked };
        assert_eq!(bench.generate(refused).await.expect_err("refused").code(), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn where_nobody_can_be_told_the_fields_are_named_and_nothing_is_sent() {
    let bench = bench(Plan::default()).await;
    let status =
        bench.generate(pb::GenerateRequest { seed: Some(7), ..on("cloud") }).await.expect_err("seed");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "REQUEST_NOT_EXPRESSIBLE"));
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    assert!(violations.iter().all(|violation| violation.field == "seed"), "{violations:?}");
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn choices_that_contradict_the_request_are_told_all_at_once() {
    let bench = bench(Plan::default()).await;
    let choice = pb::ToolChoice {
        mode: pb::ToolChoiceMode::Named.into(),
        name: "fs.write".into(),
        single_call: false,
    };
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonSchema.into(),
        name: "no blanks".into(),
        schema_json: r#"{"type":"no such type"}"#.into(),
        repairs_max: Some(6),
    };
    let wrong = pb::GenerateRequest {
        tools: vec![reader()],
        tool_choice: Some(choice),
        response_format: Some(format),
        stop_sequences: vec![String::new()],
        top_p: Some(0.0),
        seed: Some(u64::MAX),
        ..request()
    };
    let status = bench.generate(wrong).await.expect_err("refused");
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    let fields: Vec<&str> = violations.iter().map(|violation| violation.field.as_str()).collect();
    let expected = [
        "top_p",
        "seed",
        "stop_sequences[0]",
        "tool_choice.name",
        "response_format.repairs_max",
        "response_format.name",
        "response_format.schema_json",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn json_comes_out_whole_however_the_model_wrapped_it() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::text("Sure:\n```json\n{\"n\": 1,}\n```")).await;
    let answer = bench.generate(counted()).await.expect("answers");
    assert_eq!((answer.structured_json.as_str(), answer.attempts.len()), (r#"{"n": 1}"#, 1));
}

#[tokio::test]
async fn a_model_that_is_held_to_a_schema_is_given_it_and_its_answer_is_validated_all_the_same() {
    let bench = bench(Plan { cloud_model: "structured_outputs = true", ..Plan::default() }).await;
    let with = |schema: &str| {
        let mut asked = counted();
        asked.response_format.as_mut().expect("a format").schema_json = schema.into();
        asked
    };
    let closed = r#"{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}"#;
    for answer in [
        bench.generate(with(closed)).await.expect("answers"),
        bench.stream(with(closed)).await.answer().clone(),
    ] {
        assert_eq!((answer.structured_json.as_str(), answer.attempts.len()), (r#"{"n":0}"#, 1));
    }
    for received in bench.received("primary").await {
        let format = &received.body["output_config"]["format"];
        assert_eq!(format["schema"], serde_json::from_str::<serde_json::Value>(closed).expect("JSON"));
        assert!(received.body.get("system").is_none(), "its provider tells it");
    }

    bench.script("primary", Script::once([Step::text("{\"n\":"), Step::text("{\"n\":1}")])).await;
    let answer = bench.generate(with(closed)).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "MALFORMED", 200), ("primary", "", 200)]);

    bench.always("primary", Step::text("{\"n\":2}")).await;
    let bounded = closed.replace("\"integer\"", "\"integer\",\"minimum\":0");
    let answer = bench.generate(with(&bounded)).await.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "", 200)]);
    let body = bench.received("primary").await.pop().expect("a request").body;
    assert!(body.get("output_config").is_none(), "the provider would refuse it");
    assert!(body["system"].to_string().contains("minimum"), "{}", body["system"]);
}

#[tokio::test]
async fn a_wrong_answer_is_asked_for_again_with_what_is_wrong_and_then_of_the_next_model() {
    let bench = bench(Plan::default()).await;
    let steps = [Step::text("{\"n\":\"one\"}"), Step::text("none"), Step::text("[]")];
    bench.script("primary", Script::once(steps)).await;
    bench.always("fallback", Step::text("{\"n\":2}")).await;
    let answer = bench.generate(counted()).await.expect("answers");
    let expected = [
        ("primary", "MALFORMED", 200),
        ("primary", "MALFORMED", 200),
        ("primary", "MALFORMED", 200),
        ("fallback", "", 200),
    ];
    assert_eq!(story(&answer.attempts), expected);
    let repairs: Vec<bool> = answer.attempts.iter().map(|attempt| attempt.repair).collect();
    assert_eq!(repairs, [false, true, true, false]);
    assert_eq!(answer.structured_json, "{\"n\":2}");

    let again = sent(&bench, "primary", 1).await;
    assert_eq!(again["messages"][1]["content"][0]["text"], "{\"n\":\"one\"}");
    let told = again["messages"][2]["content"][0]["text"].to_string();
    assert!(told.contains("is not of type") && told.contains("integer"), "{told}");
    let fresh = sent(&bench, "fallback", 0).await;
    assert_eq!(fresh["messages"].as_array().map(Vec::len), Some(1), "the next model starts afresh");
}

#[tokio::test]
async fn an_answer_that_stays_wrong_is_an_error_that_carries_it() {
    let bench = bench(Plan::default()).await;
    bench.always("primary", Step::text("first nonsense")).await;
    bench.always("fallback", Step::text("last nonsense")).await;
    let mut asked = counted();
    asked.response_format.as_mut().expect("a format").repairs_max = Some(0);
    let status = bench.generate(asked.clone()).await.expect_err("no JSON");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "OUTPUT_INVALID"));
    assert_eq!(metadata(&status, "raw_text"), "last nonsense");
    assert_eq!(bench.counts().await, [1, 1, 0]);
    let event = bench.event(&asked.request_id).await;
    assert_eq!(attributes(&event)["error"], "OUTPUT_INVALID");
    assert!(!event.attributes_json.contains("nonsense"), "the record quotes nothing");
}

#[tokio::test]
async fn a_wrong_answer_is_not_the_last_word_where_another_model_may_answer_later() {
    let bench = bench(Plan { model: "attempts_max = 1", ..Plan::default() }).await;
    let mut asked = counted();
    asked.response_format.as_mut().expect("a format").repairs_max = Some(1);
    let (wrong, down) = (Step::text("nonsense"), Step::status(503));
    let cases = [
        ("the next is down", vec![wrong.clone(); 2], down.clone(), "NO_MODEL_ANSWERED", Code::Unavailable),
        (
            "it went down itself",
            vec![wrong.clone(), down],
            wrong.clone(),
            "NO_MODEL_ANSWERED",
            Code::Unavailable,
        ),
        ("all were wrong", vec![wrong.clone(); 2], wrong.clone(), "OUTPUT_INVALID", Code::FailedPrecondition),
        ("no key", vec![wrong; 2], Step::status(401), "OUTPUT_INVALID", Code::FailedPrecondition),
    ];
    for (what, primary, fallback, told, code) in cases {
        bench.script("primary", Script::once(primary)).await;
        bench.always("fallback", fallback).await;
        let asked = pb::GenerateRequest { request_id: request().request_id, ..asked.clone() };
        let status = bench.generate(asked).await.expect_err("no JSON");
        assert_eq!((reason(&status).as_str(), status.code()), (told, code), "{what}");
        assert_eq!(metadata(&status, "raw_text"), "nonsense", "{what}: what was said is told in any case");
        assert_eq!(metadata(&status, "flaw"), "the answer is not the JSON that was asked for", "{what}");
        let waits = status.get_details_retry_info().is_some();
        assert_eq!(waits, told == "NO_MODEL_ANSWERED", "{what}");
    }
}

#[tokio::test]
async fn a_call_that_its_schema_refuses_is_told_to_the_model_as_a_failed_call() {
    let bench = bench(Plan::default()).await;
    let right = json!({ "path": "a.md" });
    bench.script("primary", Script::once([call(json!({ "file": "a.md" })), call(right)])).await;
    let answer = bench.generate(pb::GenerateRequest { tools: vec![reader()], ..request() }).await;
    let answer = answer.expect("answers");
    assert_eq!(story(&answer.attempts), [("primary", "MALFORMED", 200), ("primary", "", 200)]);
    let message = answer.message.expect("a message");
    let Some(Block::ToolUse(wanted)) = &message.content[0].block else { panic!("{message:?}") };
    assert_eq!(wanted.input_json, r#"{"path":"a.md"}"#);
    let again = sent(&bench, "primary", 1).await;
    let result = &again["messages"][2]["content"][0];
    assert_eq!((&result["type"], &result["is_error"]), (&json!("tool_result"), &json!(true)));
    assert!(result["content"].to_string().contains("required property"), "{result}");
}

#[tokio::test]
async fn calls_that_are_not_what_was_chosen_are_asked_for_again() {
    use pb::ToolChoiceMode as M;
    let bench = bench(Plan { cloud_provider: "openai-compatible", ..Plan::default() }).await;
    let tool = |path: &str| ToolCall { name: "fs.read".into(), input: json!({ "path": path }) };
    let (one, two) = (|| Step::tools([tool("a.md")]), || Step::tools([tool("a.md"), tool("b.md")]));
    let words = || Step::text("I would rather talk.");
    let cases = [
        (M::Required, "", false, words(), one(), "you called no tool"),
        (M::Named, "fs.read", false, words(), one(), "you called no tool"),
        (M::Auto, "", true, two(), one(), "more than one call"),
        (M::None, "", false, one(), words(), "may call none now"),
    ];
    for (mode, name, single_call, wrong, right, told) in cases {
        let choice = pb::ToolChoice { mode: mode.into(), name: name.into(), single_call };
        let asked = || pb::GenerateRequest {
            tools: vec![reader()],
            tool_choice: Some(choice.clone()),
            ..on("cloud")
        };
        for is_streamed in [false, true] {
            let what = format!("{mode:?} streamed: {is_streamed}");
            bench.control.clear_requests().await.expect("cleared");
            bench.script("primary", Script::once([wrong.clone(), right.clone()])).await;
            let answer = if is_streamed {
                bench.stream(asked()).await.answer().clone()
            } else {
                bench.generate(asked()).await.expect("answers")
            };
            assert_eq!(
                story(&answer.attempts),
                [("primary", "MALFORMED", 200), ("primary", "", 200)],
                "{what}"
            );
            let again = sent(&bench, "primary", 1).await["messages"].to_string();
            assert!(again.contains(told), "{what}: {again}");
        }
        bench.always("primary", wrong.clone()).await;
        bench.always("fallback", wrong).await;
        let status = bench.generate(asked()).await.expect_err("nobody does it right");
        assert_eq!(reason(&status), "OUTPUT_INVALID", "{mode:?}");
    }
}
