//! A conversation survives its way into each format and back, as far as the format can express it. The way back is
//! written here, from the providers' documentation, and shares nothing with the adapters.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::samples::{conversation, object, written};
use super::{anthropic, ollama, openai};
use crate::chat::{Block, Prompt, Role, Thinking, Tool, ToolResult, ToolUse, Turn};

const TOOLS: [&str; 4] = ["fs.read", "fs_read", "web.fetch", "plain"];

/// What a conversation says: instructions, and who said what.
type Talk = (String, Vec<(Role, Vec<Block>)>);

/// What a format can carry of thinking.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Thoughts {
    Signed,
    Unsigned,
    None,
}

/// What the model said in one turn.
#[derive(Debug, Clone)]
struct Said {
    thinking: Option<String>,
    text: Option<String>,
    /// Which tool, what with, and what came back.
    calls: Vec<(usize, String, String, bool)>,
}

fn words() -> impl Strategy<Value = String> {
    // Everything that JSON escapes, and what a format might take for its own.
    prop_oneof!["[a-z]{1,8}", "[\u{20}-\u{7e}]{1,20}", "\\PC{1,8}", Just("\n\n\"\\\u{1f33f}\u{0}".to_owned())]
        .prop_filter("blocks are not empty", |text| !text.is_empty())
}

fn said() -> impl Strategy<Value = Said> {
    let call = (0..TOOLS.len(), words(), "\\PC{0,8}", any::<bool>());
    let said = (option::of(words()), option::of(words()), vec(call, 0..3));
    said.prop_map(|(thinking, text, calls)| Said { thinking, text, calls })
        .prop_filter("turns are not empty", |said| said.text.is_some() || !said.calls.is_empty())
}

/// A conversation in the order that all formats know: results, text; thinking, text, calls.
fn prompts(thoughts: Thoughts) -> impl Strategy<Value = Prompt> {
    (option::of(words()), vec((words(), said()), 0..4), words()).prop_map(move |(system, exchanges, last)| {
        let mut turns = Vec::new();
        let mut results: Vec<Block> = Vec::new();
        let mut ids = 0..;
        for (asked, said) in exchanges {
            let mut blocks = std::mem::take(&mut results);
            blocks.push(Block::Text(asked));
            turns.push(Turn::new(Role::User, blocks));
            let thinking = said.thinking.filter(|_| thoughts != Thoughts::None).map(|text| {
                let signature = if thoughts == Thoughts::Signed { "EqQB==" } else { "" };
                Block::Thinking(Thinking { text, signature: signature.to_owned() })
            });
            let mut blocks: Vec<Block> = thinking.into_iter().chain(said.text.map(Block::Text)).collect();
            for ((tool, argument, content, is_error), id) in said.calls.into_iter().zip(&mut ids) {
                let id = format!("call_{id}");
                let input = object(json!({ "path": argument }));
                blocks.push(Block::ToolUse(ToolUse { id: id.clone(), name: TOOLS[tool].into(), input }));
                results.push(Block::ToolResult(ToolResult { id, content, is_error, parts: vec![] }));
            }
            turns.push(Turn::new(Role::Assistant, blocks));
        }
        results.push(Block::Text(last));
        turns.push(Turn::new(Role::User, results));
        let tool = |name: &str| Tool {
            name: name.into(),
            description: format!("Does {name}."),
            input_schema: object(json!({ "type": "object" })),
        };
        Prompt {
            system: system.unwrap_or_default(),
            turns,
            tools: TOOLS.map(tool).into(),
            temperature: Some(0.5),
            ..conversation()
        }
    })
}

