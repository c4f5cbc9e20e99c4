use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use serde_json::{Value, json};
use tonic_types::StatusExt as _;

use super::request;
use crate::doors::Asked;
use crate::doors::media::block;

/// What is read, or the fields that are wrong.
fn read(body: Value) -> Result<Asked, Vec<String>> {
    let Value::Object(object) = body else { panic!("no object") };
    let mut violations = Violations::new();
    let asked = request(object, &mut violations);
    violations.finish(asked).map_err(|fault| {
        let bad = fault.into_status().get_details_bad_request().expect("violations");
        bad.field_violations.into_iter().map(|violation| violation.field).collect()
    })
}

fn with(name: &str, value: Value) -> Result<Asked, Vec<String>> {
    let messages = json!([{ "role": "user", "content": "Hi." }]);
    let mut body = json!({ "model": "default", "max_tokens": 9, "messages": messages });
    body[name] = value;
    read(body)
}

fn turn(role: pb::Role, content: Vec<Block>) -> pb::Message {
    pb::Message { role: role.into(), content: content.into_iter().map(block).collect() }
}

fn marked(content: Block) -> pb::ContentBlock {
    pb::ContentBlock { cache_breakpoint: true, ..block(content) }
}

#[test]
fn what_is_to_be_cached_is_marked() {
    let cached = json!({ "type": "ephemeral", "ttl": "1h" });
    let text = |text: &str| json!({ "type": "text", "text": text });
    let mut marked_text = text("one");
    marked_text["cache_control"] = cached.clone();
    let call = json!({ "type": "tool_use", "id": "t1", "name": "f", "input": {} });
    let result =
        json!({ "type": "tool_result", "tool_use_id": "t1", "content": [text("zero"), marked_text] });
    let messages = json!([
        { "role": "user", "content": [marked_text, text("two")] },
        { "role": "assistant", "content": [call] },
        { "role": "user", "content": [result, text("three")] },
    ]);
    let marks = |control: Value| {
        let asked =
            read(json!({ "model": "m", "max_tokens": 9, "messages": messages, "cache_control": control }));
        asked.map(|asked| {
            let blocks = asked.generate.messages.into_iter().flat_map(|message| message.content);
            blocks.map(|block| block.cache_breakpoint).collect::<Vec<_>>()
        })
    };
    assert_eq!(marks(Value::Null), Ok(vec![true, false, false, true, false]));
    assert_eq!(marks(cached), Ok(vec![true, false, false, true, true]), "the whole request is to be cached");
    assert_eq!(marks(json!({ "type": "durable" })), marks(Value::Null), "another hint than the contract has");
}

#[test]
fn a_conversation_with_tools_is_read_whole() {
    let cached = json!({ "type": "ephemeral" });
    let asked = read(json!({
        "model": "cloud",
        "max_tokens": 77,
        "system": [
            { "type": "text", "text": "Be brief.", "cache_control": cached },
            { "type": "text", "text": "Be kind." },
        ],
        "messages": [
            { "role": "user", "content": "Read a.md" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s1" },
                { "type": "redacted_thinking", "data": "s2" },
                { "type": "text", "text": "I look.", "citations": null },
                { "type": "tool_use", "id": "t1", "name": "fs.read", "input": { "path": "a.md" }, "caller": { "type": "direct" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t1", "content": [
                    { "type": "text", "text": "one" }, { "type": "text", "text": "two" },
                ], "is_error": true, "cache_control": cached },
                { "type": "text", "text": "And?" },
            ] },
        ],
        "tools": [{ "name": "fs.read", "description": "Reads.", "input_schema": { "type": "object" }, "cache_control": cached }],
        "tool_choice": { "type": "tool", "name": "fs.read", "disable_parallel_tool_use": true },
        "temperature": 0.7,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "thinking": { "type": "enabled", "budget_tokens": 1024 },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "metadata": { "user_id": "ada" },
        "service_tier": "auto",
        "stream": true,
    }));
    let thinking = |text: &str, signature: &str| {
        Block::Thinking(pb::Thinking { text: text.into(), signature: signature.into() })
    };
    let wanted = pb::ToolUse {
        tool_use_id: "t1".into(),
        name: "fs.read".into(),
        input_json: r#"{"path":"a.md"}"#.into(),
    };
    let result = pb::ToolResultBlock {
        tool_use_id: "t1".into(),
        content: "one\ntwo".into(),
        is_error: true,
        ..pb::ToolResultBlock::default()
    };
    let generate = pb::GenerateRequest {
        route: "cloud".into(),
        system: "Be brief.\n\nBe kind.".into(),
        messages: vec![
            turn(pb::Role::User, vec![Block::Text("Read a.md".into())]),
            turn(
                pb::Role::Assistant,
                vec![
                    thinking("hm", "s1"),
                    thinking("", "redacted_thinking:s2"),
                    Block::Text("I look.".into()),
                    Block::ToolUse(wanted),
                ],
            ),
            pb::Message {
                role: pb::Role::User.into(),
                content: vec![marked(Block::ToolResult(result)), block(Block::Text("And?".into()))],
            },
        ],
        tools: vec![pb::ToolDefinition {
            name: "fs.read".into(),
            description: "Reads.".into(),
            input_schema_json: r#"{"type":"object"}"#.into(),
        }],
        tool_choice: Some(pb::ToolChoice {
            mode: pb::ToolChoiceMode::Named.into(),
            name: "fs.read".into(),
            single_call: true,
        }),
        response_format: Some(pb::ResponseFormat {
            kind: pb::ResponseFormatKind::JsonSchema.into(),
            name: "output".into(),
            schema_json: r#"{"type":"object"}"#.into(),
            ..pb::ResponseFormat::default()
        }),
        max_output_tokens: 77,
        temperature: Some(0.7),
        top_p: Some(0.5),
        stop_sequences: vec!["END".into()],
        thinking_tokens_max: 1024,
        ..pb::GenerateRequest::default()
    };
    assert_eq!(
        asked,
        Ok(Asked { generate, is_named: false, stream: true, usage: true, origins: vec![0, 1, 2] })
    );
}

