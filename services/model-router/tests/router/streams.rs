//! StreamGenerate: every fault of a stream, in every format, under every policy, with the outcome stated beforehand.

use bulkhead_proto::router::v1 as pb;
use bulkhead_provider_sim::{
    Action, Answered, Reply, Script, Step, StopReason, StreamBreak, StreamFault, ToolCall, ToolFault,
};
use serde_json::json;
use tonic::Code;

use crate::bench::{Bench, PATIENCE, Plan, attributes, bench, metadata, on, reason, request, story, text_of};

const PROVIDERS: [&str; 4] = ["anthropic", "openai", "openai-compatible", "ollama"];
/// What fails in one case is asked in the next.
const PATIENT: &str = "retry_base_ms = 10\ncircuit_failures = 1000";
/// Long enough for a loaded machine, short enough for a test.
const MODEL: &str = "attempts_max = 1\nfirst_token_timeout_ms = 3000\nidle_timeout_ms = 400";

async fn with(provider: &'static str, recovery: &'static str) -> Bench {
    let route = match recovery {
        "fail" => "stream_recovery = \"fail\"",
        "continue" => "stream_recovery = \"continue\"",
        _ => "stream_recovery = \"restart\"",
    };
    bench(Plan { cloud_provider: provider, settings: PATIENT, model: MODEL, route, ..Plan::default() }).await
}

