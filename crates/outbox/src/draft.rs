//! An event before it is stored.

use bulkhead_canonical_json as canonical;
use bulkhead_edge::{Principal, wire};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::common::v1::RunContext;
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::redact::redact_value;

/// Attributes at most; with the other fields the line stays well below 65,535 bytes.
const ATTRIBUTES_BYTES_MAX: usize = 48 << 10;

/// What happened, by whom, in which call. The place in the trace is the current span.
#[derive(Debug, Clone)]
pub struct EventDraft {
    event: pb::Event,
    attributes: Value,
}

impl EventDraft {
    /// An event of `kind` (docs/audit-events.md lists them) at `time` by `principal`.
    #[must_use]
    pub fn new(kind: &str, time: Timestamp, principal: &Principal) -> Self {
        let span = tracing::Span::current();
        let event = pb::Event {
            event_id: Uuid::now_v7().to_string(),
            time: Some(wire::timestamp(time)),
            kind: kind.to_owned(),
            principal: Some(principal.into()),
            trace_id: bulkhead_telemetry::trace_id(&span),
            traceparent: bulkhead_telemetry::traceparent(&span),
            ..pb::Event::default()
        };
        Self { event, attributes: json!({}) }
    }

    /// Where in an agent's work it belongs.
    #[must_use]
    pub fn context(mut self, context: &RunContext) -> Self {
        self.event.session_id.clone_from(&context.session_id);
        self.event.run_id.clone_from(&context.run_id);
        self.event.step = context.step;
        self
    }

    /// The session alone.
    #[must_use]
    pub fn session(mut self, session_id: &str) -> Self {
        session_id.clone_into(&mut self.event.session_id);
        self
    }

    /// The tool it is about.
    #[must_use]
    pub fn tool(mut self, tool: &str) -> Self {
        tool.clone_into(&mut self.event.tool);
        self
    }

    /// How it ended.
    #[must_use]
    pub fn outcome(mut self, outcome: &str) -> Self {
        outcome.clone_into(&mut self.event.outcome);
        self
    }

    /// The id of what it is about.
    #[must_use]
    pub fn subject(mut self, subject_id: impl ToString) -> Self {
        self.event.subject_id = subject_id.to_string();
        self
    }

    /// The id of the call that caused it.
    #[must_use]
    pub fn request(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.event.request_id);
        self
    }

    /// The rest, as a JSON object: paths, sizes, hashes, counts; never file content, never a secret. What
    /// looks like a credential is redacted all the same.
    #[must_use]
    pub fn attributes(mut self, attributes: Value) -> Self {
        self.attributes = attributes;
        self
    }

    /// The event as it is stored. Attributes that are too large or have no canonical form are replaced by
    /// their size and hash, so that no event can block the ones behind it.
    #[must_use]
    pub fn into_event(self) -> pb::Event {
        let redacted = redact_value(self.attributes);
        // The log nests them one level deeper, so what would only just fit here is judged as it will stand.
        let nested = Value::Array(vec![redacted]);
        let text = match canonical::of_value(&nested) {
            Ok(line) => match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                Some(text) if text.len() <= ATTRIBUTES_BYTES_MAX => text.to_owned(),
                Some(_) | None => summary(&line),
            },
            Err(error) => {
                tracing::error!(%error, kind = self.event.kind, "attributes without a canonical form");
                summary(&nested.to_string())
            }
        };
        pb::Event { attributes_json: text, ..self.event }
    }
}

/// Of attributes within brackets.
fn summary(nested: &str) -> String {
    let text = nested.strip_prefix('[').and_then(|nested| nested.strip_suffix(']')).unwrap_or(nested);
    let sha256 = canonical::sha256_hex(text);
    json!({ "omitted_bytes": text.len(), "omitted_sha256": sha256 }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_edge::PrincipalKind;

    fn draft(attributes: Value) -> pb::Event {
        let ada = Principal {
            tenant: "default".into(),
            kind: PrincipalKind::Person,
            name: "ada".into(),
            owner: None,
        };
        EventDraft::new("tool.intent", Timestamp::UNIX_EPOCH, &ada).attributes(attributes).into_event()
    }

    #[test]
    fn attributes_that_would_not_fit_are_replaced_by_their_hash() {
        let event = draft(json!({ "text": "x".repeat(60_000) }));
        let attributes: Value = serde_json::from_str(&event.attributes_json).expect("json");
        assert_eq!(attributes["omitted_bytes"], 60_011);
        assert!(event.attributes_json.len() < 200);
    }

    #[test]
    fn attributes_that_nest_too_deep_for_a_line_are_replaced_by_their_hash() {
        let deep = |levels: usize| (1..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
        assert!(draft(deep(63)).attributes_json.starts_with(r#"{"a":"#));
        assert!(draft(deep(64)).attributes_json.contains("omitted_bytes"));
    }

    #[test]
    fn credentials_never_enter_an_event() {
        let event = draft(json!({ "path": "a", "note": "key sk-ant-api03-abcdefghijklmnopqrstuvwx here" }));
        assert!(!event.attributes_json.contains("abcdefghijkl"), "{}", event.attributes_json);
        assert!(event.attributes_json.contains("[redacted]"));
    }
}