#[test]
fn pictures_and_documents_come_by_value_alone() {
    let source = |kind: &str, media_type: &str, data: &str| json!({ "type": kind, "media_type": media_type, "data": data });
    let blocks = json!([
        { "type": "image", "source": source("base64", "image/png", "AAEC") },
        { "type": "document", "source": source("base64", "application/pdf", "AwQ="), "title": "b.pdf" },
        { "type": "document", "source": source("text", "text/plain", "Hi."), "citations": { "enabled": false } },
    ]);
    let asked =
        read(json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": blocks }] }));
    let document = |media_type: &str, content: &[u8], title: &str| {
        Block::Document(pb::Document {
            media_type: media_type.into(),
            content: content.into(),
            title: title.into(),
        })
    };
    let picture = || Block::Image(pb::Image { media_type: "image/png".into(), content: vec![0, 1, 2] });
    let blocks =
        vec![picture(), document("application/pdf", &[3, 4], "b.pdf"), document("text/plain", b"Hi.", "")];
    assert_eq!(asked.expect("reads").generate.messages, [turn(pb::Role::User, blocks)]);

    let pictured = json!([{ "type": "tool_result", "tool_use_id": "t1", "content": [
        { "type": "text", "text": "Seen:" },
        { "type": "image", "source": source("base64", "image/png", "AAEC") },
    ] }]);
    let asked =
        read(json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": pictured }] }));
    let parts = vec![block(Block::Text("Seen:".into())), block(picture())];
    let result = pb::ToolResultBlock { tool_use_id: "t1".into(), parts, ..pb::ToolResultBlock::default() };
    assert_eq!(
        asked.expect("reads").generate.messages,
        [turn(pb::Role::User, vec![Block::ToolResult(result)])]
    );

    let elsewhere = json!([
        { "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } },
        { "type": "image", "source": source("base64", "image/png", "?") },
        { "type": "document", "source": { "type": "file", "file_id": "f1" } },
        { "type": "document", "source": source("text", "text/plain", "Hi."), "citations": { "enabled": true } },
        { "type": "server_tool_use" },
    ]);
    let asked = read(
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": elsewhere }] }),
    );
    let fields = [
        "messages[0].content[0].source.data",
        "messages[0].content[1].source.data",
        "messages[0].content[2].source.data",
        "messages[0].content[3].citations",
        "messages[0].content[4].type",
    ];
    assert_eq!(asked, Err(fields.map(str::to_owned).to_vec()));
}

#[test]
fn what_the_contract_cannot_express_is_refused_by_name() {
    for (name, value, field) in [
        ("top_k", json!(40), "top_k"),
        ("container", json!("c1"), "container"),
        ("mcp_servers", json!([]), "mcp_servers"),
        ("context_management", json!({}), "context_management"),
        ("inference_geo", json!("eu"), "inference_geo"),
        ("speed", json!("fast"), "speed"),
        ("a_field_of_next_year", json!(1), "a_field_of_next_year"),
        ("thinking", json!({ "type": "adaptive" }), "thinking.type"),
        (
            "thinking",
            json!({ "type": "enabled", "budget_tokens": 9, "display": "omitted" }),
            "thinking.display",
        ),
        ("output_config", json!({ "effort": "high" }), "output_config.effort"),
        ("tools", json!([{ "type": "web_search_20250305", "name": "web_search" }]), "tools[0].type"),
        ("tool_choice", json!({ "type": "tool" }), "tool_choice.name"),
        ("stop_sequences", json!("END"), "stop_sequences"),
        ("max_tokens", json!(null), "max_tokens"),
        ("max_tokens", json!(0), "max_tokens"),
        ("system", json!([{ "type": "image" }]), "system[0].type"),
    ] {
        assert_eq!(with(name, value.clone()), Err(vec![field.to_owned()]), "{name}: {value}");
    }
}

#[test]
fn every_violation_is_told_at_once() {
    let asked = read(json!({
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": 7, "name": "ada" },
            { "role": "assistant", "content": [{ "type": "tool_use", "id": 7 }] },
        ],
        "tools": [{ "type": "custom" }],
    }));
    let fields = [
        "model",
        "max_tokens",
        "messages[0].role",
        "messages[1].content",
        "messages[1].name",
        "messages[2].content[0].name",
        "messages[2].content[0].input",
        "messages[2].content[0].id",
        "tools[0].name",
        "tools[0].input_schema",
    ];
    assert_eq!(asked, Err(fields.map(str::to_owned).to_vec()));
}

#[test]
fn a_request_that_is_only_counted_says_nothing_of_the_answer() {
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "Hi." }], "system": "Be brief." });
    let read = |body: Value| {
        let Value::Object(object) = body else { panic!("no object") };
        let mut violations = Violations::new();
        let asked = super::counted(object, &mut violations);
        violations.finish(asked).ok()
    };
    let asked = read(body.clone()).expect("it is welcome");
    assert_eq!((asked.generate.route.as_str(), asked.generate.system.as_str()), ("default", "Be brief."));
    assert_eq!((asked.generate.messages.len(), asked.stream), (1, false));
    for (name, value) in [("max_tokens", json!(9)), ("stream", json!(true)), ("temperature", json!(1))] {
        let mut body = body.clone();
        body[name] = value;
        assert!(read(body).is_none(), "{name}");
    }
}