/// Plays a case with each provider, all at once: most of the time is spent waiting for what does not come.
async fn with_each(case: impl AsyncFn(&'static str)) {
    futures::future::join_all(PROVIDERS.map(|provider| case(provider))).await;
}

/// As at the start: nothing is scripted, and nothing was sent.
async fn afresh(bench: &Bench) {
    bench.control.clear_scripts(None).await.expect("cleared");
    bench.control.clear_requests().await.expect("cleared");
}

fn pieces(chunks: &[&str]) -> Reply {
    Reply { chunks: chunks.iter().map(|chunk| (*chunk).to_owned()).collect(), ..Reply::default() }
}

/// `Once upon ` and then this.
fn broken(how: StreamBreak) -> Step {
    let fault = StreamFault { reply: pieces(&["Once ", "upon ", "a ", "time"]), ..StreamFault::new(how) };
    Action::StreamFault(fault.after(2)).into()
}

/// Each fault in the middle of a stream, with the kind that its attempt has.
const FAULTS: [(StreamBreak, &str); 8] = [
    (StreamBreak::Cut, "RESET"),
    (StreamBreak::Reset, "RESET"),
    (StreamBreak::Stall, "TIMEOUT"),
    (StreamBreak::Garbage, "MALFORMED"),
    (StreamBreak::Ended, "RESET"),
    (StreamBreak::Unterminated, "RESET"),
    (StreamBreak::Overloaded, "OVERLOADED"),
    (StreamBreak::Error(500), "SERVER_ERROR"),
];

/// Ollama's errors within a stream have no code.
fn kind_of(provider: &str, how: StreamBreak, kind: &'static str) -> &'static str {
    if provider == "ollama" && how == StreamBreak::Overloaded { "SERVER_ERROR" } else { kind }
}

/// What the fault lets through.
fn given(how: StreamBreak) -> &'static str {
    if how == StreamBreak::Unterminated { "Once upon a time" } else { "Once upon " }
}

#[tokio::test]
async fn a_whole_stream_is_the_answer_piece_by_piece() {
    with_each(async |provider| {
        let bench = with(provider, "restart").await;
        let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
        let reply = Reply { tool_calls: vec![call], ..pieces(&["I ", "lo", "ok é."]) };
        bench.always("primary", reply.into()).await;
        let tool = pb::ToolDefinition {
            name: "fs.read".into(),
            description: String::new(),
            input_schema_json: r#"{"type":"object"}"#.into(),
        };
        let asked = pb::GenerateRequest { tools: vec![tool], ..request() };
        let heard = bench.stream(asked.clone()).await;
        assert_eq!(heard.asked, ["primary"], "{provider}");
        let answer = heard.answer();
        assert_eq!(
            (heard.text.as_str(), text_of(answer.message.as_ref())),
            ("I look é.", "I look é.".into())
        );
        assert_eq!(answer.stop_reason(), pb::StopReason::ToolUse);
        assert!(answer.usage.is_some_and(|usage| usage.input_tokens > 0 && usage.output_tokens > 0));
        assert!(answer.attempts[0].time_to_first_token.is_some());
        let names: Vec<(&str, &str)> =
            heard.calls.iter().map(|call| (call.name.as_str(), call.input_json.as_str())).collect();
        assert_eq!(names, [("fs.read", r#"{"path":"a.md"}"#)], "{provider}");
        let event = bench.event(&asked.request_id).await;
        assert_eq!((event.outcome.as_str(), &attributes(&event)["model"]), ("answered", &json!("primary")));
    })
    .await;
}

#[tokio::test]
async fn a_failure_before_the_first_token_is_no_business_of_the_callers() {
    with_each(async |provider| {
        let bench = with(provider, "fail").await;
        for step in [
            Step::status(503),
            Action::Reset.into(),
            Action::StreamFault(StreamFault::new(StreamBreak::Overloaded).after(0)).into(),
            Action::StreamFault(StreamFault::new(StreamBreak::Ended).after(0)).into(),
        ] {
            afresh(&bench).await;
            bench.always("primary", step.clone()).await;
            bench.always("fallback", Step::text("here")).await;
            let heard = bench.stream(request()).await;
            assert_eq!(heard.asked, ["primary", "fallback"], "{provider} {step:?}");
            assert_eq!((heard.text.as_str(), heard.resets.len()), ("here", 0));
            assert!(heard.after[0].is_empty() && !heard.after[1].is_empty(), "{:?}", heard.after);
            assert_eq!(heard.answer().model, "fallback");
        }
    })
    .await;
}

#[tokio::test]
async fn restart_tells_what_to_discard_and_the_next_model_begins_anew() {
    with_each(async |provider| {
        let bench = with(provider, "restart").await;
        for (how, kind) in FAULTS {
            let kind = kind_of(provider, how, kind);
            afresh(&bench).await;
            bench.always("primary", broken(how)).await;
            bench.always("fallback", Step::text("The whole story.")).await;
            let heard = bench.stream(request()).await;
            assert_eq!(heard.asked, ["primary", "fallback"], "{provider} {how:?}");
            let reset = heard.resets.first().expect("a reset");
            let failed = reset.failed.as_ref().expect("what failed");
            assert_eq!((reset.text_bytes_kept, failed.error_kind.as_str()), (0, kind), "{provider} {how:?}");
            assert_eq!(heard.after, ["", kind], "{provider} {how:?}");
            assert_eq!(heard.text, "The whole story.", "{provider} {how:?}");
            let answer = heard.answer();
            assert_eq!(text_of(answer.message.as_ref()), heard.text);
            assert_eq!(story(&answer.attempts), [("primary", kind, 200), ("fallback", "", 200)]);
            assert!(!heard.completed.as_ref().is_some_and(|completed| completed.continued));
        }
    })
    .await;
}

#[tokio::test]
async fn continue_gives_the_next_model_what_there_is() {
    with_each(async |provider| {
        let bench = with(provider, "continue").await;
        for (how, kind) in FAULTS {
            let kind = kind_of(provider, how, kind);
            afresh(&bench).await;
            bench.always("primary", broken(how)).await;
            bench.always("fallback", Step::text("there was an end.")).await;
            let heard = bench.stream(request()).await;
            assert_eq!(heard.asked, ["primary", "fallback+"], "{provider} {how:?}");
            let whole = format!("{}there was an end.", given(how));
            let answer = heard.answer();
            assert_eq!(
                (heard.text.as_str(), text_of(answer.message.as_ref())),
                (whole.as_str(), whole.clone())
            );
            assert_eq!(story(&answer.attempts), [("primary", kind, 200), ("fallback", "", 200)]);
            assert!(heard.resets.is_empty() && heard.completed.as_ref().is_some_and(|end| end.continued));
            let sent = bench.received("fallback").await[0].body.to_string();
            assert!(sent.contains(given(how)), "{sent}");
        }
    })
    .await;
}

#[tokio::test]
async fn fail_says_so_and_gives_what_was_received() {
    with_each(async |provider| {
        let bench = with(provider, "fail").await;
        for (how, kind) in FAULTS {
            let kind = kind_of(provider, how, kind);
            afresh(&bench).await;
            bench.always("primary", broken(how)).await;
            let asked = request();
            let heard = bench.stream(asked.clone()).await;
            let failed = heard.failed.as_ref().expect("an explicit end");
            assert_eq!(failed.reason, "STREAM_BROKEN", "{provider} {how:?}");
            assert_eq!(text_of(failed.partial.as_ref()), given(how), "{provider} {how:?}");
            assert_eq!(story(&failed.attempts), [("primary", kind, 200)]);
            assert!(failed.retry_after.is_some());
            let status = heard.status.as_ref().expect("a status that says the same");
            assert_eq!((status.code(), reason(status).as_str()), (Code::Unavailable, "STREAM_BROKEN"));
            assert_eq!(bench.counts().await, [1, 0, 0], "{provider} {how:?}: nobody else is asked");
            let event = bench.event(&asked.request_id).await;
            assert_eq!(
                (event.outcome.as_str(), &attributes(&event)["error"]),
                ("failed", &json!("STREAM_BROKEN"))
            );
        }
    })
    .await;
}

#[tokio::test]
async fn when_every_model_breaks_the_end_is_explicit_under_every_policy() {
    for (recovery, partial) in [("restart", "Once upon "), ("continue", "Once upon Once upon ")] {
        let bench = with("openai", recovery).await;
        bench.always("primary", broken(StreamBreak::Cut)).await;
        bench.always("fallback", broken(StreamBreak::Stall)).await;
        let heard = bench.stream(on("cloud")).await;
        let failed = heard.failed.as_ref().expect("an explicit end");
        assert_eq!(failed.reason, "NO_MODEL_ANSWERED");
        assert_eq!(text_of(failed.partial.as_ref()), partial, "{recovery}: what holds");
        assert_eq!(heard.text, partial);
        assert_eq!(story(&failed.attempts), [("primary", "RESET", 200), ("fallback", "TIMEOUT", 200)]);
    }
}

#[tokio::test]
async fn a_model_that_says_nothing_loses_the_request_to_the_next() {
    with_each(async |provider| {
        let model = "first_token_timeout_ms = 1000\nidle_timeout_ms = 5000";
        let bench = bench(Plan { cloud_provider: provider, model, ..Plan::default() }).await;
        let late = Reply { first_after_ms: 60_000, ..pieces(&["late"]) };
        bench.always("primary", late.into()).await;
        bench.always("fallback", Step::text("here")).await;
        let heard = bench.stream(request()).await;
        assert_eq!(story(&heard.answer().attempts), [("primary", "TIMEOUT", 200), ("fallback", "", 200)]);
        assert_eq!(bench.counts().await, [1, 1, 0], "{provider}: silence is not asked for again");
    })
    .await;
}

#[tokio::test]
async fn a_finish_reason_ends_a_stream_only_where_the_model_is_said_to_have_no_other_end() {
    for (cloud_model, expected) in [("", "RESET"), ("stream_end = \"finish_reason\"", "")] {
        let cloud_provider = "openai-compatible";
        let bench = bench(Plan { cloud_provider, cloud_model, model: MODEL, ..Plan::default() }).await;
        bench.always("primary", broken(StreamBreak::Unterminated)).await;
        bench.always("fallback", Step::text("Another.")).await;
        let heard = bench.stream(request()).await;
        assert_eq!(heard.answer().attempts[0].error_kind, expected, "{cloud_model}");
        assert_eq!(heard.text, if expected.is_empty() { "Once upon a time" } else { "Another." });
        for how in [StreamBreak::Ended, StreamBreak::Cut] {
            bench.always("primary", broken(how)).await;
            assert_eq!(bench.stream(request()).await.answer().attempts[0].error_kind, "RESET", "{how:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_nobody_else_is_asked() {
    for (provider, stop) in [
        ("anthropic", StopReason::Refusal),
        ("openai", StopReason::Refusal),
        ("openai", StopReason::ContentFilter),
    ] {
        let bench = with(provider, "restart").await;
        let reply = Reply { stop_reason: Some(stop), ..pieces(&["I ", "cannot."]) };
        bench.always("primary", reply.into()).await;
        let heard = bench.stream(request()).await;
        assert_eq!(heard.answer().stop_reason(), pb::StopReason::Refusal, "{provider} {stop:?}");
        assert_eq!((heard.text.as_str(), bench.counts().await), ("I cannot.", [1, 0, 0]));
    }
}

#[tokio::test]
async fn no_call_is_given_that_cannot_be_run() {
    let tool = pb::ToolDefinition {
        name: "fs.read".into(),
        description: String::new(),
        input_schema_json: r#"{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}"#
            .into(),
    };
    with_each(async |provider| {
        let bench = with(provider, "restart").await;
        for fault in [ToolFault::BadJson, ToolFault::WrongInput, ToolFault::Unoffered] {
            afresh(&bench).await;
            bench.always("primary", Action::ToolFault(fault).into()).await;
            let right = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
            bench.always("fallback", Step::tools([right])).await;
            let heard = bench.stream(pb::GenerateRequest { tools: vec![tool.clone()], ..request() }).await;
            let inputs: Vec<&str> = heard.calls.iter().map(|call| call.input_json.as_str()).collect();
            assert_eq!(inputs, [r#"{"path":"a.md"}"#], "{provider} {fault:?}");
            let attempts = &heard.answer().attempts;
            assert!(attempts.iter().rev().skip(1).all(|a| a.error_kind == "MALFORMED"), "{attempts:?}");
            assert_eq!(attempts.last().map(|attempt| attempt.model.as_str()), Some("fallback"));
        }
    })
    .await;
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_goes_to_a_model_that_it_fits() {
    with_each(async |provider| {
        let bench = with(provider, "fail").await;
        bench.always("primary", Action::ContextLength.into()).await;
        bench.always("fallback", Step::text("fits")).await;
        let heard = bench.stream(request()).await;
        assert_eq!(heard.answer().attempts[0].error_kind, "CONTEXT_LENGTH", "{provider}");
        assert_eq!(heard.text, "fits");
    })
    .await;
}

#[tokio::test]
async fn structured_text_is_checked_before_it_is_shown_where_it_cannot_be_taken_back() {
    let format = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonObject.into(),
        ..pb::ResponseFormat::default()
    };
    for (recovery, resets) in [("fail", 0), ("restart", 1)] {
        let bench = with("openai", recovery).await;
        bench.script("primary", Script::once([Step::text("none"), Step::text("{\"n\":1}")])).await;
        let heard =
            bench.stream(pb::GenerateRequest { response_format: Some(format.clone()), ..request() }).await;
        let answer = heard.answer();
        assert_eq!((heard.text.as_str(), answer.structured_json.as_str()), ("{\"n\":1}", "{\"n\":1}"));
        assert_eq!((heard.resets.len(), answer.attempts[1].repair), (resets, true), "{recovery}");
    }
}

#[tokio::test]
async fn the_same_id_gets_the_same_stream_and_joins_one_that_is_under_way() {
    let bench = with("anthropic", "restart").await;
    let slow = Reply { first_after_ms: 200, ..pieces(&["one ", "call"]) };
    bench.always("primary", slow.into()).await;
    let asked = request();
    let (first, second) = tokio::join!(bench.stream(asked.clone()), bench.stream(asked.clone()));
    let third = bench.stream(asked.clone()).await;
    assert_eq!(first.completed, second.completed);
    assert_eq!(first.completed, third.completed);
    assert_eq!(
        (first.text.as_str(), second.text.as_str(), third.text.as_str()),
        ("one call", "one call", "one call")
    );
    assert_eq!(bench.counts().await, [1, 0, 0]);
    let other = bench.stream(pb::GenerateRequest { system: "Another.".into(), ..asked }).await;
    assert_eq!(reason(other.status.as_ref().expect("refused")), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_model_call_along() {
    with_each(async |provider| {
        let bench = with(provider, "restart").await;
        let endless = Reply { pause_ms: 20, chunks: vec!["word ".into(); 2_000], ..Reply::default() };
        bench.always("primary", endless.into()).await;
        let asked = request();
        let mut messages = bench.open_stream(asked.clone()).await.expect("opens");
        while messages.message().await.expect("goes on").is_some_and(|message| message.text.is_empty()) {}
        drop(messages);
        let abandoned = async {
            let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
            while bench.received("primary").await[0].answered != Answered::Abandoned {
                looks.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, abandoned).await.expect("the model stops");
        let event = bench.event(&asked.request_id).await;
        assert_eq!((event.outcome.as_str(), &attributes(&event)["error"]), ("failed", &json!("CALLER_GONE")));
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_plans_and_asks_nobody() {
    let bench = with("anthropic", "restart").await;
    let context = bulkhead_proto::common::v1::RunContext { dry_run: true, ..Default::default() };
    let heard = bench.stream(pb::GenerateRequest { context: Some(context), ..request() }).await;
    let planned: Vec<&str> = heard.answer().attempts.iter().map(|attempt| attempt.model.as_str()).collect();
    assert_eq!(planned, ["primary", "fallback", "local"]);
    assert_eq!((bench.counts().await, heard.text.as_str()), ([0, 0, 0], ""));
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_told_with_its_place() {
    let bench = with("anthropic", "restart").await;
    let heard = bench.stream(pb::GenerateRequest { messages: vec![], ..on("nowhere") }).await;
    let status = heard.status.expect("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("generate.route, generate.messages"), "{}", status.message());
    assert_eq!(metadata(&status, "violations_left_out"), "");
}

#[tokio::test]
async fn a_stream_that_the_callers_time_ends_was_not_silent() {
    let settings = "retry_base_ms = 10\ncircuit_failures = 1";
    // Enough time for a silent model to be told from a hurried caller.
    let model = "first_token_timeout_ms = 300\nidle_timeout_ms = 20000";
    let bench = bench(Plan { settings, model, ..Plan::default() }).await;
    let endless = Reply { pause_ms: 20, chunks: vec!["word ".into(); 2_000], ..Reply::default() };
    bench.always("primary", endless.into()).await;
    let asked = request();
    let heard = bench.stream_within(asked.clone(), std::time::Duration::from_secs(2)).await;
    assert!(heard.text.starts_with("word "), "{heard:?}");
    assert_eq!(heard.status.map(|status| status.code()), Some(Code::DeadlineExceeded));
    assert_eq!(attributes(&bench.event(&asked.request_id).await)["error"], "DEADLINE_EXCEEDED");
    let models = bench.client.clone().list_models(pb::ListModelsRequest::default()).await.expect("lists");
    let models = models.into_inner().models;
    let primary = models.iter().find(|model| model.name == "primary").expect("listed");
    assert!(primary.usable && primary.circuits.is_empty(), "{primary:?}");
}

#[tokio::test]
async fn a_stream_that_nobody_took_in_time_is_on_record_as_late() {
    let bench = with("anthropic", "restart").await;
    // More than any window on the way holds, so that the router comes to no end by itself.
    let chunks = vec!["word ".repeat(2_000); 200];
    bench.always("primary", Reply { chunks, ..Reply::default() }.into()).await;
    let (asked, time) = (request(), std::time::Duration::from_millis(600));
    let over = tokio::time::Instant::now() + time;
    let unread = bench.open_stream_within(asked.clone(), Some(time)).await.expect("opens");
    tokio::time::sleep_until(over + std::time::Duration::from_millis(50)).await;
    drop(unread);
    let event = bench.event(&asked.request_id).await;
    let told = attributes(&event);
    assert_eq!((event.outcome.as_str(), &told["error"]), ("failed", &json!("DEADLINE_EXCEEDED")));
    assert_eq!(told["attempts"][0]["error_kind"], "DEADLINE_EXCEEDED");
}
