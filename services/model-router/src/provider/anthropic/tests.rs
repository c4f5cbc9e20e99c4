use super::*;
use crate::chat::{
    Block, CallFault, ResponseFormat, Role, Thinking, ToolChoice, ToolChoiceMode, ToolUse, Turn,
};
use crate::provider::Abilities;
use crate::provider::samples::{self, PARAMETERS};
use serde_json::json;

/// The longest answer that is asked for where a request names none.
const ANSWER_TOKENS: u32 = 4_096;

#[test]
fn a_conversation_is_written_as_the_provider_wants_it() {
    let expected = json!({
        "model": "model-x",
        "max_tokens": 100,
        "system": "Be brief.",
        "temperature": 0.5,
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Read a.md" }] },
            { "role": "assistant", "content": [
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "t1", "name": "fs_read", "input": { "path": "a.md" } },
            ] },
            { "role": "user", "content": [{
                "type": "tool_result", "tool_use_id": "t1",
                "content": "File not found: a.md", "is_error": true,
            }] },
        ],
        "tools": [
            { "name": "fs_read", "description": "Reads a file.", "input_schema": { "type": "object" } },
        ],
    });
    assert_eq!(samples::written(&ADAPTER, &samples::conversation()), expected);
}

#[test]
fn a_stream_is_asked_for_by_one_word() {
    let prompt = samples::conversation();
    let body = samples::written_as(&ADAPTER, &prompt, &Parameters { stream: true, ..PARAMETERS });
    let mut expected = samples::written(&ADAPTER, &prompt);
    expected["stream"] = json!(true);
    assert_eq!(body, expected);
}

#[test]
fn nothing_is_sent_that_was_not_asked_for() {
    let prompt =
        Prompt { system: String::new(), tools: vec![], temperature: None, ..samples::conversation() };
    let body = samples::written(&ADAPTER, &prompt);
    for field in ["system", "tools", "temperature"] {
        assert!(body.get(field).is_none(), "{field}");
    }
}

#[test]
fn pictures_and_documents_travel_as_the_provider_wants_them() {
    let prompt = samples::illustrated();
    assert_eq!(inexpressible(&prompt, Abilities::default(), ANSWER_TOKENS), [""; 0]);
    let body = samples::written(&ADAPTER, &prompt);
    let source = |kind: &str, data: &str| json!({ "type": "base64", "media_type": kind, "data": data });
    let image = json!({ "type": "image", "source": source("image/png", "UE5H") });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let expected = json!([
        {
            "type": "tool_result", "tool_use_id": "t1", "is_error": true,
            "content": [text("File not found: a.md"), text("See:"), image],
        },
        image,
        { "type": "document", "title": "Minutes", "source": source("application/pdf", "UERG") },
        {
            "type": "document", "title": "Notes",
            "source": { "type": "text", "media_type": "text/plain", "data": "One." },
        },
    ]);
    assert_eq!(body["messages"][2]["content"], expected);
}

#[test]
fn choices_are_written_and_what_has_no_words_is_told() {
    let prompt = Prompt { response_format: samples::a_schema(), ..samples::particular() };
    let body = samples::written(&ADAPTER, &prompt);
    let choice = json!({ "type": "tool", "name": "fs_read", "disable_parallel_tool_use": true });
    assert_eq!(
        (&body["top_p"], &body["stop_sequences"], &body["tool_choice"]),
        (&json!(0.5), &json!(["END", "STOP"]), &choice)
    );
    let system = body["system"].as_str().expect("text");
    assert!(system.starts_with("Be brief.\n\nAnswer with one JSON value"), "{system}");
    let (_, schema) = system.split_once("nothing else: ").expect("a schema");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    assert_eq!(schema, json!({ "type": "object", "required": ["n"] }));
    assert_eq!(inexpressible(&prompt, Abilities::default(), ANSWER_TOKENS), ["seed"]);
    let blank = Prompt { stop_sequences: vec!["\n".into()], ..samples::conversation() };
    assert_eq!(inexpressible(&blank, Abilities::default(), ANSWER_TOKENS), ["stop_sequences"]);
    let hot = Prompt { temperature: Some(1.1), ..samples::conversation() };
    assert_eq!(inexpressible(&hot, Abilities::default(), ANSWER_TOKENS), ["temperature"]);
    let modes = [
        (ToolChoiceMode::Auto, json!("auto")),
        (ToolChoiceMode::Never, json!("none")),
        (ToolChoiceMode::Required, json!("any")),
    ];
    for (mode, word) in modes {
        let tool_choice = ToolChoice { mode, single_call: true };
        let body = samples::written(&ADAPTER, &Prompt { tool_choice, ..samples::conversation() });
        assert_eq!(body["tool_choice"]["type"], word);
    }
}

