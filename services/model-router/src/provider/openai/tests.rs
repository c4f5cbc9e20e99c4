use super::*;
use crate::chat::{Block, CallFault, ResponseFormat, Thinking, ToolChoice, ToolChoiceMode, ToolUse};
use crate::provider::Abilities;
use crate::provider::samples::{self, PARAMETERS};
use serde_json::json;

/// The longest answer that is asked for where a request names none.
const ANSWER_TOKENS: u32 = 4_096;

#[test]
fn pictures_and_documents_travel_as_the_provider_wants_them() {
    let mut prompt = samples::illustrated();
    assert_eq!(
        (OPENAI.inexpressible)(&prompt, Abilities::default(), ANSWER_TOKENS),
        ["messages.content.tool_result.parts"]
    );
    let both = ["messages.content.document", "messages.content.tool_result.parts"];
    assert_eq!((COMPATIBLE.inexpressible)(&prompt, Abilities::default(), ANSWER_TOKENS), both);
    if let Some(Block::ToolResult(result)) = prompt.turns[2].blocks.first_mut() {
        result.parts.pop();
    }
    assert_eq!((OPENAI.inexpressible)(&prompt, Abilities::default(), ANSWER_TOKENS), [""; 0]);
    let messages = &samples::written(&OPENAI, &prompt)["messages"];
    assert_eq!(messages[3]["content"], json!("Error: File not found: a.md\n\nSee:"));
    let file = json!({ "filename": "Minutes", "file_data": "data:application/pdf;base64,UERG" });
    let expected = json!([
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,UE5H" } },
        { "type": "file", "file": file },
        { "type": "text", "text": "Notes\n\nOne." },
    ]);
    assert_eq!(messages[4]["content"], expected);
}

#[test]
fn choices_are_written_as_the_provider_wants_them() {
    let prompt = Prompt { response_format: samples::a_schema(), ..samples::particular() };
    let body = samples::written(&OPENAI, &prompt);
    let named = json!({ "type": "function", "function": { "name": "fs_read" } });
    let schema = json!({ "type": "object", "required": ["n"] });
    let expected = [
        ("top_p", json!(0.5)),
        ("seed", json!(7)),
        ("stop", json!(["END", "STOP"])),
        ("tool_choice", named),
        ("parallel_tool_calls", json!(false)),
        (
            "response_format",
            json!({ "type": "json_schema", "json_schema": { "name": "count", "schema": schema } }),
        ),
    ];
    for (name, value) in expected {
        assert_eq!(body[name], value, "{name}");
    }
    assert_eq!(body["messages"][0]["content"], json!("Be brief."), "a schema needs no words");
    for (mode, word) in [(ToolChoiceMode::Never, "none"), (ToolChoiceMode::Required, "required")] {
        let tool_choice = ToolChoice { mode, single_call: false };
        let body = samples::written(&COMPATIBLE, &Prompt { tool_choice, ..samples::conversation() });
        assert_eq!(body["tool_choice"], json!(word));
        assert!(body.get("parallel_tool_calls").is_none());
    }
}

#[test]
fn the_json_mode_is_asked_for_in_words_too() {
    let prompt = Prompt { response_format: ResponseFormat::JsonObject, ..samples::conversation() };
    let body = samples::written(&OPENAI, &prompt);
    assert_eq!(body["response_format"], json!({ "type": "json_object" }));
    let system = body["messages"][0]["content"].as_str().expect("text");
    assert!(system.contains("JSON"), "{system}");
}

#[test]
fn more_stop_sequences_than_openai_takes_are_told() {
    let prompt = Prompt { stop_sequences: vec!["x".into(); 5], ..samples::particular() };
    assert_eq!((OPENAI.inexpressible)(&prompt, Abilities::default(), ANSWER_TOKENS), ["stop_sequences"]);
    assert_eq!((OPENAI.inexpressible)(&samples::particular(), Abilities::default(), ANSWER_TOKENS), [""; 0]);
    assert_eq!((COMPATIBLE.inexpressible)(&prompt, Abilities::default(), ANSWER_TOKENS), [""; 0]);
}

#[test]
fn a_conversation_is_written_as_the_provider_wants_it() {
    let function = json!({
        "name": "fs_read", "description": "Reads a file.", "parameters": { "type": "object" },
    });
    let expected = json!({
        "model": "model-x",
        "max_completion_tokens": 100,
        "temperature": 0.5,
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Read a.md" },
            { "role": "assistant", "content": "I look.", "tool_calls": [{
                "id": "t1", "type": "function",
                "function": { "name": "fs_read", "arguments": "{\"path\":\"a.md\"}" },
            }] },
            { "role": "tool", "tool_call_id": "t1", "content": "Error: File not found: a.md" },
        ],
        "tools": [{ "type": "function", "function": function }],
    });
    assert_eq!(samples::written(&OPENAI, &samples::conversation()), expected);
    let to_others = samples::written(&COMPATIBLE, &samples::conversation());
    assert_eq!(
        (to_others.get("max_tokens"), to_others.get("max_completion_tokens")),
        (Some(&json!(100)), None)
    );
}

