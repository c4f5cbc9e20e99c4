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
    let mut body = json!({ "model": "default", "messages": [{ "role": "user", "content": "Hi." }] });
    body[name] = value;
    read(body)
}

fn turn(role: pb::Role, content: Vec<Block>) -> pb::Message {
    pb::Message { role: role.into(), content: content.into_iter().map(block).collect() }
}

fn result(id: &str, content: &str) -> Block {
    let (tool_use_id, content) = (id.into(), content.into());
    Block::ToolResult(pb::ToolResultBlock { tool_use_id, content, ..pb::ToolResultBlock::default() })
}

#[test]
fn a_conversation_with_tools_is_read_whole() {
    let call = |id: &str, arguments: &str| {
        let function = json!({ "name": "fs.read", "arguments": arguments });
        json!({ "id": id, "type": "function", "function": function })
    };
    let function = json!({ "name": "fs.read", "description": "Reads.", "parameters": { "type": "object" }, "strict": true });
    let asked = read(json!({
        "model": "cloud",
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "developer", "content": [{ "type": "text", "text": "Be kind." }] },
            { "role": "user", "content": "Read a.md" },
            { "role": "assistant", "content": "I look.", "refusal": null, "annotations": [],
              "tool_calls": [call("t1", "{\"path\":\"a.md\"}"), call("t2", "")] },
            { "role": "tool", "tool_call_id": "t1", "content": "one" },
            { "role": "tool", "tool_call_id": "t2", "content": [{ "type": "text", "text": "two" }] },
            { "role": "user", "content": [{ "type": "text", "text": "And?" }] },
        ],
        "tools": [{ "type": "function", "function": function }, { "type": "function", "function": { "name": "now" } }],
        "tool_choice": { "type": "function", "function": { "name": "now" } },
        "parallel_tool_calls": false,
        "max_completion_tokens": 77,
        "temperature": 0.7,
        "top_p": 1,
        "seed": 7,
        "stop": "END",
        "stream": true,
        "stream_options": { "include_usage": true },
        "n": 1, "user": "ada", "store": false, "logit_bias": {}, "presence_penalty": 0.0,
    }));
    let wanted = |id: &str, input: &str| {
        let (tool_use_id, input_json) = (id.into(), input.into());
        Block::ToolUse(pb::ToolUse { tool_use_id, name: "fs.read".into(), input_json })
    };
    let tool = |name: &str, description: &str, schema: &str| pb::ToolDefinition {
        name: name.into(),
        description: description.into(),
        input_schema_json: schema.into(),
    };
    let generate = pb::GenerateRequest {
        route: "cloud".into(),
        system: "Be brief.\n\nBe kind.".into(),
        messages: vec![
            turn(pb::Role::User, vec![Block::Text("Read a.md".into())]),
            turn(
                pb::Role::Assistant,
                vec![Block::Text("I look.".into()), wanted("t1", r#"{"path":"a.md"}"#), wanted("t2", "{}")],
            ),
            turn(pb::Role::User, vec![result("t1", "one"), result("t2", "two")]),
            turn(pb::Role::User, vec![Block::Text("And?".into())]),
        ],
        tools: vec![
            tool("fs.read", "Reads.", r#"{"type":"object"}"#),
            tool("now", "", r#"{"properties":{},"type":"object"}"#),
        ],
        tool_choice: Some(pb::ToolChoice {
            mode: pb::ToolChoiceMode::Named.into(),
            name: "now".into(),
            single_call: true,
        }),
        max_output_tokens: 77,
        temperature: Some(0.7),
        top_p: Some(1.0),
        seed: Some(7),
        stop_sequences: vec!["END".into()],
        ..pb::GenerateRequest::default()
    };
    assert_eq!(
        asked,
        Ok(Asked { generate, is_named: false, stream: true, usage: true, origins: vec![2, 3, 4, 6] })
    );
}

#[test]
fn pictures_and_documents_come_by_value_alone() {
    let parts = json!([
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAEC", "detail": "auto" } },
        { "type": "file", "file": { "file_data": "data:application/pdf;base64,AwQ=", "filename": "b.pdf" } },
    ]);
    let asked = read(json!({ "model": "m", "messages": [{ "role": "user", "content": parts }] }));
    let blocks = vec![
        Block::Image(pb::Image { media_type: "image/png".into(), content: vec![0, 1, 2] }),
        Block::Document(pb::Document {
            media_type: "application/pdf".into(),
            content: vec![3, 4],
            title: "b.pdf".into(),
        }),
    ];
    assert_eq!(asked.expect("reads").generate.messages, [turn(pb::Role::User, blocks)]);
    let elsewhere = json!([
        { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
        { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAEC", "detail": "high" } },
        { "type": "file", "file": { "file_id": "f1" } },
        { "type": "input_audio", "input_audio": {} },
    ]);
    let asked = read(json!({ "model": "m", "messages": [{ "role": "user", "content": elsewhere }] }));
    let fields = [
        "messages[0].content[0].image_url.url",
        "messages[0].content[1].image_url.detail",
        "messages[0].content[2].file.file_data",
        "messages[0].content[2].file.file_id",
        "messages[0].content[3].type",
    ];
    assert_eq!(asked, Err(fields.map(str::to_owned).to_vec()));
}

#[test]
fn an_answer_in_json_can_be_asked_for() {
    let format = |value| with("response_format", value).map(|asked| asked.generate.response_format);
    let schema = json!({ "name": "sum", "schema": { "type": "object" }, "strict": true });
    let wanted = pb::ResponseFormat {
        kind: pb::ResponseFormatKind::JsonSchema.into(),
        name: "sum".into(),
        schema_json: r#"{"type":"object"}"#.into(),
        ..pb::ResponseFormat::default()
    };
    assert_eq!(format(json!({ "type": "json_schema", "json_schema": schema })), Ok(Some(wanted)));
    let plain = |kind: pb::ResponseFormatKind| pb::ResponseFormat {
        kind: kind.into(),
        ..pb::ResponseFormat::default()
    };
    assert_eq!(format(json!({ "type": "text" })), Ok(Some(plain(pb::ResponseFormatKind::Text))));
    assert_eq!(format(json!({ "type": "json_object" })), Ok(Some(plain(pb::ResponseFormatKind::JsonObject))));
    assert_eq!(format(json!({ "type": "grammar" })), Err(vec!["response_format.type".to_owned()]));
}

#[test]
fn what_the_contract_cannot_express_is_refused_by_name() {
    for (name, value) in [
        ("n", json!(2)),
        ("logprobs", json!(true)),
        ("top_logprobs", json!(3)),
        ("presence_penalty", json!(0.5)),
        ("frequency_penalty", json!(-1)),
        ("logit_bias", json!({ "7": 100 })),
        ("modalities", json!(["text", "audio"])),
        ("audio", json!({ "voice": "x" })),
        ("store", json!(true)),
        ("service_tier", json!("flex")),
        ("verbosity", json!("low")),
        ("reasoning_effort", json!("high")),
        ("prediction", json!({})),
        ("web_search_options", json!({})),
        ("functions", json!([])),
        ("function_call", json!("auto")),
        ("a_field_of_next_year", json!(1)),
        ("stop", json!([1])),
        ("seed", json!(-1)),
        ("temperature", json!("warm")),
        ("max_tokens", json!(0)),
        ("stream", json!("true")),
        ("tool_choice", json!("any")),
        ("messages", json!("Hi.")),
    ] {
        assert_eq!(with(name, value.clone()), Err(vec![name.to_owned()]), "{name}: {value}");
    }
    assert_eq!(with("a b", json!(1)), Err(vec!["?".to_owned()]));
    assert!(with("n", Value::Null).is_ok());
}

#[test]
fn every_violation_is_told_at_once() {
    let asked = read(json!({
        "messages": [
            { "role": "user", "content": "Hi.", "name": "ada" },
            { "role": "system", "content": "Be brief." },
            { "role": "assistant", "tool_calls": [{ "type": "custom", "id": "t1", "custom": {} }] },
            { "role": "function", "name": "f", "content": "1" },
            { "role": "tool", "content": "1" },
            "Hi.",
        ],
        "tools": [{ "type": "web_search" }, { "type": "function" }],
        "max_tokens": 5, "max_completion_tokens": 6,
    }));
    let fields = [
        "model",
        "messages[0].name",
        "messages[1].role",
        "messages[2].tool_calls[0].type",
        "messages[3].role",
        "messages[3].content",
        "messages[3].name",
        "messages[4].tool_call_id",
        "messages[5]",
        "tools[0].type",
        "tools[1].function",
        "max_tokens",
    ];
    assert_eq!(asked, Err(fields.map(str::to_owned).to_vec()));
}
