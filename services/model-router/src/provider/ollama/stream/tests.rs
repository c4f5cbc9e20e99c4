use super::*;
use crate::chat::{Block, CallFault, Thinking, ToolUse};
use crate::failure::Kind;
use crate::provider::ollama::ADAPTER;
use crate::provider::samples::{object, told};
use serde_json::{Value, json};

fn stream(lines: impl IntoIterator<Item = Value>) -> String {
    lines.into_iter().map(|line| format!("{line}\n")).collect()
}

fn line(message: Value) -> Value {
    let mut line = json!({
        "model": "model-x", "created_at": "2026-05-09T12:00:00Z",
        "message": { "role": "assistant", "content": "" }, "done": false,
    });
    for (field, value) in object(message) {
        line["message"][field] = value;
    }
    line
}

fn say(words: &str) -> Value {
    line(json!({ "content": words }))
}

fn call(name: &str, arguments: Value) -> Value {
    line(json!({ "tool_calls": [{ "function": { "name": name, "arguments": arguments } }] }))
}

fn done(reason: &str) -> Value {
    let mut line = say("");
    line["done"] = json!(true);
    line["done_reason"] = json!(reason);
    line["prompt_eval_count"] = json!(12);
    line["eval_count"] = json!(5);
    line
}

#[test]
fn a_stream_is_read_line_by_line() {
    let lines = [
        line(json!({ "thinking": "Let me " })),
        line(json!({ "thinking": "see." })),
        say("Gr\u{fc}"),
        say("n \u{1f33f}"),
        call("fs.read", json!({ "path": "b.md" })),
        call("fs.read", json!({})),
        done("stop"),
    ];
    let told = told(&ADAPTER, &stream(lines));
    let thinking = |text: &str| Thinking { text: text.into(), signature: String::new() };
    let call = |at: u32, input: Value| ToolUse {
        id: format!("call_a1_{at}"),
        name: "fs.read".into(),
        input: object(input),
    };
    let (first, second) = (call(0, json!({ "path": "b.md" })), call(1, json!({})));
    let expected = [
        Delta::Thinking(thinking("Let me ")),
        Delta::Thinking(thinking("see.")),
        Delta::Text("Gr\u{fc}".into()),
        Delta::Text("n \u{1f33f}".into()),
        Delta::ToolUse(first.clone()),
        Delta::ToolUse(second.clone()),
    ];
    assert_eq!(told.deltas, expected);
    let answer = told.end.expect("an answer");
    let blocks = [
        Block::Thinking(thinking("Let me see.")),
        Block::Text("Gr\u{fc}n \u{1f33f}".into()),
        Block::ToolUse(first),
        Block::ToolUse(second),
    ];
    assert_eq!(answer.blocks, blocks);
    assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x"));
    assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
}

#[test]
fn a_stream_without_its_last_line_is_no_answer() {
    let lines = [say("Half"), say(" done"), done("stop")];
    for kept in 0..lines.len() {
        let told = told(&ADAPTER, &stream(lines[..kept].to_vec()));
        assert_eq!((told.end, told.usage), (Err(Kind::Reset), None), "{kept} lines");
    }
    let unended = stream(lines);
    let answer = told(&ADAPTER, unended.trim_end()).end.expect("the last line needs no end");
    assert_eq!(answer.blocks, [Block::Text("Half done".into())]);
    let cut = &unended[..unended.len() - 3];
    assert_eq!(told(&ADAPTER, cut).end, Err(Kind::Malformed), "the last line is cut");
}

#[test]
fn a_plain_answer_is_a_stream_of_one_line() {
    let mut only = done("length");
    only["message"]["content"] = json!("All of it");
    let answer = told(&ADAPTER, &only.to_string()).end.expect("an answer");
    assert_eq!(answer.blocks, [Block::Text("All of it".into())]);
    assert_eq!(answer.stop_reason, StopReason::MaxTokens);
}

#[test]
fn an_error_in_the_stream_is_the_error_it_had_been_as_an_answer() {
    let cases = [
        ("an error was encountered while running the model", Kind::ServerError),
        ("input length exceeds the context length", Kind::ContextLength),
    ];
    for (words, kind) in cases {
        let told = told(&ADAPTER, &stream([say("Half"), json!({ "error": words })]));
        assert_eq!((told.end, told.deltas), (Err(kind), vec![Delta::Text("Half".into())]), "{words}");
    }
}

#[test]
fn what_cannot_be_used_is_told_by_whose_fault_it_is() {
    let cases = [
        (json!({ "model": "model-x", "done": false }), Kind::Malformed),
        (line(json!({ "content": 7 })), Kind::Malformed),
        (line(json!({ "thinking": 7 })), Kind::Malformed),
        (line(json!({ "tool_calls": {} })), Kind::Malformed),
        (json!([]), Kind::Malformed),
        (done("load"), Kind::Unfit),
    ];
    for (line, kind) in cases {
        let told = told(&ADAPTER, &stream([line.clone(), done("stop")]));
        assert_eq!(told.end, Err(kind), "{line}");
    }
    assert_eq!(told(&ADAPTER, "garbage\n").end, Err(Kind::Malformed));
    for (line, fault) in
        [(call("rm", json!({})), CallFault::NotOffered), (call("fs.read", json!("{}")), CallFault::NoObject)]
    {
        let told = told(&ADAPTER, &stream([line.clone(), done("stop")]));
        let answer = told.end.expect("an answer");
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!((faults, told.deltas.len()), (vec![fault], 0), "{line}");
    }
}
