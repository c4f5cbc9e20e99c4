use super::*;
use crate::chat::{Block, CallFault, Thinking, ToolUse};
use crate::failure::Kind;
use crate::provider::anthropic::ADAPTER;
use crate::provider::samples::{Told, object, told};
use serde_json::{Value, json};

/// An event as the provider sends it.
fn event(body: &Value) -> String {
    format!("event: {}\ndata: {body}\n\n", body["type"].as_str().unwrap_or_default())
}

fn stream(events: impl IntoIterator<Item = Value>) -> String {
    events.into_iter().map(|body| event(&body)).collect()
}

fn start() -> Value {
    json!({ "type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "model-x-2026", "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": 12, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 500,
            "output_tokens": 1,
        },
    } })
}

fn block(index: u64, block: Value) -> Value {
    json!({ "type": "content_block_start", "index": index, "content_block": block })
}

fn delta(index: u64, delta: Value) -> Value {
    json!({ "type": "content_block_delta", "index": index, "delta": delta })
}

fn stop(index: u64) -> Value {
    json!({ "type": "content_block_stop", "index": index })
}

fn end(reason: &str) -> [Value; 2] {
    let delta = json!({ "stop_reason": reason, "stop_sequence": null });
    [
        json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 89 } }),
        json!({ "type": "message_stop" }),
    ]
}

fn text(pieces: &[&str]) -> Vec<Value> {
    let pieces = pieces.iter().map(|piece| delta(0, json!({ "type": "text_delta", "text": piece })));
    [block(0, json!({ "type": "text", "text": "" }))].into_iter().chain(pieces).chain([stop(0)]).collect()
}

fn call(index: u64, pieces: &[&str]) -> Vec<Value> {
    let begin = json!({ "type": "tool_use", "id": format!("toolu_{index}"), "name": "fs_read", "input": {} });
    let pieces =
        pieces.iter().map(|piece| delta(index, json!({ "type": "input_json_delta", "partial_json": piece })));
    [block(index, begin)].into_iter().chain(pieces).chain([stop(index)]).collect()
}

fn read(blocks: impl IntoIterator<Item = Value>, reason: &str) -> Told {
    told(&ADAPTER, &stream([start()].into_iter().chain(blocks).chain(end(reason))))
}

fn wanted(index: u64, input: Value) -> ToolUse {
    ToolUse { id: format!("toolu_{index}"), name: "fs.read".into(), input: object(input) }
}

