//! Tools that are called wrongly, and conversations that do not fit.

use bulkhead_provider_sim::{Action, Answered, ToolFault};
use serde_json::{Value, json};

use crate::bench::{Bench, FORMATS, Format, bench};

/// Name, arguments and id of each call. Ollama has no ids.
type Calls = Vec<(String, String, String)>;

async fn calls(bench: &Bench, format: Format, model: &str, streams: bool) -> Calls {
    let response = bench.ask(format, model, &json!({ "stream": streams })).await;
    assert_eq!(response.status().as_u16(), 200);
    let body = response.text().await.expect("a whole body");
    if streams {
        assert!(format.is_whole(&body), "{body}");
        return streamed(format, &format.events(&body));
    }
    plain(format, &serde_json::from_str(&body).expect("json"))
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn plain(format: Format, body: &Value) -> Calls {
    let list = |pointer: &str| body.pointer(pointer).and_then(Value::as_array).expect("a list").iter();
    match format {
        Format::Anthropic => list("/content")
            .map(|block| (word(&block["name"]), word(&block["input"]), word(&block["id"])))
            .collect(),
        Format::OpenAi => list("/choices/0/message/tool_calls").map(by_function).collect(),
        Format::Ollama => list("/message/tool_calls").map(by_function).collect(),
    }
}

fn by_function(call: &Value) -> (String, String, String) {
    (word(&call["function"]["name"]), word(&call["function"]["arguments"]), word(&call["id"]))
}

fn streamed(format: Format, events: &[Value]) -> Calls {
    match format {
        Format::Ollama => {
            let lines = events.iter().filter_map(|event| event.pointer("/message/tool_calls/0"));
            lines.map(by_function).collect()
        }
        Format::Anthropic => {
            let mut calls: Calls = Vec::new();
            for event in events {
                if event["type"] == "content_block_start" {
                    let block = &event["content_block"];
                    calls.push((word(&block["name"]), String::new(), word(&block["id"])));
                }
                if let Some(piece) = event.pointer("/delta/partial_json").and_then(Value::as_str) {
                    calls.last_mut().expect("a block").1.push_str(piece);
                }
            }
            calls
        }
        Format::OpenAi => {
            let mut calls: Calls = Vec::new();
            for call in events.iter().filter_map(|event| event.pointer("/choices/0/delta/tool_calls/0")) {
                if call.get("id").is_some() {
                    calls.push(by_function(call));
                } else {
                    calls.last_mut().expect("a call").1.push_str(&word(&call["function"]["arguments"]));
                }
            }
            calls
        }
    }
}

#[tokio::test]
async fn wrong_calls_are_wrong_in_every_format_plain_and_streamed() {
    let bench = bench().await;
    for format in FORMATS {
        for streams in [false, true] {
            for (model, name, arguments) in [
                ("sim-tool-badjson", "fs_read", r#"{"path":"""#),
                ("sim-tool-wrong", "fs_read", r#"{"path":true}"#),
                ("sim-tool-unoffered", "simulated_tool", "{}"),
            ] {
                let calls = calls(&bench, format, model, streams).await;
                let call = calls.first().expect("a call");
                assert_eq!(
                    (call.0.as_str(), call.1.as_str()),
                    (name, arguments),
                    "{format:?} {streams} {model}"
                );
            }
        }
    }
}

#[tokio::test]
async fn two_calls_may_share_an_id() {
    let bench = bench().await;
    bench.always("m", Action::ToolFault(ToolFault::SameId)).await;
    for format in [Format::Anthropic, Format::OpenAi] {
        for streams in [false, true] {
            let calls = calls(&bench, format, "m", streams).await;
            assert_eq!(calls.len(), 2);
            assert_eq!(calls[0], calls[1]);
        }
    }
}

#[tokio::test]
async fn a_conversation_that_does_not_fit_is_refused_in_the_providers_words() {
    let bench = bench().await;
    for (format, pointer, words) in [
        (Format::Anthropic, "/error/message", "prompt is too long: "),
        (Format::OpenAi, "/error/code", "context_length_exceeded"),
        (Format::Ollama, "/error", "the input length exceeds the context length"),
    ] {
        for streams in [false, true] {
            let response = bench.ask(format, "sim-context", &json!({ "stream": streams })).await;
            assert_eq!(response.status().as_u16(), 400);
            let body: Value = response.json().await.expect("json");
            assert!(body.pointer(pointer).is_some_and(|told| word(told).starts_with(words)), "{body}");
        }
    }
    let answered = bench.answered("sim-context").await;
    assert!(answered.iter().all(|answered| *answered == Answered::Status(400)), "{answered:?}");
}