#[test]
fn thinking_is_asked_for_within_what_the_provider_takes() {
    let prompt = Prompt {
        thinking_tokens_max: Some(2_000),
        temperature: None,
        max_output_tokens: Some(4_000),
        ..samples::conversation()
    };
    let body = samples::written(&ADAPTER, &prompt);
    assert_eq!(body["thinking"], json!({ "type": "enabled", "budget_tokens": 2_000 }));
    assert!(samples::written(&ADAPTER, &samples::conversation()).get("thinking").is_none());
    assert_eq!(inexpressible(&prompt, Abilities::default(), ANSWER_TOKENS), [""; 0]);
    let by_default = Prompt { max_output_tokens: None, ..prompt.clone() };
    for (default, lacking) in
        [(2_001, &[][..]), (2_000, &["thinking_tokens_max"]), (1_000, &["thinking_tokens_max"])]
    {
        assert_eq!(inexpressible(&by_default, Abilities::default(), default), lacking, "{default}");
    }
    let narrow = Prompt {
        thinking_tokens_max: Some(1_023),
        temperature: Some(0.5),
        top_p: Some(0.5),
        tool_choice: ToolChoice { mode: ToolChoiceMode::Required, single_call: false },
        ..prompt
    };
    let lacking = ["thinking_tokens_max", "temperature", "top_p", "tool_choice.mode"];
    assert_eq!(inexpressible(&narrow, Abilities::default(), ANSWER_TOKENS), lacking);
}

#[test]
fn thinking_goes_back_as_it_came_and_only_to_whom_it_came_from() {
    let thinking = |text: &str, signature: &str| {
        Block::Thinking(Thinking { text: text.into(), signature: signature.into() })
    };
    let mut prompt = samples::conversation();
    let others = Turn::new(Role::Assistant, vec![thinking("theirs", "")]);
    prompt.turns[1]
        .blocks
        .splice(0..0, [thinking("Hm.", "EqQB=="), thinking("", &redacted("EmwK==")), thinking("theirs", "")]);
    prompt.turns.insert(1, others);
    let body = samples::written(&ADAPTER, &prompt);
    assert_eq!(body["messages"].as_array().map(Vec::len), Some(3), "a turn without a word is none");
    let content = body["messages"][1]["content"].as_array().expect("blocks");
    assert_eq!(content.len(), 4);
    assert_eq!(content[0], json!({ "type": "thinking", "thinking": "Hm.", "signature": "EqQB==" }));
    assert_eq!(content[1], json!({ "type": "redacted_thinking", "data": "EmwK==" }));
}

#[test]
fn cached_tokens_are_part_of_the_prompts() {
    let mut body = body();
    body["usage"] = json!({
        "input_tokens": 12, "output_tokens": 5,
        "cache_read_input_tokens": 500, "cache_creation_input_tokens": 30,
    });
    let answer = samples::read(&ADAPTER, &body).expect("reads");
    let usage = Usage {
        input_tokens: 542,
        output_tokens: 5,
        cache_read_input_tokens: 500,
        cache_creation_input_tokens: 30,
        reasoning_output_tokens: 0,
    };
    assert_eq!(answer.usage, usage);
}

#[test]
fn a_call_that_the_limit_cut_off_is_left_out() {
    let mut body = body();
    body["stop_reason"] = json!("max_tokens");
    let answer = samples::read(&ADAPTER, &body).expect("reads");
    assert_eq!(answer.stop_reason, StopReason::MaxTokens);
    assert_eq!(answer.blocks.len(), 2, "thinking and text");
}

fn body() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "model-x-2026",
        "content": [
            { "type": "thinking", "thinking": "hm", "signature": "s" },
            { "type": "text", "text": "Reading." },
            { "type": "tool_use", "id": "toolu_1", "name": "fs_read", "input": { "path": "b.md" } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 12, "output_tokens": 5 },
    })
}

#[test]
fn an_answer_is_read_with_its_tools_under_the_agents_names() {
    let answer = samples::read(&ADAPTER, &body()).expect("reads");
    let input = samples::object(json!({ "path": "b.md" }));
    let call = ToolUse { id: "toolu_1".into(), name: "fs.read".into(), input };
    let thinking = Thinking { text: "hm".into(), signature: "s".into() };
    let expected = [Block::Thinking(thinking), Block::Text("Reading.".into()), Block::ToolUse(call)];
    assert_eq!(answer.blocks, expected);
    assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x-2026"));
    assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
}

#[test]
fn answers_that_cannot_be_used_are_malformed() {
    let cases = [
        ("/content", json!(null)),
        ("/content/1/text", json!(7)),
        ("/content/2/id", json!(null)),
        ("/stop_reason", json!(null)),
        ("/stop_reason", json!("bored")),
        ("/usage/input_tokens", json!(-1)),
        ("/model", json!(null)),
    ];
    for (pointer, value) in cases {
        let mut body = body();
        *body.pointer_mut(pointer).expect("a place") = value.clone();
        assert!(samples::read(&ADAPTER, &body).is_err(), "{pointer} {value}");
    }
    let mut none = body();
    none["content"] = json!([]);
    assert!(samples::read(&ADAPTER, &none).is_err(), "stopped for tools, none called");
}

