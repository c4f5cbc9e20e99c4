//! The conversation.

use serde_json::Value;

use super::{blocks, invalid};
use crate::wire::question::Refused;
use crate::wire::text;

/// Blocks of a request that may be marked for the cache.
const CACHED_MAX: usize = 4;

/// Checks each message, and that each call of a tool has its result in the message after it.
pub(super) fn check(messages: &[Value]) -> Result<(), Refused> {
    let Some(first) = messages.first() else {
        return Err(invalid("messages: at least one message is required"));
    };
    if text(first, "role") == Some("assistant") {
        return Err(invalid("messages: first message must use the \"user\" role"));
    }
    for (at, message) in messages.iter().enumerate() {
        check_message(at, message, at + 1 == messages.len())?;
    }
    check_cached(messages)?;
    answered_calls(messages)
}

/// Marks for the cache: so many in a request.
fn check_cached(messages: &[Value]) -> Result<(), Refused> {
    let blocks = messages.iter().flat_map(blocks::of);
    let marks = blocks.filter(|block| block.get("cache_control").is_some_and(|mark| !mark.is_null())).count();
    if marks > CACHED_MAX {
        let right =
            format!("A maximum of {CACHED_MAX} blocks with cache_control may be provided. Found {marks}.");
        return Err(invalid(right));
    }
    Ok(())
}

fn check_message(at: usize, message: &Value, is_last: bool) -> Result<(), Refused> {
    let role = text(message, "role").unwrap_or_default();
    if !["user", "assistant"].contains(&role) {
        return Err(invalid(format!("messages.{at}.role: Input should be 'user' or 'assistant'")));
    }
    let ends_in_blank = match message.get("content") {
        Some(Value::String(content)) if !content.is_empty() => content.ends_with(char::is_whitespace),
        Some(Value::Array(content)) if !content.is_empty() => {
            for (place, block) in content.iter().enumerate() {
                blocks::check(&format!("messages.{at}.content.{place}"), role, block)?;
            }
            if let Some("thinking" | "redacted_thinking") =
                content.last().and_then(|block| text(block, "type"))
            {
                let wrong = "The final block in an assistant message cannot be `thinking`.";
                return Err(invalid(format!("messages.{at}: {wrong}")));
            }
            let last = content.last().and_then(|block| text(block, "text"));
            last.is_some_and(|text| text.ends_with(char::is_whitespace))
        }
        Some(Value::String(_) | Value::Array(_)) => {
            return Err(invalid(format!(
                "messages.{at}: all messages must have non-empty content except for the optional final assistant \
                 message"
            )));
        }
        _ => return Err(invalid(format!("messages.{at}.content: Input should be a valid list"))),
    };
    if role == "assistant" && is_last && ends_in_blank {
        return Err(invalid("messages: final assistant content cannot end with trailing whitespace"));
    }
    Ok(())
}

/// Results stand at the start of the message after their calls, all of them, and nowhere else.
fn answered_calls(messages: &[Value]) -> Result<(), Refused> {
    let mut open: Vec<&str> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let mut is_start = true;
        for block in blocks::of(message) {
            if text(block, "type") != Some("tool_result") {
                is_start = false;
                continue;
            }
            let id = text(block, "tool_use_id").unwrap_or_default();
            let call = open.iter().position(|call| *call == id).filter(|_| is_start);
            open.swap_remove(call.ok_or_else(|| orphan(at, id))?);
        }
        if let Some(id) = open.first() {
            return Err(unanswered(at, id));
        }
        open = blocks::of(message).iter().filter_map(|block| called(block)).collect();
        if (1..open.len()).any(|later| open[..later].contains(&open[later])) {
            return Err(invalid(format!("messages.{at}.content: `tool_use` ids must be unique")));
        }
    }
    open.first().map_or(Ok(()), |id| Err(unanswered(messages.len(), id)))
}

fn called(block: &Value) -> Option<&str> {
    text(block, "id").filter(|_| text(block, "type") == Some("tool_use"))
}

fn orphan(at: usize, id: &str) -> Refused {
    invalid(format!(
        "messages.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have \
         a corresponding `tool_use` block in the previous message."
    ))
}

fn unanswered(at: usize, id: &str) -> Refused {
    invalid(format!(
        "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: {id}. Each `tool_use` \
         block must have a corresponding `tool_result` block in the next message."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::anthropic::SIGNATURE;
    use serde_json::json;

    fn message(role: &str, content: &Value) -> Value {
        json!({ "role": role, "content": content })
    }

    fn call(id: &str) -> Value {
        json!({ "type": "tool_use", "id": id, "name": "f", "input": {} })
    }

    fn result(id: &str) -> Value {
        json!({ "type": "tool_result", "tool_use_id": id, "content": "r" })
    }

    #[test]
    fn every_call_has_its_result_in_the_next_message() {
        let say = json!({ "type": "text", "text": "hi" });
        let hi = message("user", &json!("hi"));
        let calls = message("assistant", &json!([say, call("t1"), call("t2")]));
        for (last, is_taken) in [
            (Some(json!([result("t2"), result("t1"), say])), true),
            (Some(json!([result("t1")])), false),
            (Some(json!([say, result("t1"), result("t2")])), false),
            (Some(json!([result("t1"), result("t2"), result("t3")])), false),
            (Some(json!("go on")), false),
            (None, false),
        ] {
            let answer = last.as_ref().map(|content| message("user", content));
            let messages: Vec<Value> = [hi.clone(), calls.clone()].into_iter().chain(answer).collect();
            assert_eq!(check(&messages).is_ok(), is_taken, "{last:?}");
        }
        assert!(check(&[message("user", &json!([result("t1")]))]).is_err());
        let twice = message("assistant", &json!([call("t1"), call("t1")]));
        assert!(check(&[hi, twice, message("user", &json!([result("t1"), result("t1")]))]).is_err());
    }

    #[test]
    fn a_turn_does_not_end_with_what_was_thought() {
        let hi = message("user", &json!("hi"));
        let thought = json!({ "type": "thinking", "thinking": "x", "signature": SIGNATURE });
        let redacted = json!({ "type": "redacted_thinking", "data": "x" });
        let say = json!({ "type": "text", "text": "so" });
        for (content, is_taken) in [
            (json!([thought, redacted, say]), true),
            (json!([thought]), false),
            (json!([say, redacted]), false),
        ] {
            let messages = [hi.clone(), message("assistant", &content), hi.clone()];
            assert_eq!(check(&messages).is_ok(), is_taken, "{content}");
        }
    }

    #[test]
    fn no_more_than_four_blocks_are_marked_for_the_cache() {
        let mark = json!({ "type": "ephemeral" });
        let say = json!({ "type": "text", "text": "so", "cache_control": mark });
        for (count, is_taken) in [(4, true), (5, false)] {
            assert_eq!(check(&[message("user", &json!(vec![say.clone(); count]))]).is_ok(), is_taken);
        }
    }

    #[test]
    fn a_conversation_starts_with_the_user_and_says_something() {
        let hi = message("user", &json!("hi"));
        for messages in [
            vec![message("assistant", &json!("hi"))],
            vec![message("system", &json!("hi"))],
            vec![message("user", &json!(""))],
            vec![message("user", &json!([]))],
            vec![message("user", &json!(null))],
            vec![hi.clone(), message("assistant", &json!("so "))],
        ] {
            assert_eq!(check(&messages).map_err(|refused| refused.status), Err(400), "{messages:?}");
        }
        assert!(check(&[hi, message("assistant", &json!("so"))]).is_ok());
    }
}
