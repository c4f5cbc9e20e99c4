use super::*;
use crate::chat::{Block, CallFault, Thinking, ToolUse};
use crate::failure::Kind;
use crate::provider::Abilities;
use crate::provider::openai::{COMPATIBLE, OPENAI};
use crate::provider::samples::{PARAMETERS, listen_as, object, told};
use crate::provider::stream::Ended;
use serde_json::{Value, json};

fn stream(chunks: impl IntoIterator<Item = Value>) -> String {
    chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

fn chunk(delta: Value) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_770_000_000,
        "model": "model-x-2026", "usage": null,
        "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": null }],
    })
}

fn finish(reason: &str) -> Value {
    let mut chunk = chunk(json!({}));
    chunk["choices"][0]["finish_reason"] = json!(reason);
    chunk
}

fn usage() -> Value {
    let mut chunk = chunk(json!({}));
    chunk["choices"] = json!([]);
    chunk["usage"] = json!({
        "prompt_tokens": 542, "completion_tokens": 89, "total_tokens": 631,
        "prompt_tokens_details": { "cached_tokens": 500, "audio_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 64 },
    });
    chunk
}

fn role() -> Value {
    chunk(json!({ "role": "assistant", "content": "", "refusal": null }))
}

fn say(words: &str) -> Value {
    chunk(json!({ "content": words }))
}

fn call(piece: Value) -> Value {
    chunk(json!({ "tool_calls": [piece] }))
}

/// As OpenAI sends a call: first who, then piece by piece what with.
fn calls(index: u64, pieces: &[&str]) -> Vec<Value> {
    let first = json!({
        "index": index, "id": format!("call_{index}"), "type": "function",
        "function": { "name": "fs_read", "arguments": "" },
    });
    let pieces =
        pieces.iter().map(|piece| call(json!({ "index": index, "function": { "arguments": piece } })));
    [call(first)].into_iter().chain(pieces).collect()
}

fn whole(chunks: impl IntoIterator<Item = Value>, reason: &str) -> String {
    let chunks = [role()].into_iter().chain(chunks).chain([finish(reason), usage()]);
    stream(chunks) + "data: [DONE]\n\n"
}

fn wanted(id: &str, input: Value) -> ToolUse {
    ToolUse { id: id.into(), name: "fs.read".into(), input: object(input) }
}

#[test]
fn a_stream_is_read_piece_by_piece() {
    let chunks = [
        vec![say("Gr\u{fc}"), say("n \u{1f33f}")],
        calls(0, &["{\"pa", "th\": \"b.md\"}"]),
        calls(1, &["{\"path\": \"c.md\"}"]),
    ];
    let told = told(&OPENAI, &whole(chunks.concat(), "tool_calls"));
    let (first, second) =
        (wanted("call_0", json!({ "path": "b.md" })), wanted("call_1", json!({ "path": "c.md" })));
    let expected = [
        Delta::Text("Gr\u{fc}".into()),
        Delta::Text("n \u{1f33f}".into()),
        Delta::ToolUse(first.clone()),
        Delta::ToolUse(second.clone()),
    ];
    assert_eq!(told.deltas, expected);
    let answer = told.end.expect("an answer");
    let text = Block::Text("Gr\u{fc}n \u{1f33f}".into());
    assert_eq!(answer.blocks, [text, Block::ToolUse(first), Block::ToolUse(second)]);
    assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x-2026"));
    let usage = Usage {
        input_tokens: 542,
        output_tokens: 89,
        cache_read_input_tokens: 500,
        cache_creation_input_tokens: 0,
        reasoning_output_tokens: 64,
    };
    assert_eq!((answer.usage, told.usage), (usage, Some(usage)));
}

#[test]
fn a_stream_without_its_last_word_is_no_answer() {
    let whole = whole([say("Half"), say(" done")], "stop");
    let events: Vec<&str> = whole.split_inclusive("\n\n").collect();
    for kept in 0..events.len() {
        let told = told(&OPENAI, &events[..kept].concat());
        assert_eq!(told.end, Err(Kind::Reset), "{kept} events");
        assert_eq!(told.usage.is_some(), kept == events.len() - 1);
    }
    let no_reason = stream([role(), say("Half")]) + "data: [DONE]\n\n";
    assert_eq!(told(&OPENAI, &no_reason).end, Err(Kind::Malformed), "a last word and no finish reason");
}

#[test]
fn what_other_servers_do_differently_is_read_too() {
    let two = json!({ "tool_calls": [
        { "function": { "name": "fs_read", "arguments": "{\"path\": \"b.md\"}" } },
        { "function": { "name": "fs_read", "arguments": { "path": "c.md" } } },
    ] });
    let named = |id: &str, piece: &str| {
        call(json!({ "id": id, "function": { "name": "fs_read", "arguments": piece } }))
    };
    let by_turns = [
        calls(0, &["{\"path\": "]),
        calls(1, &["{\"path\": \"c"]),
        vec![call(json!({ "index": 0, "function": { "arguments": "\"b.md\"}" } }))],
        vec![call(json!({ "index": 1, "function": { "arguments": ".md\"}" } }))],
    ];
    let cases = [
        ("neither index nor id", vec![chunk(two)], ["call_a1_0", "call_a1_1"]),
        (
            "the name in each piece",
            vec![named("x", "{\"path\""), named("x", ": \"b.md\"}"), named("y", "{\"path\": \"c.md\"}")],
            ["x", "y"],
        ),
        ("pieces by turns", by_turns.concat(), ["call_0", "call_1"]),
        (
            "an id that the conversation has already",
            vec![named("t1", "{\"path\": \"b.md\"}"), named("y", "{\"path\": \"c.md\"}")],
            ["call_a1_0", "y"],
        ),
    ];
    for (what, chunks, [first, second]) in cases {
        let answer = told(&OPENAI, &whole(chunks, "stop")).end.expect(what);
        let expected = [wanted(first, json!({ "path": "b.md" })), wanted(second, json!({ "path": "c.md" }))];
        assert_eq!(answer.blocks, expected.map(Block::ToolUse), "{what}");
        assert_eq!(answer.stop_reason, StopReason::ToolUse, "{what}");
    }
    let uncounted = stream([say("Hi"), finish("stop")]) + "data:[DONE]\n\n";
    let answer = told(&OPENAI, &uncounted).end.expect("an answer");
    assert_eq!(answer.usage, Usage::default());
}

#[test]
fn reasoning_is_thinking_under_both_of_its_names() {
    for field in ["reasoning_content", "reasoning"] {
        let chunks = [
            chunk(json!({ field: "Let me ", "content": null })),
            chunk(json!({ field: "see." })),
            say("So."),
        ];
        let answer = told(&OPENAI, &whole(chunks, "stop")).end.expect("an answer");
        let thinking = Thinking { text: "Let me see.".into(), signature: String::new() };
        assert_eq!(answer.blocks, [Block::Thinking(thinking), Block::Text("So.".into())], "{field}");
    }
}

#[test]
fn a_refusal_is_an_answer() {
    let refused = [chunk(json!({ "refusal": "I can" })), chunk(json!({ "refusal": "not." }))];
    let begun = [calls(0, &["{\"path"]), refused.to_vec()].concat();
    for (chunks, reason, words) in [
        (refused.to_vec(), "stop", "I cannot."),
        (begun, "stop", "I cannot."),
        (vec![say("Half")], "content_filter", "Half"),
    ] {
        let answer = told(&OPENAI, &whole(chunks, reason)).end.expect("an answer");
        let told = (answer.stop_reason, answer.blocks, answer.miscalls);
        assert_eq!(told, (StopReason::Refusal, vec![Block::Text(words.into())], vec![]), "{reason}");
    }
}

#[test]
fn an_error_in_the_stream_is_the_error_it_had_been_as_an_answer() {
    let cases = [
        (json!({ "error": { "code": "rate_limit_exceeded", "message": "m" } }), Kind::RateLimited),
        (json!({ "error": { "code": "insufficient_quota", "message": "m" } }), Kind::Quota),
        (json!({ "error": { "type": "server_error", "code": null, "message": "m" } }), Kind::ServerError),
        (json!({ "error": { "message": "boom" } }), Kind::ServerError),
        (json!({ "error": "boom" }), Kind::ServerError),
        // OpenRouter gives the status, and goes on with a choice.
        (
            json!({ "error": { "code": 503, "message": "m" }, "choices": [{ "finish_reason": "error" }] }),
            Kind::Overloaded,
        ),
        (json!({ "error": { "code": 401, "message": "m" } }), Kind::Unauthenticated),
        (json!({ "error": { "code": "429", "message": "m" } }), Kind::RateLimited),
        (
            json!({ "error": { "code": "1302", "type": "rate_limit_error", "message": "m" } }),
            Kind::RateLimited,
        ),
        // vLLM.
        (
            json!({ "object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400 }),
            Kind::ContextLength,
        ),
        // llama.cpp.
        (
            json!({ "error": { "code": 400, "type": "exceed_context_size_error", "message": "m" } }),
            Kind::ContextLength,
        ),
    ];
    for (error, kind) in cases {
        let told = told(&OPENAI, &stream([role(), say("Half"), error.clone()]));
        assert_eq!((told.end, told.deltas), (Err(kind), vec![Delta::Text("Half".into())]), "{error}");
    }
}

#[test]
fn a_call_is_given_out_only_when_it_is_whole_and_offered() {
    let unoffered = json!({ "index": 0, "id": "c", "function": { "name": "rm", "arguments": "{}" } });
    let same = json!({ "index": 1, "id": "call_0", "function": { "name": "fs_read", "arguments": "{}" } });
    let cases = [
        ("no JSON", calls(0, &["{\"path\":"]), CallFault::NoObject, 0),
        ("no object", calls(0, &["[1]"]), CallFault::NoObject, 0),
        ("not offered", vec![call(unoffered)], CallFault::NotOffered, 0),
        ("one id twice", [calls(0, &["{}"]), vec![call(same)]].concat(), CallFault::SameId, 1),
    ];
    for (what, chunks, fault, given) in cases {
        let told = told(&OPENAI, &whole(chunks, "tool_calls"));
        let answer = told.end.expect(what);
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!((faults, told.deltas.len()), (vec![fault], given), "{what}");
    }
}

#[test]
fn a_finish_reason_fits_what_came_before_it() {
    let cases = [
        ("none", vec![], "tool_calls", Kind::Malformed),
        ("a reason that is not known", vec![say("x")], "bored", Kind::Unfit),
    ];
    for (what, chunks, reason, kind) in cases {
        let told = told(&OPENAI, &whole(chunks, reason));
        assert_eq!(told.end, Err(kind), "{what}");
        assert!(told.deltas.len() <= 1, "{what}: {:?}", told.deltas);
    }
}

#[test]
fn a_call_that_the_limit_or_a_filter_cut_off_is_left_out() {
    for (word, stop_reason) in [("length", StopReason::MaxTokens), ("content_filter", StopReason::Refusal)] {
        for pieces in [&["{\"path\": \"b"][..], &[]] {
            let answer = told(&OPENAI, &whole(calls(0, pieces), word)).end.expect("an answer");
            let told = (answer.blocks, answer.miscalls, answer.stop_reason);
            assert_eq!(told, (vec![], vec![], stop_reason), "{word} {pieces:?}");
        }
        let both = [calls(0, &["{\"path\": \"b.md\"}"]), calls(1, &["{"])].concat();
        let answer = told(&OPENAI, &whole(both, word)).end.expect("an answer");
        assert_eq!(answer.blocks, [Block::ToolUse(wanted("call_0", json!({ "path": "b.md" })))], "{word}");
    }
}

#[test]
fn a_finish_reason_is_a_last_word_where_the_model_is_said_to_have_no_other() {
    let abilities = Abilities { ends_at_finish_reason: true, ..Abilities::default() };
    let able = Parameters { abilities, ..PARAMETERS };
    let said = stream([role(), say("Half"), say(" done")]);
    let finished = said.clone() + &stream([finish("stop")]);
    let counted = finished.clone() + &stream([usage()]);
    let cases = [
        ("a finish reason", finished.clone(), able, Ended::Told, true),
        ("the counts too", counted.clone(), able, Ended::Told, true),
        ("no finish reason", said, able, Ended::Told, false),
        ("a connection that closed", finished.clone(), able, Ended::Closed, false),
        ("counts that are cut", counted[..counted.len() - 9].to_owned(), able, Ended::Told, false),
        ("an event without its end", counted.trim_end().to_owned() + "\n", able, Ended::Told, false),
        ("a model that has a last word", finished, PARAMETERS, Ended::Told, false),
    ];
    for (what, bytes, parameters, end, is_answer) in cases {
        for piece_bytes in [1, 7, bytes.len()] {
            let told = listen_as(&COMPATIBLE, &parameters, end, bytes.as_bytes(), piece_bytes);
            assert_eq!(told.end.is_ok(), is_answer, "{what}");
            assert!(is_answer || told.end == Err(Kind::Reset), "{what}");
        }
    }
}

#[test]
fn what_breaks_the_format_is_malformed() {
    let cases = [
        json!(7),
        json!({ "choices": 7 }),
        chunk(json!({ "content": 7 })),
        chunk(json!({ "tool_calls": {} })),
        call(json!({ "index": -1, "function": { "name": "fs_read" } })),
        call(json!({ "index": 0, "function": { "name": "fs_read", "arguments": 7 } })),
        json!({ "choices": [], "usage": { "prompt_tokens": "many" } }),
    ];
    for case in cases {
        let told = told(&OPENAI, &whole([case.clone()], "stop"));
        assert_eq!(told.end, Err(Kind::Malformed), "{case}");
    }
    let told_after = told(&OPENAI, &whole([say("x"), finish("stop"), say("y")], "stop"));
    assert_eq!(told_after.end, Err(Kind::Malformed), "it goes on after its finish reason");
    assert_eq!(told(&OPENAI, "data: {\"choices\": [\n\n").end, Err(Kind::Malformed));
}
