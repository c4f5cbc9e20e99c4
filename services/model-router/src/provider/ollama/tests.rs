use super::*;
use crate::chat::{CallFault, Thinking, ToolChoice, ToolUse};
use crate::provider::Abilities;
use crate::provider::samples::{self, PARAMETERS};

/// The longest answer that is asked for where a request names none.
const ANSWER_TOKENS: u32 = 4_096;

#[test]
fn pictures_travel_beside_the_text_and_a_pdf_does_not() {
    let mut prompt = samples::illustrated();
    let both = ["messages.content.document", "messages.content.tool_result.parts"];
    assert_eq!(inexpressible(&prompt, Abilities::default(), ANSWER_TOKENS), both);
    prompt.turns[2].blocks.remove(2);
    let messages = &samples::written(&ADAPTER, &prompt)["messages"];
    let expected = json!({ "role": "user", "content": "Notes\n\nOne.", "images": ["UE5H"] });
    assert_eq!(messages[4], expected);
}

#[test]
fn choices_are_written_and_what_has_no_words_is_told() {
    let prompt = Prompt { response_format: samples::a_schema(), ..samples::particular() };
    let body = samples::written(&ADAPTER, &prompt);
    let options = &body["options"];
    assert_eq!(
        (&options["top_p"], &options["seed"], &options["stop"]),
        (&json!(0.5), &json!(7), &json!(["END", "STOP"]))
    );
    assert_eq!(body["format"], json!({ "type": "object", "required": ["n"] }));
    assert_eq!(
        inexpressible(&prompt, Abilities::default(), ANSWER_TOKENS),
        ["tool_choice.mode", "tool_choice.single_call"]
    );
    let tool_choice = ToolChoice { mode: ToolChoiceMode::Never, single_call: false };
    let none = Prompt { tool_choice, ..samples::conversation() };
    assert_eq!(inexpressible(&none, Abilities::default(), ANSWER_TOKENS), [""; 0]);
    assert!(samples::written(&ADAPTER, &none).get("tools").is_none());
}

