//! The conversation.

use serde_json::Value;

use super::invalid;
use crate::wire::check::{is_base64, list};
use crate::wire::question::Refused;
use crate::wire::text;

/// Formats of images that are taken.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Checks each message, and that each call of a tool has its result.
pub(super) fn check(messages: &[Value]) -> Result<(), Refused> {
    if messages.is_empty() {
        return Err(invalid("Invalid 'messages': empty array."));
    }
    messages.iter().enumerate().try_for_each(|(at, message)| check_message(at, message))?;
    answered_calls(messages)
}

/// The text of a message.
pub(super) fn said(message: &Value) -> String {
    match message.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| text(part, "text")).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn check_message(at: usize, message: &Value) -> Result<(), Refused> {
    let role = text(message, "role").unwrap_or_default();
    let parts: &[&str] = match role {
        "system" | "developer" | "tool" => &["text"],
        "user" => &["text", "image_url", "input_audio", "file"],
        "assistant" => &["text", "refusal"],
        _ => {
            return Err(invalid(format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool', and 'developer'."
            )));
        }
    };
    match message.get("content") {
        Some(Value::String(_)) => {}
        Some(Value::Array(content)) => {
            for (place, part) in content.iter().enumerate() {
                check_part(&format!("messages[{at}].content[{place}]"), part, parts)?;
            }
        }
        None | Some(Value::Null) if role == "assistant" && !list(message, "tool_calls").is_empty() => {}
        _ => {
            return Err(invalid(format!(
                "Invalid value for 'messages[{at}].content': expected a string or an array."
            )));
        }
    }
    let calls = list(message, "tool_calls").iter().enumerate();
    let mut objects =
        calls.filter(|(_, call)| !call.pointer("/function/arguments").is_some_and(Value::is_string));
    match objects.next() {
        Some((place, _)) => Err(invalid(format!(
            "Invalid type for 'messages[{at}].tool_calls[{place}].function.arguments': expected a string."
        ))),
        None => Ok(()),
    }
}

fn check_part(place: &str, part: &Value, kinds: &[&str]) -> Result<(), Refused> {
    let kind = text(part, "type").unwrap_or_default();
    if !kinds.contains(&kind) {
        let kinds = kinds.iter().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
        return Err(invalid(format!("Invalid value: '{kind}'. Supported values are: {kinds}.")));
    }
    let has_text = |pointer: &str| part.pointer(pointer).is_some_and(Value::is_string);
    match kind {
        "text" if !has_text("/text") => Err(invalid(format!("Missing required parameter: '{place}.text'."))),
        "image_url" => check_image(place, part.pointer("/image_url/url").and_then(Value::as_str)),
        "file" if !has_text("/file/file_data") && !has_text("/file/file_id") => {
            Err(invalid(format!("Missing required parameter: '{place}.file.file_id'.")))
        }
        _ => Ok(()),
    }
}

/// A web address, or the image itself as a data URL (RFC 2397).
fn check_image(place: &str, url: Option<&str>) -> Result<(), Refused> {
    let url = url.ok_or_else(|| invalid(format!("Missing required parameter: '{place}.image_url.url'.")))?;
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    let data = url.strip_prefix("data:").and_then(|data| data.split_once(";base64,"));
    let (kind, data) =
        data.ok_or_else(|| invalid(format!("Invalid '{place}.image_url.url': expected a URL.")))?;
    if !IMAGES.contains(&kind) {
        return Err(invalid(
            "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png', \
             'jpeg', 'gif', 'webp'].",
        ));
    }
    if is_base64(data) { Ok(()) } else { Err(invalid("Invalid base64 image_url.")) }
}

/// The provider's rule on which conversations fail that put anything between calls and their results, or have results
/// without calls.
fn answered_calls(messages: &[Value]) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        let answered = text(message, "tool_call_id").unwrap_or_default();
        if text(message, "role") == Some("tool") {
            let call = open.iter().position(|id| *id == answered);
            open.swap_remove(call.ok_or_else(orphan)?);
        } else if open.is_empty() {
            open =
                list(message, "tool_calls").iter().map(|call| text(call, "id").unwrap_or_default()).collect();
        } else {
            return Err(unanswered());
        }
    }
    if open.is_empty() { Ok(()) } else { Err(unanswered()) }
}

fn unanswered() -> Refused {
    invalid(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'.",
    )
}

fn orphan() -> Refused {
    invalid(
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn user(content: Value) -> Value {
        json!({ "role": "user", "content": content })
    }

    #[test]
    fn text_is_found_in_strings_and_parts() {
        let parts = json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }]);
        assert_eq!((said(&user(json!("a"))).as_str(), said(&user(parts)).as_str()), ("a", "a\nb"));
    }

    #[test]
    fn images_come_by_address_or_in_a_format_that_is_taken() {
        for (url, is_taken) in [
            ("https://example.com/a.png", true),
            ("data:image/png;base64,aGk=", true),
            ("data:image/png;base64,!", false),
            ("data:image/tiff;base64,aGk=", false),
            ("aGk=", false),
        ] {
            let messages = [user(json!([{ "type": "image_url", "image_url": { "url": url } }]))];
            assert_eq!(check(&messages).is_ok(), is_taken, "{url}");
        }
    }

    #[test]
    fn every_call_has_its_result_and_every_result_its_call() {
        let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let calls = json!({ "role": "assistant", "content": null, "tool_calls": [call("c1"), call("c2")] });
        let result = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "r" });
        let hi = || user(json!("hi"));
        for (messages, is_taken) in [
            (vec![hi(), calls.clone(), result("c2"), result("c1"), hi()], true),
            (vec![hi(), calls.clone(), result("c1"), hi()], false),
            (vec![hi(), calls.clone(), result("c1")], false),
            (vec![hi(), calls, hi(), result("c1"), result("c2")], false),
            (vec![hi(), result("c1")], false),
        ] {
            assert_eq!(check(&messages).is_ok(), is_taken, "{messages:?}");
        }
    }

    #[test]
    fn roles_and_parts_are_those_of_the_provider() {
        let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": {} } });
        for message in [
            json!({ "role": "model", "content": "x" }),
            json!({ "role": "user", "content": null }),
            json!({ "role": "system", "content": [{ "type": "image_url", "image_url": { "url": "https://a" } }] }),
            json!({ "role": "user", "content": [{ "type": "document", "text": "x" }] }),
            json!({ "role": "user", "content": [{ "type": "text" }] }),
            json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
        ] {
            assert_eq!(
                check(std::slice::from_ref(&message)).map_err(|refused| refused.status),
                Err(400),
                "{message}"
            );
        }
    }
}
