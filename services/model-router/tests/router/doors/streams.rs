//! Streams through both doors: every fault of a stream, with the outcome stated beforehand.

use bulkhead_provider_sim::{Action, Answered, Reply, Step, StreamBreak, StreamFault, ToolCall};
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::{COMPLETIONS, MESSAGES, post};
use crate::bench::{Bench, PATIENCE, Plan, bench};

/// Long enough for a loaded machine, short enough for a test.
const MODEL: &str = "attempts_max = 1\nfirst_token_timeout_ms = 3000\nidle_timeout_ms = 400";
/// Longer than any call here.
const PATIENT_MODEL: &str = "attempts_max = 1\nfirst_token_timeout_ms = 20000\nidle_timeout_ms = 20000";

async fn with(model: &'static str) -> Bench {
    bench(Plan { model, ..Plan::default() }).await
}

fn asked() -> Value {
    let messages = json!([{ "role": "user", "content": "Tell a story." }]);
    json!({ "model": "default", "max_tokens": 99, "messages": messages, "stream": true })
}

fn pieces(chunks: &[&str]) -> Reply {
    Reply { chunks: chunks.iter().map(|chunk| (*chunk).to_owned()).collect(), ..Reply::default() }
}

/// `Once upon ` and then this.
fn broken(how: StreamBreak) -> Step {
    let fault = StreamFault { reply: pieces(&["Once ", "upon ", "a ", "time"]), ..StreamFault::new(how) };
    Action::StreamFault(fault.after(2)).into()
}

/// The data of each event, as JSON; of what is none, as a string.
fn data(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.map(|data| serde_json::from_str(data).unwrap_or_else(|_not_json| json!(data))).collect()
}

