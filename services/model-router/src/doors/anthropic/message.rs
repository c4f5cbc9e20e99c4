//! The conversation of a request: turns and blocks are those of the contract, under other names.

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use serde_json::{Value, json};

use crate::doors::fields::Fields;
use crate::doors::media::{self, block};
use crate::provider::REDACTED;

/// What pictures and documents have to be.
const BY_VALUE: &str = "must be base64; what is elsewhere is not fetched";

/// The instructions: a text, or several that stand under one another.
pub(super) fn system(fields: &mut Fields<'_>) -> String {
    let texts = fields.parts("system", Some, |part, kind| {
        part.ignore(&["cache_control"]);
        match kind {
            "text" => Some(text(part)),
            _ => {
                part.wrong("type", "must be text");
                None
            }
        }
    });
    texts.join("\n\n")
}

pub(super) fn turns(messages: Vec<Value>, violations: &mut Violations) -> Vec<pb::Message> {
    let messages = messages.into_iter().enumerate();
    messages.filter_map(|(at, message)| turn(format!("messages[{at}]"), message, violations)).collect()
}

fn turn(path: String, message: Value, violations: &mut Violations) -> Option<pb::Message> {
    let mut message = Fields::of(path, message, violations)?;
    message.require("content");
    let role = match message.kind("role").as_str() {
        "user" => pb::Role::User,
        "assistant" => pb::Role::Assistant,
        _ => {
            message.wrong("role", "must be user or assistant");
            return None;
        }
    };
    let content = blocks(&mut message);
    message.finish();
    Some(pb::Message { role: role.into(), content })
}

/// Content in blocks; a text alone is one block, and an empty one is none.
fn blocks(fields: &mut Fields<'_>) -> Vec<pb::ContentBlock> {
    let said = |text: String| (!text.is_empty()).then(|| block(Block::Text(text)));
    fields.parts("content", said, read)
}

fn read(part: &mut Fields<'_>, kind: &str) -> Option<pb::ContentBlock> {
    let is_marked = is_marked(part);
    let read = block_of(part, kind)?;
    Some(pb::ContentBlock { cache_breakpoint: read.cache_breakpoint || is_marked, ..read })
}

/// Whether the provider is asked to keep the prompt up to here: a hint, of which the contract has only that. Whatever else it
/// says is left to the provider.
pub(super) fn is_marked(fields: &mut Fields<'_>) -> bool {
    let control = fields.take("cache_control");
    control.is_some_and(|control| control.get("type").and_then(Value::as_str) == Some("ephemeral"))
}

fn block_of(part: &mut Fields<'_>, kind: &str) -> Option<pb::ContentBlock> {
    match kind {
        "text" => Some(block(Block::Text(text(part)))),
        "image" => Some(media::image(source(part)?)),
        "document" => document(part),
        "tool_use" => Some(tool_use(part)),
        "tool_result" => Some(tool_result(part)),
        "thinking" => Some(thinking(part)),
        "redacted_thinking" => Some(redacted(part)),
        _ => {
            let right = "must be text, image, document, tool_use, tool_result, thinking or redacted_thinking";
            part.wrong("type", right);
            None
        }
    }
}

fn text(part: &mut Fields<'_>) -> String {
    part.neutral("citations", &[json!([])]);
    part.require("text");
    part.text("text").unwrap_or_default()
}

fn thinking(part: &mut Fields<'_>) -> pb::ContentBlock {
    let text = part.text("thinking").unwrap_or_default();
    let signature = part.text("signature").unwrap_or_default();
    block(Block::Thinking(pb::Thinking { text, signature }))
}

/// What the provider shows to nobody is all in its encrypted form, and carried under a mark.
fn redacted(part: &mut Fields<'_>) -> pb::ContentBlock {
    part.require("data");
    let data = part.text("data").unwrap_or_default();
    block(Block::Thinking(pb::Thinking { text: String::new(), signature: format!("{REDACTED}{data}") }))
}

/// The media type and the bytes of a `source`.
fn source(part: &mut Fields<'_>) -> Option<(String, Vec<u8>)> {
    part.require("source");
    let mut source = part.inner("source")?;
    let media_type = source.text("media_type").unwrap_or_default();
    let read = match (source.kind("type").as_str(), source.text("data")) {
        ("base64", Some(data)) => media::decoded(&data),
        ("text", Some(data)) => Some(data.into_bytes()),
        _ => None,
    };
    match read {
        Some(content) => {
            source.finish();
            Some((media_type, content))
        }
        None => {
            source.wrong("data", BY_VALUE);
            None
        }
    }
}

fn document(part: &mut Fields<'_>) -> Option<pb::ContentBlock> {
    let title = part.text("title").unwrap_or_default();
    part.neutral("citations", &[json!({ "enabled": false })]);
    source(part).map(|source| media::document(source, title))
}

fn tool_use(part: &mut Fields<'_>) -> pb::ContentBlock {
    ["id", "name", "input"].iter().for_each(|name| part.require(name));
    // Of an answer that is sent back as it came: who called it, which is the model.
    part.neutral("caller", &[json!({ "type": "direct" })]);
    block(Block::ToolUse(pb::ToolUse {
        tool_use_id: part.text("id").unwrap_or_default(),
        name: part.text("name").unwrap_or_default(),
        input_json: Value::Object(part.object("input").unwrap_or_default()).to_string(),
    }))
}

/// What is text alone goes as the content, anything else in parts.
fn tool_result(part: &mut Fields<'_>) -> pb::ContentBlock {
    part.require("tool_use_id");
    let tool_use_id = part.text("tool_use_id").unwrap_or_default();
    let is_error = part.flag("is_error").unwrap_or(false);
    let read = blocks(part);
    let texts: Option<Vec<&str>> = read.iter().map(as_text).collect();
    let content = texts.map(|texts| texts.join("\n"));
    let is_marked = read.iter().any(|part| part.cache_breakpoint);
    let parts = if content.is_some() { Vec::new() } else { read };
    let content = content.unwrap_or_default();
    let result = block(Block::ToolResult(pb::ToolResultBlock { tool_use_id, content, is_error, parts }));
    // Of parts that are one text now the whole has the mark.
    pb::ContentBlock { cache_breakpoint: is_marked, ..result }
}

fn as_text(content: &pb::ContentBlock) -> Option<&str> {
    match &content.block {
        Some(Block::Text(text)) => Some(text),
        _ => None,
    }
}