#[test]
fn a_stream_is_asked_for_with_its_counts() {
    let prompt = samples::conversation();
    let body = samples::written_as(&OPENAI, &prompt, &Parameters { stream: true, ..PARAMETERS });
    let mut expected = samples::written(&OPENAI, &prompt);
    expected["stream"] = json!(true);
    expected["stream_options"] = json!({ "include_usage": true });
    assert_eq!(body, expected);
}

#[test]
fn a_turn_of_calls_alone_says_nothing() {
    let mut prompt = samples::conversation();
    prompt.turns[1].blocks.remove(0);
    let body = samples::written(&OPENAI, &prompt);
    assert_eq!(body["messages"][2]["content"], Value::Null);
}

fn body() -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_770_000_000, "model": "model-x-2026",
        "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "Reading.", "refusal": null,
            "tool_calls": [{ "id": "call_1", "type": "function",
                "function": { "name": "fs_read", "arguments": "{\"path\": \"b.md\"}" } }],
        } }],
        "usage": { "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17 },
    })
}

fn read(body: &Value) -> Result<Answer, Malformed> {
    samples::read(&OPENAI, body)
}

fn with(pointer: &str, value: Value) -> Value {
    let mut body = body();
    *body.pointer_mut(pointer).expect("a place") = value;
    body
}

#[test]
fn an_answer_is_read_with_its_tools_under_the_agents_names() {
    let answer = read(&body()).expect("reads");
    let input = samples::object(json!({ "path": "b.md" }));
    let call = ToolUse { id: "call_1".into(), name: "fs.read".into(), input };
    assert_eq!(answer.blocks, [Block::Text("Reading.".into()), Block::ToolUse(call)]);
    assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x-2026"));
    assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
}

#[test]
fn what_other_servers_do_differently_is_read_too() {
    let call = "/choices/0/message/tool_calls/0";
    let cases = [
        (format!("{call}/function/arguments"), json!({ "path": "b.md" }), ("call_1", 1)),
        (format!("{call}/function/arguments"), json!(""), ("call_1", 0)),
        (format!("{call}/id"), json!(""), ("call_a1_0", 1)),
        ("/choices/0/finish_reason".to_owned(), json!("stop"), ("call_1", 1)),
    ];
    for (pointer, value, (id, arguments)) in cases {
        let answer = read(&with(&pointer, value.clone())).expect("reads");
        let Some(Block::ToolUse(call)) = answer.blocks.last() else { panic!("{pointer}: no call") };
        assert_eq!((call.id.as_str(), call.input.len()), (id, arguments), "{pointer} {value}");
        assert_eq!(answer.stop_reason, StopReason::ToolUse);
    }
}

#[test]
fn what_is_counted_apart_is_read_and_what_is_not_counted_is_zero() {
    let mut counted = body();
    counted["usage"]["prompt_tokens_details"] = json!({ "cached_tokens": 8 });
    counted["usage"]["completion_tokens_details"] = json!({ "reasoning_tokens": 3 });
    let usage = Usage {
        input_tokens: 12,
        output_tokens: 5,
        cache_read_input_tokens: 8,
        cache_creation_input_tokens: 0,
        reasoning_output_tokens: 3,
    };
    let none = with("/usage", Value::Null);
    for (body, usage) in [(counted, usage), (none, Usage::default())] {
        assert_eq!(read(&body).expect("reads").usage, usage);
    }
}

#[test]
fn reasoning_is_thinking_and_goes_back_to_nobody() {
    let mut thought = body();
    thought["choices"][0]["message"]["reasoning_content"] = json!("Hm.");
    let answer = read(&thought).expect("reads");
    let thinking = Block::Thinking(Thinking { text: "Hm.".into(), signature: String::new() });
    assert_eq!(answer.blocks[0], thinking);
    let mut prompt = samples::conversation();
    let without = samples::written(&COMPATIBLE, &prompt);
    prompt.turns[1].blocks.insert(0, thinking);
    assert_eq!(samples::written(&COMPATIBLE, &prompt), without);
}