/// The pieces of text in a stream of either API.
fn text_of(events: &[Value]) -> String {
    let piece = |event: &Value| {
        let piece = event.pointer("/choices/0/delta/content").or_else(|| event.pointer("/delta/text"));
        piece.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    events.iter().map(piece).collect()
}

/// Whether a stream has the end of a success.
fn is_done(text: &str) -> bool {
    text.contains("[DONE]") || text.contains("message_stop")
}

#[tokio::test]
async fn thinking_that_an_api_does_not_show_does_not_make_a_failure_final() {
    let reply = Reply { thinking: Some("Let me think of one.".into()), ..pieces(&["Once ", "upon"]) };
    let broken = StreamFault { reply, ..StreamFault::new(StreamBreak::Cut) }.after(1);
    for (door, answered) in [(COMPLETIONS, true), (MESSAGES, false)] {
        let bench =
            bench(Plan { cloud_provider: "openai-compatible", model: MODEL, ..Plan::default() }).await;
        bench.always("primary", Action::StreamFault(broken.clone()).into()).await;
        bench.always("fallback", pieces(&["here"]).into()).await;
        let (_status, _headers, text) = post(&bench, door, &asked()).text().await;
        assert_eq!(is_done(&text), answered, "{door}: {text}");
        assert_eq!(text_of(&data(&text)).contains("here"), answered, "{door}: {text}");
    }
}

#[tokio::test]
async fn a_whole_stream_is_the_answer_piece_by_piece() {
    let bench = with(MODEL).await;
    let call = ToolCall { name: "fs.read".into(), input: json!({ "path": "a.md" }) };
    let reply = Reply { tool_calls: vec![call], ..pieces(&["I ", "lo", "ok é."]) };
    bench.always("primary", reply.into()).await;

    let mut asked = asked();
    asked["tools"] = json!([{ "name": "fs.read", "input_schema": { "type": "object" } }]);
    let (status, headers, text) = post(&bench, MESSAGES, &asked).text().await;
    let events = data(&text);
    assert_eq!((status, headers["content-type"].to_str().ok()), (200, Some("text/event-stream")), "{text}");
    assert_eq!(headers["x-bulkhead-model"], "primary");
    assert_eq!(headers["x-bulkhead-attempts"], "1");
    assert_eq!(headers["request-id"], headers["x-request-id"]);
    assert_eq!((events[0]["type"].as_str(), text_of(&events).as_str()), (Some("message_start"), "I look é."));
    assert_eq!(events.last().expect("an end")["type"], "message_stop");
    let input = events.iter().find_map(|event| event.pointer("/delta/partial_json")).expect("a call");
    assert_eq!(input, r#"{"path":"a.md"}"#);

    let function = json!({ "name": "fs.read", "parameters": { "type": "object" } });
    asked["tools"] = json!([{ "type": "function", "function": function }]);
    asked["stream_options"] = json!({ "include_usage": true });
    let (status, _headers, text) = post(&bench, COMPLETIONS, &asked).text().await;
    let events = data(&text);
    assert_eq!((status, text_of(&events).as_str()), (200, "I look é."));
    assert_eq!(events.last(), Some(&json!("[DONE]")));
    let usage = &events[events.len() - 2]["usage"];
    assert!(usage["total_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{text}");
    let call = events.iter().find_map(|event| event.pointer("/choices/0/delta/tool_calls/0/function"));
    assert_eq!(call, Some(&json!({ "name": "fs.read", "arguments": "{\"path\":\"a.md\"}" })));
}

#[tokio::test]
async fn a_failure_before_the_first_token_is_no_business_of_the_callers() {
    for path in [COMPLETIONS, MESSAGES] {
        let bench = with(MODEL).await;
        bench.always("primary", Step::status(503)).await;
        bench.always("fallback", Step::text("here")).await;
        let (status, headers, text) = post(&bench, path, &asked()).text().await;
        assert_eq!((status, text_of(&data(&text)).as_str()), (200, "here"));
        assert_eq!(headers["x-bulkhead-model"], "fallback");
        assert_eq!(headers["x-bulkhead-attempts"], "2");
    }
}

#[tokio::test]
async fn what_fails_before_anything_is_told_is_an_answer_with_its_status() {
    let bench = with(MODEL).await;
    bench.always("primary", Step::status(500)).await;
    let mut asked = asked();
    asked["model"] = json!("short");
    for path in [COMPLETIONS, MESSAGES] {
        let told = post(&bench, path, &asked).told().await;
        assert_eq!((told.status, told.header("x-bulkhead-reason")), (503, Some("NO_MODEL_ANSWERED")));
        assert!(told.header("retry-after").is_some());
    }
    let told = post(&bench, MESSAGES, &asked).with("x-bulkhead-sensitivity", "health").told().await;
    assert_eq!((told.status, told.header("x-bulkhead-reason")), (400, Some("NO_LOCAL_MODEL")));
    asked["stop_sequences"] = json!([""]);
    let told = post(&bench, MESSAGES, &asked).told().await;
    let message = "stop_sequences[0]: must be 1 to 64 characters (INVALID_REQUEST)";
    assert_eq!(told.body["error"]["message"], message);
}

/// Whatever the route says of streams: these APIs cannot take anything back.
#[tokio::test]
async fn a_stream_that_breaks_ends_with_an_error_and_no_other_model_is_asked() {
    for how in [
        StreamBreak::Cut,
        StreamBreak::Reset,
        StreamBreak::Stall,
        StreamBreak::Garbage,
        StreamBreak::Ended,
        StreamBreak::Unterminated,
        StreamBreak::Overloaded,
        StreamBreak::Error(500),
    ] {
        let route = "stream_recovery = \"restart\"";
        let bench = bench(Plan { model: MODEL, route, ..Plan::default() }).await;
        bench.always("primary", broken(how)).await;
        for path in [COMPLETIONS, MESSAGES] {
            let (status, _headers, text) = post(&bench, path, &asked()).text().await;
            let events = data(&text);
            assert_eq!(status, 200, "{how:?}: {text}");
            assert!(text_of(&events).starts_with("Once upon "), "{how:?}: {text}");
            let last = events.last().expect("an error");
            let reason = last.pointer("/error/code").or_else(|| last.pointer("/error/details/error_code"));
            assert_eq!(reason, Some(&json!("STREAM_BROKEN")), "{how:?}: {text}");
            assert!(!is_done(&text), "{how:?}");
        }
        assert_eq!(bench.counts().await, [2, 0, 0], "{how:?}");
    }
}

/// Its words were passed on when it turned out that it calls no tool, and nothing takes them back.
#[tokio::test]
async fn a_model_that_talks_where_it_has_to_call_a_tool_ends_a_stream_with_an_error() {
    let bench = with(MODEL).await;
    bench.always("primary", pieces(&["I would ", "rather talk."]).into()).await;
    for (path, tool, choice) in [
        (
            COMPLETIONS,
            json!({ "type": "function", "function": { "name": "fs.read", "parameters": { "type": "object" } } }),
            json!("required"),
        ),
        (
            MESSAGES,
            json!({ "name": "fs.read", "input_schema": { "type": "object" } }),
            json!({ "type": "any" }),
        ),
    ] {
        let mut asked = asked();
        (asked["tools"], asked["tool_choice"]) = (json!([tool]), choice);
        let (status, _headers, text) = post(&bench, path, &asked).text().await;
        let events = data(&text);
        assert_eq!((status, text_of(&events).as_str()), (200, "I would rather talk."), "{text}");
        let last = events.last().expect("an error");
        let reason = last.pointer("/error/code").or_else(|| last.pointer("/error/details/error_code"));
        assert_eq!(reason, Some(&json!("OUTPUT_INVALID")), "{text}");
        assert!(!is_done(&text), "{text}");
    }
    assert_eq!(bench.counts().await, [2, 0, 0], "nobody else was asked");
}

#[tokio::test]
async fn json_is_streamed_as_it_was_validated() {
    let bench = with(MODEL).await;
    bench.always("primary", pieces(&["```json\n", "{\"sum\": 7}", "\n```"]).into()).await;
    let schema = json!({ "name": "sum", "schema": { "type": "object", "required": ["sum"] } });
    let mut asked = asked();
    asked["response_format"] = json!({ "type": "json_schema", "json_schema": schema });
    let (_status, _headers, text) = post(&bench, COMPLETIONS, &asked).text().await;
    let told: Value = serde_json::from_str(&text_of(&data(&text))).expect("JSON alone");
    assert_eq!(told, json!({ "sum": 7 }));
}

#[tokio::test]
async fn the_same_key_replays_a_finished_stream() {
    let bench = with(MODEL).await;
    bench.always("primary", pieces(&["Once ", "upon"]).into()).await;
    for path in [COMPLETIONS, MESSAGES] {
        let key = format!("story of {path}");
        for _time in ["first", "again"] {
            let text = post(&bench, path, &asked()).with("idempotency-key", key.clone()).text().await.2;
            assert_eq!((text_of(&data(&text)).as_str(), is_done(&text)), ("Once upon", true));
        }
    }
    assert_eq!(bench.counts().await, [2, 0, 0]);
}

#[tokio::test]
async fn a_dry_run_asks_nobody() {
    let bench = with(MODEL).await;
    for path in [COMPLETIONS, MESSAGES] {
        let dry = post(&bench, path, &asked()).with("x-bulkhead-dry-run", "true");
        let (status, _headers, text) = dry.text().await;
        let plan = data(&text).into_iter().find_map(|event| event.get("bulkhead").cloned());
        assert_eq!((status, &plan.expect("a plan")["planned"][0]), (200, &json!("primary")));
    }
    assert_eq!(bench.counts().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_reader_who_leaves_in_the_middle_takes_the_call_along() {
    for path in [COMPLETIONS, MESSAGES] {
        let bench = with(PATIENT_MODEL).await;
        bench.always("primary", broken(StreamBreak::Stall)).await;
        let mut body = post(&bench, path, &asked()).response().await.bytes_stream();
        let first = body.next().await.expect("a piece").expect("read");
        assert!(!first.is_empty());
        drop(body);
        let dropped = async {
            let is_left = |answered: Answered| answered == Answered::Abandoned;
            while !bench.received("primary").await.iter().all(|request| is_left(request.answered)) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, dropped).await.expect("the model's connection is closed");
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_deadline_and_says_so() {
    let bench = with(PATIENT_MODEL).await;
    bench.always("primary", broken(StreamBreak::Stall)).await;
    for path in [COMPLETIONS, MESSAGES] {
        let (status, _headers, text) = post(&bench, path, &asked()).with("grpc-timeout", "1S").text().await;
        let events = data(&text);
        assert_eq!((status, is_done(&text)), (200, false));
        let error = &events.last().expect("an error")["error"];
        let reason = error.get("code").or_else(|| error.pointer("/details/error_code"));
        assert!(reason.is_some_and(|reason| reason.is_string()), "{text}");
    }
}

#[tokio::test]
async fn the_same_key_reads_along_and_asks_no_model_again() {
    let bench = with(PATIENT_MODEL).await;
    let chunks = (0..30).map(|word| format!("{word} ")).collect::<Vec<_>>();
    let whole = chunks.concat();
    bench.always("primary", Reply { pause_ms: 20, chunks, ..Reply::default() }.into()).await;
    let ask = || post(&bench, MESSAGES, &asked()).with("idempotency-key", "story 7");
    let mut first = ask().response().await.bytes_stream();
    while !first.next().await.is_some_and(|piece| piece.is_ok_and(|piece| piece.ends_with(b"}\n\n"))) {}
    let second = ask().text();
    let (_rest, (status, _headers, text)) = tokio::join!(first.collect::<Vec<_>>(), second);
    assert_eq!((status, text_of(&data(&text)), is_done(&text)), (200, whole, true), "{text}");
    assert_eq!(bench.counts().await, [1, 0, 0]);
}
