//! The same id with something else: another payload, another caller.

use anyhow::Context as _;
use bulkhead_proto::refused;
use bulkhead_tests::probe::{Method, settle};
use prost_reflect::{DynamicMessage, ReflectMessage as _};
use serde_json::{Value, json};
use uuid::Uuid;

/// Somebody else with the role, by the file of their token in the data folder.
pub(crate) const HOLDERS: [(&str, &str); 3] =
    [("agent", "tokens/operator"), ("approver", "tokens/operator"), ("service", "keys/audit.token")];

/// What is no part of a payload: the name itself, how long to wait for an answer, what follows from another
/// field, and a route, of which the sandbox has only one.
const NOT_COMPARED: [&str; 4] = ["request_id", "wait_for_approval", "route", "plan_digest"];

/// For each field of the payload the message with another value there, which is valid too.
pub(crate) fn other_payloads(
    method: &Method,
    sample: &DynamicMessage,
) -> anyhow::Result<Vec<(String, DynamicMessage)>> {
    let mut others = Vec::new();
    let descriptor = sample.descriptor();
    let fields = descriptor.fields();
    for field in fields.filter(|field| !NOT_COMPARED.contains(&field.name()) && !refused::is_refused(field)) {
        let value = another(&method.rule.method, field.name());
        let value = value.with_context(|| format!("no other {} here: add one", field.full_name()))?;
        let mut message = serde_json::to_value(sample)?;
        message[field.json_name()] = value;
        let mut other = DynamicMessage::deserialize(sample.descriptor(), message)?;
        if field.name() == "plan_json" {
            settle(&mut other);
        }
        others.push((field.name().to_owned(), other));
    }
    Ok(others)
}

fn another(method: &str, field: &str) -> Option<Value> {
    let value = match (method, field) {
        ("Generate", "system") => json!("Be long."),
        ("Generate", "messages") => json!([{"role": "ROLE_USER", "content": [{"text": "Hello"}]}]),
        ("Generate", "tools") => json!([]),
        ("Generate", "max_output_tokens") => json!(7),
        ("Generate", "temperature") => json!(0.9),
        ("Generate", "tool_choice") => json!({"mode": "TOOL_CHOICE_MODE_NONE"}),
        ("Generate", "response_format") => json!({"kind": "RESPONSE_FORMAT_KIND_JSON_OBJECT"}),
        ("Generate", "stop_sequences") => json!(["END"]),
        ("Generate", "seed") => json!("7"),
        ("Generate", "top_p") => json!(0.5),
        ("Generate", "thinking_tokens_max") => json!(50),
        ("Generate", "limits") => json!({"attemptsMax": 2}),
        ("StreamGenerate", "generate") => {
            json!({"messages": [{"role": "ROLE_USER", "content": [{"text": "Hello"}]}]})
        }
        ("ExecuteToolCall", "call") => json!({"tool": "fs.list", "argumentsJson": "{}"}),
        ("UndoExecution", "force") => json!(true),
        ("CreateApproval", "on_behalf_of") => {
            json!({"tenant": "default", "kind": "PRINCIPAL_KIND_AGENT", "name": "another"})
        }
        ("CreateApproval", "plan_json") => json!("{\"tool\":\"another\"}"),
        ("CreateApproval", "requirements") => json!([{"role": "approver", "count": 2}]),
        ("CreateApproval", "expires_in") => json!("60s"),
        ("CreateApproval", "session_id") => json!("s-2"),
        ("DecideApproval", "decision") => json!("DECISION_APPROVE"),
        ("DecideApproval" | "CancelApproval" | "ResolveExecution", "reason") => json!("another"),
        ("ResolveExecution", "happened") => json!("HAPPENED_NO"),
        (_, "context") => json!({"step": 2}),
        (_, "execution_id" | "approval_id") => json!(Uuid::now_v7()),
        _ => return None,
    };
    Some(value)
}
