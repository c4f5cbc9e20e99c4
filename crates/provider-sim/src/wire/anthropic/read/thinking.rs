//! Thinking that is shown, and what it excludes.

use serde_json::Value;

use super::{blocks, invalid};
use crate::wire::check::{given, list};
use crate::wire::question::{Choice, Refused};
use crate::wire::text;

/// Tokens of a budget at least.
const BUDGET_MIN: u64 = 1_024;
/// The smallest `top_p` beside thinking.
const TOP_P_MIN: f64 = 0.95;

/// Whether the model thinks.
pub(super) fn read(body: &Value, choice: &Choice) -> Result<bool, Refused> {
    let Some(thinking) = given(body, "thinking") else { return Ok(false) };
    match text(thinking, "type").unwrap_or_default() {
        "disabled" => return Ok(false),
        "enabled" => check_budget(thinking, body)?,
        "adaptive" => {}
        other => {
            return Err(invalid(format!(
                "thinking: Input tag '{other}' found using 'type' does not match any of the expected tags: 'adaptive', \
                 'disabled', 'enabled'"
            )));
        }
    }
    if matches!(choice, Choice::Forced | Choice::Named(_)) {
        return Err(invalid("Thinking may not be enabled when tool_choice forces tool use."));
    }
    check_sampling(body)?;
    check_last_turn(list(body, "messages"))?;
    Ok(true)
}

fn check_budget(thinking: &Value, body: &Value) -> Result<(), Refused> {
    let budget = thinking.get("budget_tokens").and_then(Value::as_u64);
    let budget = budget.ok_or_else(|| invalid("thinking.enabled.budget_tokens: Field required"))?;
    if budget < BUDGET_MIN {
        let right = format!("Input should be greater than or equal to {BUDGET_MIN}");
        return Err(invalid(format!("thinking.enabled.budget_tokens: {right}")));
    }
    if body.get("max_tokens").and_then(Value::as_u64).is_some_and(|tokens| tokens <= budget) {
        return Err(invalid("`max_tokens` must be greater than `thinking.budget_tokens`."));
    }
    Ok(())
}

fn check_sampling(body: &Value) -> Result<(), Refused> {
    let number = |field: &str| given(body, field).and_then(Value::as_f64);
    if number("temperature").is_some_and(|temperature| temperature < 1.0) {
        return Err(invalid("`temperature` may only be set to 1 when thinking is enabled."));
    }
    if number("top_p").is_some_and(|top_p| top_p < TOP_P_MIN) {
        return Err(invalid(
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
        ));
    }
    if given(body, "top_k").is_some() {
        return Err(invalid("`top_k` must be unset when thinking is enabled."));
    }
    Ok(())
}

/// A turn that called tools and goes on has to begin with what the model thought when it called them.
fn check_last_turn(messages: &[Value]) -> Result<(), Refused> {
    let is_turn = |message: &&Value| text(message, "role") == Some("assistant");
    let blocks = messages.iter().rfind(is_turn).map_or(&[][..], blocks::of);
    let kind = |block: &Value| text(block, "type").unwrap_or_default().to_owned();
    let first = blocks.first().map(kind).unwrap_or_default();
    let calls = blocks.iter().any(|block| kind(block) == "tool_use");
    if calls && !["thinking", "redacted_thinking"].contains(&first.as_str()) {
        return Err(invalid(format!(
            "messages: Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is enabled, a \
             final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
             `tool_result` blocks)."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn thinks(thinking: Value, more: &Value) -> Result<bool, u16> {
        let mut body = json!({ "max_tokens": 4_096, "thinking": thinking });
        for (field, value) in more.as_object().expect("fields") {
            body[field] = value.clone();
        }
        read(&body, &Choice::Free).map_err(|refused| refused.status)
    }

    #[test]
    fn thinking_is_enabled_within_its_budget() {
        let enabled = |budget: u64| json!({ "type": "enabled", "budget_tokens": budget });
        for (thinking, expected) in [
            (Value::Null, Ok(false)),
            (json!({ "type": "disabled" }), Ok(false)),
            (json!({ "type": "adaptive" }), Ok(true)),
            (enabled(1_024), Ok(true)),
            (enabled(1_023), Err(400)),
            (enabled(4_096), Err(400)),
            (json!({ "type": "enabled" }), Err(400)),
            (json!(true), Err(400)),
        ] {
            assert_eq!(thinks(thinking.clone(), &json!({})), expected, "{thinking}");
        }
    }

    #[test]
    fn thinking_excludes_what_the_provider_says() {
        let call = json!({ "type": "tool_use", "id": "t", "name": "f", "input": {} });
        let thought = json!({ "type": "thinking", "thinking": "x", "signature": "s" });
        let turn = |content: Value| json!({ "messages": [{ "role": "assistant", "content": content }] });
        for (more, is_taken) in [
            (json!({ "temperature": 1.0 }), true),
            (json!({ "temperature": 0.5 }), false),
            (json!({ "top_p": 0.95 }), true),
            (json!({ "top_p": 0.9 }), false),
            (json!({ "top_k": 5 }), false),
            (turn(json!([thought, call])), true),
            (turn(json!([call])), false),
        ] {
            let thinking = json!({ "type": "enabled", "budget_tokens": 1_024 });
            assert_eq!(thinks(thinking, &more).is_ok(), is_taken, "{more}");
        }
        let body = json!({ "thinking": { "type": "adaptive" } });
        assert!(read(&body, &Choice::Forced).is_err());
    }
}
