use super::*;
use crate::chat::{Thinking, Usage};
use crate::provider::samples;
use serde_json::json;

fn rules(format: ResponseFormat) -> Rules {
    let mut prompt = Prompt { response_format: format, ..samples::conversation() };
    prompt.tools[0].input_schema = samples::object(
        json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] }),
    );
    Rules::of(&prompt, 2).expect("schemas")
}

fn counted() -> ResponseFormat {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer" } }, "required": ["n"] });
    ResponseFormat::JsonSchema { name: "count".into(), schema: samples::object(schema) }
}

fn answer(blocks: Vec<Block>, stop_reason: StopReason) -> Answer {
    let (miscalls, usage) = (vec![], Usage::default());
    Answer { blocks, miscalls, stop_reason, usage, provider_model: "m".into() }
}

fn said(text: &str) -> Answer {
    answer(vec![Block::Text(text.into())], StopReason::EndTurn)
}

fn calls(calls: &[(&str, Value)]) -> Answer {
    let call = |(id, input): &(&str, Value)| {
        Block::ToolUse(ToolUse {
            id: (*id).into(),
            name: "fs.read".into(),
            input: samples::object(input.clone()),
        })
    };
    answer(calls.iter().map(call).collect(), StopReason::ToolUse)
}

#[test]
fn json_is_given_when_the_schema_accepts_it_however_it_was_wrapped() {
    let cases = [
        (r#"{"n":1}"#, Some(r#"{"n":1}"#)),
        ("Here you are:\n```json\n{\"n\": 2,}\n```\nDone.", Some(r#"{"n": 2}"#)),
        (r#"As in [1], it is {"n":3}."#, Some(r#"{"n":3}"#)),
        (r#"{"n":"one"}"#, None),
        ("[1]", None),
        ("none", None),
        ("", None),
    ];
    for (text, expected) in cases {
        let given = rules(counted()).check(&said(text)).ok();
        assert_eq!(given.as_deref(), expected, "{text}");
    }
    let object = rules(ResponseFormat::JsonObject);
    assert_eq!(object.check(&said("{}")).as_deref(), Ok("{}"));
    assert_eq!(object.check(&said("[]")).expect_err("a list").told, "the answer is JSON and no object");
    assert_eq!(rules(ResponseFormat::Text).check(&said("none")).as_deref(), Ok(""));
}

#[test]
fn a_refusal_and_a_call_for_tools_are_no_structured_answers() {
    let refusal = answer(vec![Block::Text("No.".into())], StopReason::Refusal);
    let call = calls(&[("t2", json!({ "path": "b.md" }))]);
    for answer in [refusal, call] {
        assert_eq!(rules(counted()).check(&answer).as_deref(), Ok(""));
    }
    let cut = answer(vec![Block::Text(r#"{"n":"#.into())], StopReason::MaxTokens);
    assert!(rules(counted()).check(&cut).is_err(), "cut JSON is no JSON");
}

#[test]
fn each_call_is_checked_against_its_schema() {
    let rules = rules(ResponseFormat::Text);
    let right = json!({ "path": "b.md" });
    assert!(rules.check(&calls(&[("t2", right.clone()), ("t3", right.clone())])).is_ok());
    for wrong in [
        calls(&[("t2", json!({}))]),
        calls(&[("t2", json!({ "path": 7 }))]),
        calls(&[("t2", right), ("t3", json!({ "path": null }))]),
    ] {
        assert!(rules.check(&wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_repair_tells_the_model_what_was_wrong_where_it_was_wrong() {
    let flaw = rules(counted()).check(&said("{\"n\":true}")).expect_err("a flaw");
    let turns = flaw.repair();
    assert_eq!(turns[0].blocks, [Block::Text("{\"n\":true}".into())]);
    let Block::Text(told) = &turns[1].blocks[0] else { panic!("text") };
    assert!(told.contains("/n: true is not of type \"integer\""), "{told}");
    assert!(!format!("{flaw:?}").contains("true"), "debug output quotes nothing");

    let wrong = calls(&[("t2", json!({ "path": "b.md" })), ("t3", json!({}))]);
    let turns = rules(ResponseFormat::Text).check(&wrong).expect_err("a flaw").repair();
    assert_eq!((turns[0].role, turns[0].blocks.len()), (Role::Assistant, 2));
    let results: Vec<(&str, bool)> = turns[1]
        .blocks
        .iter()
        .map(|block| {
            let Block::ToolResult(result) = block else { panic!("a result") };
            (result.id.as_str(), result.content.contains("\"path\" is a required property"))
        })
        .collect();
    assert_eq!(results, [("t2", false), ("t3", true)]);
}

fn miscalled(faults: &[(CallFault, &str)], blocks: Vec<Block>) -> Answer {
    let miscall = |(fault, arguments): &(CallFault, &str)| Miscall {
        name: "rm".into(),
        arguments: (*arguments).into(),
        fault: *fault,
    };
    let miscalls = faults.iter().map(miscall).collect();
    Answer { miscalls, ..answer(blocks, StopReason::ToolUse) }
}

#[test]
fn a_call_that_no_format_carries_back_is_told_in_words() {
    use CallFault as F;
    let cases = [
        (F::NotOffered, "{}", "you called rm, which is not on offer; on offer: fs.read."),
        (F::NoObject, "{\"path\":", "the input of rm is not JSON: EOF"),
        (F::NoObject, "[1]", "the input of rm is JSON, but not an object"),
        (F::SameId, "{}", "the later one of rm, have the same id"),
    ];
    let right = calls(&[("t2", json!({ "path": "b.md" }))]).blocks;
    let said = Block::Text("I look.".into());
    for (fault, arguments, problem) in cases {
        let blocks = [vec![said.clone()], right.clone()].concat();
        let flaw = rules(ResponseFormat::Text).check(&miscalled(&[(fault, arguments)], blocks));
        let flaw = flaw.expect_err("a flaw");
        let turns = flaw.repair();
        assert_eq!((turns.len(), &turns[0].blocks), (2, &vec![said.clone()]), "{fault:?}");
        let [Block::Text(told)] = turns[1].blocks.as_slice() else { panic!("words") };
        assert!(told.contains(problem), "{told}");
        let written = json!([
            { "name": "fs.read", "input": { "path": "b.md" } }, { "name": "rm", "input": arguments },
        ]);
        assert_eq!(serde_json::from_str::<Value>(&flaw.written()).expect("JSON"), written);
        assert!(!flaw.told.contains("rm"), "what is logged quotes nothing");
    }
}

#[test]
fn calls_are_what_the_request_chose() {
    use ToolChoiceMode as M;
    let one = || calls(&[("t1", json!({ "path": "a.md" }))]);
    let two = || calls(&[("t1", json!({ "path": "a.md" })), ("t2", json!({ "path": "b.md" }))]);
    let none = |stop_reason| answer(vec![Block::Text("No.".into())], stop_reason);
    let other = || {
        let mut other = one();
        if let Some(Block::ToolUse(call)) = other.blocks.first_mut() {
            call.name = "fs.list".into();
        }
        other
    };
    let named = || M::Named("fs.read".into());
    let cases = [
        (M::Auto, false, two(), None),
        (M::Auto, true, one(), None),
        (M::Auto, true, none(StopReason::EndTurn), None),
        (M::Auto, true, two(), Some("more than one call, and may make one in a turn; on offer: fs.read.")),
        (M::Never, false, none(StopReason::EndTurn), None),
        (M::Never, false, one(), Some("may call none now; no tool is on offer.")),
        (M::Required, false, two(), None),
        (
            M::Required,
            false,
            none(StopReason::EndTurn),
            Some("you called no tool, and have to; on offer: fs.read."),
        ),
        (M::Required, true, two(), Some("more than one call")),
        (named(), false, one(), None),
        (
            named(),
            false,
            other(),
            Some("another tool than the one that you have to call; on offer: fs.read."),
        ),
        (named(), false, none(StopReason::EndTurn), Some("you called no tool")),
        // It was cut off before its call, or declined, and says so.
        (named(), false, none(StopReason::MaxTokens), None),
        (M::Required, false, none(StopReason::Refusal), None),
        (M::Required, false, none(StopReason::StopSequence), None),
    ];
    for (mode, single_call, answer, problem) in cases {
        let choice = ToolChoice { mode, single_call };
        let rules = Rules { choice: choice.clone(), ..rules(ResponseFormat::Text) };
        let told = rules.check(&answer).err().map(|flaw| {
            let turns = flaw.repair();
            let Some(Block::Text(told)) = turns[turns.len() - 1].blocks.first() else { panic!("words") };
            let is_called = |turn: &Turn| turn.blocks.iter().any(|block| call(block).is_some());
            assert!(!turns.iter().any(is_called), "a call that goes back has to be answered");
            told.clone()
        });
        let is_told = told.as_deref().zip(problem).is_some_and(|(told, problem)| told.contains(problem));
        assert!(is_told || (told.is_none() && problem.is_none()), "{choice:?}: {told:?}");
    }
}

#[test]
fn what_a_model_said_instead_of_a_call_is_kept_for_whoever_asked() {
    let choice = ToolChoice { mode: ToolChoiceMode::Required, single_call: false };
    let rules = Rules { choice, ..rules(ResponseFormat::Text) };
    let flaw = rules.check(&said("I would rather not.")).expect_err("a flaw");
    assert_eq!(flaw.written(), "I would rather not.");
    assert_eq!(flaw.repair()[0].blocks, [Block::Text("I would rather not.".into())]);
}

#[test]
fn all_that_is_wrong_with_the_calls_of_an_answer_is_told_at_once() {
    let wrong = miscalled(&[(CallFault::NotOffered, "{}")], calls(&[("t2", json!({}))]).blocks);
    let turns = rules(ResponseFormat::Text).check(&wrong).expect_err("a flaw").repair();
    let [Turn { role: Role::User, blocks, .. }] = turns.as_slice() else { panic!("{} turns", turns.len()) };
    let [Block::Text(told)] = blocks.as_slice() else { panic!("words") };
    assert!(told.contains("not on offer") && told.contains("\"path\" is a required property"), "{told}");
}

#[test]
fn a_tools_name_that_a_model_made_up_is_quoted_in_part() {
    let mut wrong = miscalled(&[(CallFault::NotOffered, "{}")], vec![]);
    wrong.miscalls[0].name = "é".repeat(100_000);
    let turns = rules(ResponseFormat::Text).check(&wrong).expect_err("a flaw").repair();
    let [Block::Text(told)] = turns[0].blocks.as_slice() else { panic!("words") };
    assert!(told.len() < 300, "{} bytes", told.len());
}

#[test]
fn what_was_thought_goes_back_with_what_it_led_to_and_never_alone() {
    let thought = || Block::Thinking(Thinking { text: "Hm.".into(), signature: "EqQB==".into() });
    let say = |text: &str| Block::Text(text.into());
    let rules = rules(counted());
    for (blocks, given_back) in [
        (vec![thought(), say("none")], vec![thought(), say("none")]),
        (vec![thought()], vec![]),
        (vec![thought(), say(" ")], vec![]),
        (vec![say("none"), thought()], vec![say("none")]),
    ] {
        let turns = rules.check(&answer(blocks.clone(), StopReason::EndTurn)).expect_err("a flaw").repair();
        let before: Vec<Block> = turns
            .into_iter()
            .filter(|turn| turn.role == Role::Assistant)
            .flat_map(|turn| turn.blocks)
            .collect();
        assert_eq!(before, given_back, "{blocks:?}");
    }
    let wrong = miscalled(&[(CallFault::NotOffered, "{}")], vec![thought(), say("I look.")]);
    let turns = rules.check(&wrong).expect_err("a flaw").repair();
    assert_eq!(turns[0].blocks, [say("I look.")], "without a call that followed it");
}

#[test]
fn an_answer_without_a_word_is_asked_for_again_without_repeating_it() {
    let flaw = rules(counted()).check(&said(" ")).expect_err("a flaw");
    let turns = flaw.repair();
    assert_eq!((turns.len(), turns[0].role), (1, Role::User));
}

#[test]
fn a_schema_that_is_none_is_told_by_its_field() {
    let mut prompt = Prompt { response_format: samples::a_schema(), ..samples::conversation() };
    let none = samples::object(json!({ "type": "no such type" }));
    prompt.tools[0].input_schema = none.clone();
    prompt.response_format = ResponseFormat::JsonSchema { name: "x".into(), schema: none };
    let wrong = Rules::of(&prompt, 2).expect_err("no schemas");
    let fields: Vec<&str> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
    assert_eq!(fields, ["tools[0].input_schema_json", "response_format.schema_json"]);
}

#[test]
fn no_schema_is_fetched_from_anywhere() {
    for address in ["http://127.0.0.1:1/schema.json", "file:///etc/hostname"] {
        let schema = samples::object(json!({ "$ref": address }));
        let response_format = ResponseFormat::JsonSchema { name: "x".into(), schema };
        let prompt = Prompt { response_format, ..samples::conversation() };
        assert!(Rules::of(&prompt, 2).is_err(), "{address}");
    }
}