#[test]
fn a_call_that_the_limit_or_a_filter_cut_off_is_left_out() {
    let call = "/choices/0/message/tool_calls/0/function/arguments";
    for (word, stop_reason) in [("length", StopReason::MaxTokens), ("content_filter", StopReason::Refusal)] {
        for (arguments, calls) in
            [(json!("{\"path\":"), 0), (json!(""), 0), (json!("{\"path\": \"b.md\"}"), 1)]
        {
            let mut cut = with(call, arguments.clone());
            cut["choices"][0]["finish_reason"] = json!(word);
            let answer = read(&cut).expect("reads");
            let told = (answer.stop_reason, answer.blocks.len(), answer.miscalls.len());
            assert_eq!(told, (stop_reason, 1 + calls, 0), "{word} {arguments}");
        }
    }
}

#[test]
fn a_refusal_is_an_answer() {
    let plain = json!({ "role": "assistant", "content": "Half", "refusal": null });
    let mut filtered = with("/choices/0/message", plain);
    filtered["choices"][0]["finish_reason"] = json!("content_filter");
    let refused = json!({ "role": "assistant", "content": null, "refusal": "I cannot help." });
    let mut refused = with("/choices/0/message", refused);
    refused["choices"][0]["finish_reason"] = json!("stop");
    // It had begun a call when it thought better of it.
    let mut begun = refused.clone();
    begun["choices"][0]["message"]["tool_calls"] =
        json!([{ "id": "c", "type": "function", "function": { "name": "fs_read", "arguments": "{\"path" } }]);
    for (body, words) in [(filtered, "Half"), (refused, "I cannot help."), (begun, "I cannot help.")] {
        let answer = read(&body).expect("reads");
        assert_eq!(answer.stop_reason, StopReason::Refusal);
        assert_eq!((answer.blocks, answer.miscalls), (vec![Block::Text(words.into())], vec![]));
    }
}

#[test]
fn answers_that_cannot_be_used_are_told_by_whose_fault_it_is() {
    let cases = [
        ("/choices".to_owned(), json!([]), Kind::Malformed),
        ("/choices/0/message".to_owned(), json!(null), Kind::Malformed),
        ("/choices/0/message/content".to_owned(), json!(7), Kind::Malformed),
        ("/choices/0/message/tool_calls".to_owned(), json!("x"), Kind::Malformed),
        ("/choices/0/message/tool_calls".to_owned(), json!([]), Kind::Malformed),
        ("/usage".to_owned(), json!({ "prompt_tokens": "many" }), Kind::Malformed),
        ("/choices/0/finish_reason".to_owned(), json!("bored"), Kind::Unfit),
    ];
    for (pointer, value, kind) in cases {
        let told = read(&with(&pointer, value.clone())).expect_err(&pointer);
        assert_eq!(told.kind(), kind, "{pointer} {value}");
    }
    let error = json!({ "error": { "code": 502, "message": "upstream" } });
    assert_eq!(read(&error).expect_err("no answer").kind(), Kind::Malformed);
}

#[test]
fn calls_that_nobody_can_run_are_told_beside_the_blocks() {
    let cases = [
        ("name", json!("rm"), CallFault::NotOffered),
        ("arguments", json!("{\"path\":"), CallFault::NoObject),
        ("arguments", json!("[1]"), CallFault::NoObject),
    ];
    for (field, value, fault) in cases {
        let body = with(&format!("/choices/0/message/tool_calls/0/function/{field}"), value.clone());
        let answer = read(&body).expect(field);
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!(faults, [fault], "{field} {value}");
        assert!(!answer.blocks.iter().any(|block| matches!(block, Block::ToolUse(_))), "{field} {value}");
    }
}

#[test]
fn a_code_decides_and_a_sentence_where_there_is_none() {
    let cases = [
        (429, json!({ "error": { "code": "insufficient_quota", "message": "m" } }), Kind::Quota),
        (429, json!({ "error": { "code": "rate_limit_exceeded", "message": "m" } }), Kind::RateLimited),
        (400, json!({ "error": { "code": "context_length_exceeded", "message": "m" } }), Kind::ContextLength),
        (400, json!({ "error": { "code": 400, "type": "exceed_context_size_error" } }), Kind::ContextLength),
        (
            400,
            json!({ "object": "error", "message": "This model's maximum context length is 8 tokens." }),
            Kind::ContextLength,
        ),
        (400, json!({ "error": { "code": "model_not_found", "message": "m" } }), Kind::ModelNotFound),
        (400, json!({ "error": { "message": "invalid options" } }), Kind::InvalidRequest),
        (500, json!({ "error": { "message": "boom" } }), Kind::ServerError),
        (403, json!({ "error": { "code": 403, "message": "Your input was flagged" } }), Kind::InvalidRequest),
        (403, json!({ "error": { "code": 403, "message": "no access" } }), Kind::Forbidden),
    ];
    for (status, body, kind) in cases {
        let said = message(&body).unwrap_or_default();
        assert_eq!(failure(Kind::of_status(status), said), kind, "{status} {body}");
    }
}