#[test]
fn a_conversation_is_written_as_the_provider_wants_it() {
    let function = json!({
        "name": "fs.read", "description": "Reads a file.", "parameters": { "type": "object" },
    });
    let expected = json!({
        "model": "model-x",
        "stream": false,
        "think": false,
        "options": { "num_predict": 100, "temperature": 0.5 },
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": "Read a.md" },
            { "role": "assistant", "content": "I look.", "tool_calls": [
                { "function": { "name": "fs.read", "arguments": { "path": "a.md" } } },
            ] },
            { "role": "tool", "tool_name": "fs.read", "content": "Error: File not found: a.md" },
        ],
        "tools": [{ "type": "function", "function": function }],
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

fn body() -> Value {
    json!({
        "model": "model-x", "created_at": "2026-05-09T12:00:00Z",
        "message": { "role": "assistant", "content": "Reading.", "tool_calls": [
            { "function": { "name": "fs.read", "arguments": { "path": "b.md" } } },
        ] },
        "done": true, "done_reason": "stop", "prompt_eval_count": 12, "eval_count": 5,
    })
}

#[test]
fn an_answer_is_read_and_its_calls_get_ids() {
    let answer = samples::read(&ADAPTER, &body()).expect("reads");
    let input = samples::object(json!({ "path": "b.md" }));
    let call = ToolUse { id: "call_a1_0".into(), name: "fs.read".into(), input };
    assert_eq!(answer.blocks, [Block::Text("Reading.".into()), Block::ToolUse(call)]);
    assert_eq!(answer.stop_reason, StopReason::ToolUse);
    assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
}

#[test]
fn thinking_is_read_and_goes_back_to_whom_it_came_from() {
    let mut thought = body();
    thought["message"]["thinking"] = json!("Hm.");
    let answer = samples::read(&ADAPTER, &thought).expect("reads");
    let thinking = Thinking { text: "Hm.".into(), signature: String::new() };
    assert_eq!(answer.blocks[0], Block::Thinking(thinking.clone()));
    let mut prompt = samples::conversation();
    let signed = Thinking { signature: "EqQB==".into(), ..thinking.clone() };
    prompt.turns[1].blocks.splice(0..0, [Block::Thinking(thinking), Block::Thinking(signed)]);
    let body = samples::written(&ADAPTER, &prompt);
    assert_eq!(body["messages"][2]["thinking"], "Hm.");
    let measured = Prompt { thinking_tokens_max: Some(9), ..samples::conversation() };
    assert_eq!(inexpressible(&measured, Abilities::default(), ANSWER_TOKENS), ["thinking_tokens_max"]);
}

#[test]
fn a_model_is_told_to_think_in_the_words_that_it_understands() {
    use ThinkingSwitch as T;
    let cases = [
        (T::None, None, json!(false), true),
        (T::None, Some(2_000), json!(false), false),
        (T::OnOff, None, json!(false), true),
        (T::OnOff, Some(1), json!(true), true),
        (T::Level, None, json!(false), true),
        (T::Level, Some(2_048), json!("low"), true),
        (T::Level, Some(2_049), json!("medium"), true),
        (T::Level, Some(8_193), json!("high"), true),
    ];
    for (thinking, thinking_tokens_max, told, is_sent) in cases {
        let abilities = Abilities { thinking, ..Abilities::default() };
        let prompt = Prompt { thinking_tokens_max, ..samples::conversation() };
        let what = format!("{thinking:?} {thinking_tokens_max:?}");
        assert_eq!(inexpressible(&prompt, abilities, ANSWER_TOKENS).is_empty(), is_sent, "{what}");
        let body = samples::written_as(&ADAPTER, &prompt, &Parameters { abilities, ..PARAMETERS });
        assert_eq!(body["think"], told, "{what}");
    }
}

#[test]
fn a_plain_answer_ends_the_turn_or_is_cut() {
    for (reason, expected) in [("stop", StopReason::EndTurn), ("length", StopReason::MaxTokens)] {
        let mut body = body();
        body["message"] = json!({ "role": "assistant", "content": "Done." });
        body["done_reason"] = json!(reason);
        let answer = samples::read(&ADAPTER, &body).expect("reads");
        assert_eq!((answer.stop_reason, answer.blocks.len()), (expected, 1));
    }
}

#[test]
fn answers_that_cannot_be_used_are_malformed() {
    let cases = [
        ("/done", json!(false)),
        ("/message", json!(null)),
        ("/message/content", json!(null)),
        ("/message/tool_calls", json!("x")),
        ("/done_reason", json!("load")),
        ("/eval_count", json!("many")),
    ];
    for (pointer, value) in cases {
        let mut body = body();
        *body.pointer_mut(pointer).expect("a place") = value.clone();
        assert!(samples::read(&ADAPTER, &body).is_err(), "{pointer} {value}");
    }
}

#[test]
fn what_a_prompt_can_bring_about_is_told_from_a_broken_format() {
    let cases = [
        ("/done_reason", json!("load"), Kind::Unfit),
        ("/done", json!(false), Kind::Malformed),
        ("/message", json!(null), Kind::Malformed),
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
    let cases =
        [("name", json!("rm"), CallFault::NotOffered), ("arguments", json!("{}"), CallFault::NoObject)];
    for (field, value, fault) in cases {
        let mut body = body();
        body["message"]["tool_calls"][0]["function"][field] = value;
        let answer = samples::read(&ADAPTER, &body).expect(field);
        let faults: Vec<CallFault> = answer.miscalls.iter().map(|call| call.fault).collect();
        assert_eq!((faults, answer.blocks.len()), (vec![fault], 1), "{field}");
    }
}

#[test]
fn a_prompt_that_does_not_fit_is_told_apart() {
    let message = "input length exceeds the context length";
    assert_eq!(failure(Kind::InvalidRequest, message), Kind::ContextLength);
    assert_eq!(failure(Kind::InvalidRequest, "invalid options"), Kind::InvalidRequest);
}