/// The agent's names, by the provider's: the tools are offered in the same order.
fn names(prompt: &Prompt, offered: Vec<&Value>) -> BTreeMap<String, String> {
    let names: BTreeMap<String, String> =
        offered.into_iter().zip(&prompt.tools).map(|(wire, tool)| (text(wire), tool.name.clone())).collect();
    assert_eq!(names.len(), prompt.tools.len(), "two tools have one name");
    names
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn role(message: &Value) -> Role {
    match message["role"].as_str() {
        Some("assistant") => Role::Assistant,
        Some("user" | "tool") => Role::User,
        other => panic!("no role: {other:?}"),
    }
}

fn from_anthropic(body: &Value, prompt: &Prompt) -> Talk {
    let names = names(prompt, list(&body["tools"]).iter().map(|tool| &tool["name"]).collect());
    let block = |block: &Value| match block["type"].as_str() {
        Some("text") => Block::Text(text(&block["text"])),
        Some("thinking") => {
            Block::Thinking(Thinking { text: text(&block["thinking"]), signature: text(&block["signature"]) })
        }
        Some("tool_use") => Block::ToolUse(ToolUse {
            id: text(&block["id"]),
            name: names[block["name"].as_str().expect("a name")].clone(),
            input: object(block["input"].clone()),
        }),
        Some("tool_result") => Block::ToolResult(ToolResult {
            id: text(&block["tool_use_id"]),
            content: text(&block["content"]),
            is_error: block["is_error"] == true,
            parts: vec![],
        }),
        other => panic!("no block: {other:?}"),
    };
    let turn = |message: &Value| {
        let blocks = list(&message["content"]).iter().map(block).collect();
        (role(message), blocks)
    };
    let system = body.get("system").map(text).unwrap_or_default();
    (system, list(&body["messages"]).iter().map(turn).collect())
}

/// Results stand in messages of their own before the user's; failures are told in words.
fn from_messages(body: &Value, read: impl Fn(&Value) -> Vec<Block>) -> Talk {
    let (mut system, mut turns) = (String::new(), Vec::<(Role, Vec<Block>)>::new());
    for message in list(&body["messages"]) {
        if message["role"] == "system" {
            system = text(&message["content"]);
            continue;
        }
        let (role, blocks) = (role(message), read(message));
        match turns.last_mut().filter(|(speaker, _)| *speaker == role) {
            Some((_, said)) => said.extend(blocks),
            None => turns.push((role, blocks)),
        }
    }
    (system, turns)
}

fn result(id: String, content: &Value) -> Block {
    let content = text(content);
    match content.strip_prefix("Error: ") {
        Some(content) => {
            Block::ToolResult(ToolResult { id, content: content.to_owned(), is_error: true, parts: vec![] })
        }
        None => Block::ToolResult(ToolResult { id, content, is_error: false, parts: vec![] }),
    }
}

fn said_text(content: &Value) -> Option<Block> {
    content.as_str().filter(|content| !content.is_empty()).map(|content| Block::Text(content.to_owned()))
}

fn from_openai(body: &Value, prompt: &Prompt) -> Talk {
    let offered = list(&body["tools"]).iter().map(|tool| &tool["function"]["name"]);
    let names = names(prompt, offered.collect());
    from_messages(body, |message| {
        if message["role"] == "tool" {
            return vec![result(text(&message["tool_call_id"]), &message["content"])];
        }
        let calls = list(&message["tool_calls"]).iter().map(|call| {
            let arguments = serde_json::from_str(call["function"]["arguments"].as_str().expect("text"));
            Block::ToolUse(ToolUse {
                id: text(&call["id"]),
                name: names[call["function"]["name"].as_str().expect("a name")].clone(),
                input: object(arguments.expect("JSON")),
            })
        });
        said_text(&message["content"]).into_iter().chain(calls).collect()
    })
}

/// The format has no ids: the calls are numbered, and results come in the order of the calls.
fn from_ollama(body: &Value) -> Talk {
    let (calls, results) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    let next = |count: &std::cell::Cell<u32>| format!("call_{}", count.replace(count.get() + 1));
    from_messages(body, |message| {
        if message["role"] == "tool" {
            return vec![result(next(&results), &message["content"])];
        }
        let thinking = message["thinking"]
            .as_str()
            .map(|text| Block::Thinking(Thinking { text: text.to_owned(), signature: String::new() }));
        let wanted = list(&message["tool_calls"]).iter().map(|call| {
            let function = &call["function"];
            let input = object(function["arguments"].clone());
            Block::ToolUse(ToolUse { id: next(&calls), name: text(&function["name"]), input })
        });
        thinking.into_iter().chain(said_text(&message["content"])).chain(wanted).collect()
    })
}

fn talk(prompt: Prompt) -> Talk {
    (prompt.system, prompt.turns.into_iter().map(|turn| (turn.role, turn.blocks)).collect())
}

/// A result that begins as a failure is told to be one: the formats without a flag cannot tell them apart.
fn without_disguise(prompt: &Prompt) -> bool {
    prompt.turns.iter().flat_map(|turn| &turn.blocks).all(|block| match block {
        Block::ToolResult(result) => !result.content.starts_with("Error: "),
        Block::Text(_) | Block::ToolUse(_) | Block::Thinking(_) | Block::Media(_) => true,
    })
}

proptest! {
    #[test]
    fn by_anthropics_messages(prompt in prompts(Thoughts::Signed)) {
        let body = written(&anthropic::ADAPTER, &prompt);
        prop_assert_eq!(from_anthropic(&body, &prompt), talk(prompt));
    }

    #[test]
    fn by_openais_completions(prompt in prompts(Thoughts::None).prop_filter("no disguise", without_disguise)) {
        let body = written(&openai::OPENAI, &prompt);
        prop_assert_eq!(from_openai(&body, &prompt), talk(prompt));
    }

    #[test]
    fn by_ollamas_chat(prompt in prompts(Thoughts::Unsigned).prop_filter("no disguise", without_disguise)) {
        let body = written(&ollama::ADAPTER, &prompt);
        prop_assert_eq!(from_ollama(&body), talk(prompt));
    }
}