#[test]
fn what_a_prompt_can_bring_about_is_told_from_a_broken_format() {
    let cases = [
        ("/stop_reason", json!("bored"), Kind::Unfit),
        ("/stop_reason", json!(null), Kind::Malformed),
        ("/content", json!("text"), Kind::Malformed),
        ("/usage/input_tokens", json!("many"), Kind::Malformed),
    ];
    for (pointer, value, kind) in cases {
        let mut body = body();
        *body.pointer_mut(pointer).expect("a place") = value.clone();
        let told = samples::read(&ADAPTER, &body).expect_err(pointer);
        assert_eq!(told.kind(), kind, "{pointer} {value}");
    }
}

#[test]
fn calls_that_nobody_can_run_are_told_beside_the_blocks() {
    let cases = [
        ("/content/2/name", json!("rm_rf"), CallFault::NotOffered),
        ("/content/2/input", json!("a string"), CallFault::NoObject),
        ("/content/2/input", json!([1]), CallFault::NoObject),
        ("/content/2/input", json!(null), CallFault::NoObject),
    ];
    for (pointer, value, fault) in cases {
        let mut body = body();
        *body.pointer_mut(pointer).expect("a place") = value.clone();
        let answer = samples::read(&ADAPTER, &body).expect(pointer);
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!(faults, [fault], "{pointer} {value}");
        assert!(!answer.blocks.iter().any(|block| matches!(block, Block::ToolUse(_))), "{pointer} {value}");
    }
}

#[test]
fn a_schema_goes_to_the_provider_itself_where_the_model_and_the_schema_are_said_to_be_fit() {
    let schema = |schema: Value| Prompt {
        response_format: ResponseFormat::JsonSchema { name: "n".into(), schema: samples::object(schema) },
        ..samples::conversation()
    };
    let closed = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let able = Parameters {
        abilities: Abilities { structured_outputs: true, ..Abilities::default() },
        ..PARAMETERS
    };
    let open = json!({ "type": "object" });
    for (prompt, parameters, expected) in [
        (
            schema(closed.clone()),
            able,
            Some(json!({ "format": { "type": "json_schema", "schema": closed } })),
        ),
        (schema(closed), PARAMETERS, None),
        (schema(open), able, None),
        (Prompt { response_format: ResponseFormat::JsonObject, ..samples::conversation() }, able, None),
    ] {
        let body = samples::written_as(&ADAPTER, &prompt, &parameters);
        let in_words = body["system"].as_str().is_some_and(|system| system.contains("JSON"));
        assert_eq!((body.get("output_config"), in_words), (expected.as_ref(), expected.is_none()));
    }
    assert!(samples::written_as(&ADAPTER, &samples::conversation(), &able).get("output_config").is_none());
}

#[test]
fn the_last_marks_for_the_cache_are_passed_on_where_the_provider_takes_them() {
    let mut prompt = samples::illustrated();
    prompt.turns[1]
        .blocks
        .insert(0, Block::Thinking(Thinking { text: "Hm.".into(), signature: "EqQB==".into() }));
    prompt.turns[0].breakpoints = vec![0];
    prompt.turns[1].breakpoints = vec![0, 1, 2];
    prompt.turns[2].breakpoints = vec![0, 3];
    let body = samples::written(&ADAPTER, &prompt);
    let marked = |message: &Value| {
        let blocks = message["content"].as_array().into_iter().flatten().enumerate();
        let marked = blocks.filter(|(_, block)| block.get("cache_control").is_some());
        marked.map(|(place, _)| place).collect::<Vec<_>>()
    };
    let messages = body["messages"].as_array().expect("messages");
    let places: Vec<Vec<usize>> = messages.iter().map(marked).collect();
    assert_eq!(places, [vec![], vec![1, 2], vec![0, 3]], "four at most, and none on thinking");
    assert_eq!(messages[2]["content"][0]["cache_control"], json!({ "type": "ephemeral" }));
}

#[test]
fn a_refusal_is_an_answer() {
    let mut body = body();
    body["stop_reason"] = json!("refusal");
    let said = [("a call that may lack arguments", body["content"].clone(), 2), ("nothing", json!([]), 0)];
    for (what, content, blocks) in said {
        body["content"] = content;
        let answer = samples::read(&ADAPTER, &body).expect("reads");
        assert_eq!((answer.stop_reason, answer.blocks.len()), (StopReason::Refusal, blocks), "{what}");
    }
}

#[test]
fn two_conditions_hide_under_400() {
    let cases = [
        ("prompt is too long: 208310 tokens > 200000 maximum", Kind::ContextLength),
        ("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000", Kind::ContextLength),
        ("Your credit balance is too low to access the Anthropic API.", Kind::Quota),
        ("messages: roles must alternate", Kind::InvalidRequest),
    ];
    for (message, kind) in cases {
        assert_eq!(failure(Kind::InvalidRequest, message), kind, "{message}");
    }
    assert_eq!(failure(Kind::RateLimited, "prompt is too long"), Kind::RateLimited);
}
