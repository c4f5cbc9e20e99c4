//! Blocks of content.

use serde_json::Value;

use super::invalid;
use crate::wire::anthropic::SIGNATURE;
use crate::wire::check::{given, is_base64, is_name};
use crate::wire::question::Refused;
use crate::wire::text;

/// Formats of images that are taken.
const IMAGES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// The blocks of a message; none where its content is text.
pub(super) fn of(message: &Value) -> &[Value] {
    message.get("content").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The text in a string, a block or a list of blocks, tool results included.
pub(super) fn said(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().map(said).collect::<Vec<_>>().join("\n"),
        Value::Object(block) => {
            block.get("text").or_else(|| block.get("content")).map(said).unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// Checks a block that stands at `place` in a message of `role`.
pub(super) fn check(place: &str, role: &str, block: &Value) -> Result<(), Refused> {
    let kind = text(block, "type").unwrap_or_default();
    check_mark(place, kind, block)?;
    match (role, kind) {
        (_, "text") => check_text(block),
        ("user", "image") => check_source(place, "image", block, &IMAGES),
        ("user", "document") => check_source(place, "document", block, &["application/pdf"]),
        ("user", "tool_result") => check_result(place, block),
        ("assistant", "tool_use") => check_call(place, block),
        // Only what the model itself thought is taken back.
        ("assistant", "thinking") if text(block, "signature") != Some(SIGNATURE) => {
            Err(invalid(format!("{place}: Invalid `signature` in `thinking` block")))
        }
        ("assistant", "thinking") => Ok(()),
        ("assistant", "redacted_thinking") if text(block, "data").is_none() => {
            Err(invalid(format!("{place}.redacted_thinking.data: Field required")))
        }
        ("assistant", "redacted_thinking") => Ok(()),
        _ => Err(invalid(format!("{place}: Input tag '{kind}' does not match any of the expected tags"))),
    }
}

/// A mark for the cache is of one type, and stands on nothing that was thought.
fn check_mark(place: &str, kind: &str, block: &Value) -> Result<(), Refused> {
    let Some(mark) = given(block, "cache_control") else { return Ok(()) };
    if ["thinking", "redacted_thinking"].contains(&kind) {
        return Err(invalid(format!("{place}.{kind}.cache_control: Extra inputs are not permitted")));
    }
    if text(mark, "type") != Some("ephemeral") {
        return Err(invalid(format!("{place}.{kind}.cache_control.type: Input should be 'ephemeral'")));
    }
    Ok(())
}

fn check_text(block: &Value) -> Result<(), Refused> {
    match text(block, "text") {
        Some(_) => Ok(()),
        None => Err(invalid("messages: text content blocks must be non-empty")),
    }
}

fn check_source(place: &str, kind: &str, block: &Value, media_types: &[&str]) -> Result<(), Refused> {
    let place = format!("{place}.{kind}.source");
    let source = block.get("source").ok_or_else(|| invalid(format!("{place}: Field required")))?;
    let field =
        |name: &str| text(source, name).ok_or_else(|| invalid(format!("{place}.{name}: Field required")));
    match (kind, field("type")?) {
        (_, "base64") => {
            if !media_types.contains(&field("media_type")?) {
                let right = media_types.join("', '");
                return Err(invalid(format!("{place}.base64.media_type: Input should be '{right}'")));
            }
            if !is_base64(field("data")?) {
                return Err(invalid(format!("{place}.base64.data: Invalid base64 data")));
            }
            Ok(())
        }
        (_, "url") => field("url").map(drop),
        (_, "file") => field("file_id").map(drop),
        ("document", "text") => field("data").map(drop),
        ("document", "content") => Ok(()),
        (_, other) => {
            Err(invalid(format!("{place}: Input tag '{other}' does not match any of the expected tags")))
        }
    }
}

fn check_result(place: &str, block: &Value) -> Result<(), Refused> {
    let place = format!("{place}.tool_result");
    if text(block, "tool_use_id").is_none() {
        return Err(invalid(format!("{place}.tool_use_id: Field required")));
    }
    if block.get("is_error").is_some_and(|is_error| !is_error.is_boolean()) {
        return Err(invalid(format!("{place}.is_error: Input should be a valid boolean")));
    }
    match block.get("content") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(blocks)) => {
            let inner = |(at, block): (usize, &Value)| check_inner(&format!("{place}.content.{at}"), block);
            blocks.iter().enumerate().try_for_each(inner)
        }
        Some(_) => Err(invalid(format!("{place}.content: Input should be a valid list"))),
    }
}

fn check_inner(place: &str, block: &Value) -> Result<(), Refused> {
    match text(block, "type") {
        Some("text" | "image" | "document") => check(place, "user", block),
        _ => Err(invalid(format!("{place}: Input tag does not match any of the expected tags"))),
    }
}

fn check_call(place: &str, block: &Value) -> Result<(), Refused> {
    let place = format!("{place}.tool_use");
    for (field, length_max) in [("id", usize::MAX), ("name", 200)] {
        if !is_name(text(block, field).unwrap_or_default(), length_max) {
            return Err(invalid(format!("{place}.{field}: String should match pattern '^[a-zA-Z0-9_-]+$'")));
        }
    }
    if block.get("input").is_none_or(|input| !input.is_object()) {
        return Err(invalid(format!("{place}.input: Input should be a valid dictionary")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn is_taken(role: &str, block: &Value) -> bool {
        check("messages.0.content.0", role, block).is_ok()
    }

    #[test]
    fn the_last_word_is_found_in_strings_blocks_and_tool_results() {
        for content in [
            json!("hi"),
            json!([{ "type": "text", "text": "hi" }]),
            json!([{ "type": "tool_result", "tool_use_id": "t", "content": "hi" }]),
        ] {
            assert_eq!(said(&content), "hi");
        }
    }

    #[test]
    fn blocks_are_those_that_the_role_may_have() {
        for (role, block, expected) in [
            ("user", json!({ "type": "text", "text": "x" }), true),
            ("user", json!({ "type": "text", "text": "" }), false),
            ("user", json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} }), false),
            ("user", json!({ "type": "input_text", "text": "x" }), false),
            ("user", json!({ "type": "tool_result", "tool_use_id": "t" }), true),
            ("user", json!({ "type": "tool_result", "tool_use_id": "t", "is_error": "no" }), false),
            (
                "user",
                json!({ "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "x" }] }),
                false,
            ),
            ("assistant", json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} }), true),
            ("assistant", json!({ "type": "tool_use", "id": "t.1", "name": "f", "input": {} }), false),
            ("assistant", json!({ "type": "tool_use", "id": "t", "name": "f", "input": "{}" }), false),
            ("assistant", json!({ "type": "thinking", "thinking": "x", "signature": SIGNATURE }), true),
            ("assistant", json!({ "type": "thinking", "thinking": "x", "signature": "forged" }), false),
            ("assistant", json!({ "type": "redacted_thinking", "data": "x" }), true),
            ("assistant", json!({ "type": "image" }), false),
            ("user", json!({ "type": "text", "text": "x", "cache_control": { "type": "ephemeral" } }), true),
            ("user", json!({ "type": "text", "text": "x", "cache_control": { "type": "for ever" } }), false),
            (
                "assistant",
                json!({ "type": "redacted_thinking", "data": "x", "cache_control": { "type": "ephemeral" } }),
                false,
            ),
        ] {
            assert_eq!(is_taken(role, &block), expected, "{role} {block}");
        }
    }

    #[test]
    fn images_and_documents_come_in_formats_that_are_taken() {
        let base64 = |media_type: &str, data: &str| json!({ "type": "base64", "media_type": media_type, "data": data });
        for (kind, source, expected) in [
            ("image", base64("image/png", "aGk="), true),
            ("image", base64("image/tiff", "aGk="), false),
            ("image", base64("image/png", "data:image/png;base64,aGk="), false),
            ("image", json!({ "type": "url", "url": "https://example.com/a.png" }), true),
            ("image", json!({ "type": "text", "data": "x" }), false),
            ("document", base64("application/pdf", "aGk="), true),
            ("document", base64("image/png", "aGk="), false),
            ("document", json!({ "type": "text", "media_type": "text/plain", "data": "x" }), true),
            ("document", json!(null), false),
        ] {
            assert_eq!(
                is_taken("user", &json!({ "type": kind, "source": source })),
                expected,
                "{kind} {source}"
            );
        }
    }
}