#[test]
fn a_stream_is_read_piece_by_piece() {
    let events = [
        vec![start(), json!({ "type": "ping" })],
        vec![
            block(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
            delta(0, json!({ "type": "thinking_delta", "thinking": "Let me " })),
            delta(0, json!({ "type": "thinking_delta", "thinking": "see." })),
            delta(0, json!({ "type": "signature_delta", "signature": "EqQB==" })),
            stop(0),
            block(1, json!({ "type": "redacted_thinking", "data": "EmwK==" })),
            stop(1),
            block(2, json!({ "type": "text", "text": "" })),
            delta(2, json!({ "type": "text_delta", "text": "Gr\u{fc}" })),
            json!({ "type": "ping" }),
            delta(2, json!({ "type": "text_delta", "text": "n \u{1f33f}" })),
            stop(2),
        ],
        call(3, &["", "{\"path\": ", "\"b.md\"}"]),
        call(4, &[]),
        end("tool_use").to_vec(),
    ];
    let told = told(&ADAPTER, &stream(events.concat()));
    let thinking = |text: &str, signature: &str| Thinking { text: text.into(), signature: signature.into() };
    let redacted = thinking("", "redacted_thinking:EmwK==");
    let expected = [
        Delta::Thinking(thinking("Let me ", "")),
        Delta::Thinking(thinking("see.", "")),
        Delta::Thinking(thinking("", "EqQB==")),
        Delta::Thinking(redacted.clone()),
        Delta::Text("Gr\u{fc}".into()),
        Delta::Text("n \u{1f33f}".into()),
        Delta::ToolUse(wanted(3, json!({ "path": "b.md" }))),
        Delta::ToolUse(wanted(4, json!({}))),
    ];
    assert_eq!(told.deltas, expected);
    let answer = told.end.expect("an answer");
    let blocks = [
        Block::Thinking(thinking("Let me see.", "EqQB==")),
        Block::Thinking(redacted),
        Block::Text("Gr\u{fc}n \u{1f33f}".into()),
        Block::ToolUse(wanted(3, json!({ "path": "b.md" }))),
        Block::ToolUse(wanted(4, json!({}))),
    ];
    assert_eq!(answer.blocks, blocks);
    assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x-2026"));
    let usage = Usage {
        input_tokens: 542,
        output_tokens: 89,
        cache_read_input_tokens: 500,
        cache_creation_input_tokens: 30,
        reasoning_output_tokens: 0,
    };
    assert_eq!((answer.usage, told.usage), (usage, Some(usage)));
}

#[test]
fn a_stream_without_its_last_word_is_no_answer() {
    let whole: Vec<Value> =
        [start()].into_iter().chain(text(&["Half", " done"])).chain(end("end_turn")).collect();
    for events in 0..whole.len() {
        let told = told(&ADAPTER, &stream(whole[..events].to_vec()));
        assert_eq!(told.end, Err(Kind::Reset), "{events} events");
        let counted = told.usage.map(|usage| usage.output_tokens);
        let expected = match events {
            0 => None,
            last if last == whole.len() - 1 => Some(89),
            _ => Some(1),
        };
        assert_eq!(counted, expected, "what was counted is known after {events} events");
    }
    let cut = stream(whole.clone());
    let told = told(&ADAPTER, cut.trim_end());
    assert_eq!(told.end, Err(Kind::Reset), "the last event is cut");
}

#[test]
fn an_error_in_the_stream_is_the_error_it_had_been_as_an_answer() {
    let cases = [
        ("overloaded_error", "Overloaded", Kind::Overloaded),
        ("rate_limit_error", "", Kind::RateLimited),
        ("api_error", "", Kind::ServerError),
        ("timeout_error", "", Kind::ServerTimeout),
        ("authentication_error", "", Kind::Unauthenticated),
        ("billing_error", "", Kind::Quota),
        ("invalid_request_error", "prompt is too long: 2 > 1", Kind::ContextLength),
        ("invalid_request_error", "no", Kind::InvalidRequest),
        ("of_tomorrow", "", Kind::ServerError),
    ];
    for (word, message, kind) in cases {
        let error = json!({ "type": "error", "error": { "type": word, "message": message } });
        let events: Vec<Value> = [start()].into_iter().chain(text(&["Half"])).chain([error]).collect();
        let told = told(&ADAPTER, &stream(events));
        assert_eq!((told.end, told.deltas), (Err(kind), vec![Delta::Text("Half".into())]), "{word}");
    }
}

#[test]
fn a_call_is_given_out_only_when_it_is_whole_and_offered() {
    let unoffered = json!({ "type": "tool_use", "id": "t", "name": "rm", "input": {} });
    let cases = [
        ("no JSON", call(0, &["{\"path\":"]), CallFault::NoObject, 0),
        ("no object", call(0, &["[1]"]), CallFault::NoObject, 0),
        ("not offered", vec![block(0, unoffered), stop(0)], CallFault::NotOffered, 0),
        ("one id twice", [call(0, &["{}"]), call(0, &["{}"])].concat(), CallFault::SameId, 1),
        ("a call follows", [call(0, &["{\"pa"]), call(1, &["{}"])].concat(), CallFault::NoObject, 1),
    ];
    for (what, events, fault, given) in cases {
        let told = read(events, "tool_use");
        let answer = told.end.expect(what);
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!((faults, told.deltas.len()), (vec![fault], given), "{what}");
    }
    assert_eq!(read(text(&["x"]), "tool_use").end, Err(Kind::Malformed), "stopped for tools, none called");
}

#[test]
fn a_call_that_the_limit_or_a_filter_cut_off_is_left_out() {
    for (word, stop_reason) in [("max_tokens", StopReason::MaxTokens), ("refusal", StopReason::Refusal)] {
        for pieces in [&["{\"path\": \"b"][..], &[]] {
            let answer = read(call(0, pieces), word).end.expect("an answer");
            let told = (answer.blocks, answer.miscalls, answer.stop_reason);
            assert_eq!(told, (vec![], vec![], stop_reason), "{word} {pieces:?}");
        }
        let both = [call(0, &["{\"path\": \"b.md\"}"]), call(1, &["{"])].concat();
        let answer = read(both, word).end.expect("an answer");
        assert_eq!(answer.blocks, [Block::ToolUse(wanted(0, json!({ "path": "b.md" })))], "{word}");
    }
}

#[test]
fn a_refusal_is_an_answer() {
    let answer = read(text(&["I ca"]), "refusal").end.expect("an answer");
    assert_eq!(answer.stop_reason, StopReason::Refusal);
}

#[test]
fn what_breaks_the_format_is_malformed() {
    let piece = delta(0, json!({ "type": "text_delta", "text": "x" }));
    let thinking = delta(0, json!({ "type": "thinking_delta", "thinking": "x" }));
    let text_block = || block(0, json!({ "type": "text", "text": "" }));
    let cases = [
        ("a piece without a block", vec![piece.clone()]),
        (
            "a piece of another block",
            vec![text_block(), delta(1, json!({ "type": "text_delta", "text": "x" }))],
        ),
        ("a piece of another sort", vec![text_block(), thinking]),
        ("a block within a block", vec![text_block(), text_block()]),
        ("an end that never began", vec![stop(0)]),
        ("an end within a block", vec![text_block(), piece]),
        ("a second beginning", vec![start()]),
        (
            "a count that is none",
            vec![json!({
                "type": "message_delta", "delta": { "stop_reason": null }, "usage": { "output_tokens": -1 },
            })],
        ),
    ];
    for (what, events) in cases {
        assert_eq!(read(events, "end_turn").end, Err(Kind::Malformed), "{what}");
    }
    for garbage in ["data: {\"type\": \n\n", "data: 7\n\n", "data: {}\n\n"] {
        let told = told(&ADAPTER, &(event(&start()) + garbage));
        assert_eq!(told.end, Err(Kind::Malformed), "{garbage}");
    }
    let told = told(&ADAPTER, &stream(end("end_turn")));
    assert_eq!(told.end, Err(Kind::Malformed), "it never began");
}

#[test]
fn what_the_provider_may_add_is_passed_over() {
    let events = [
        vec![json!({ "type": "of_tomorrow", "index": "x" })],
        vec![
            block(0, json!({ "type": "server_tool_use", "id": "s", "name": "web", "input": {} })),
            delta(0, json!({ "type": "input_json_delta", "partial_json": "{" })),
            stop(0),
            block(1, json!({ "type": "text", "text": "So" })),
            delta(1, json!({ "type": "citations_delta", "citation": {} })),
            delta(1, json!({ "type": "text_delta", "text": "." })),
            stop(1),
        ],
    ];
    let answer = read(events.concat(), "end_turn").end.expect("an answer");
    assert_eq!(answer.blocks, [Block::Text("So.".into())]);
}
