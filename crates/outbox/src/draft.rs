//! An event before it is stored.

use bulkhead_edge::{Principal, wire};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_telemetry::{TracePlace, trace_place};
use jiff::Timestamp;
use prost::bytes::BufMut;
use prost::{EncodeError, Message as _};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::attributes::Attributes;

/// What happened, by whom, in which call. The place in the trace is the current span.
#[derive(Debug, Clone)]
pub struct EventDraft {
    event: pb::Event,
    attributes: Attributes,
}

impl EventDraft {
    /// An event of `kind` (docs/audit-events.md lists them) at `time` by `principal`.
    #[must_use]
    pub fn new(kind: &str, time: Timestamp, principal: &Principal) -> Self {
        let TracePlace { trace_id, traceparent } = trace_place(&tracing::Span::current());
        let event = pb::Event {
            event_id: Uuid::now_v7().to_string(),
            time: Some(wire::timestamp(time)),
            kind: kind.to_owned(),
            principal: Some(principal.into()),
            trace_id,
            traceparent,
            ..pb::Event::default()
        };
        Self { event, attributes: Attributes::Value(json!({})) }
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
        self.attributes = Attributes::Value(attributes);
        self
    }

    /// The same of a type that is a JSON object, for events of which there are many: it is written at once. Quickest with
    /// its fields in the order of their names.
    #[must_use]
    pub fn attributes_of(mut self, attributes: &impl Serialize) -> Self {
        self.attributes = Attributes::of(attributes);
        self
    }

    /// The event as it is stored. Attributes that are too large or have no canonical form are replaced by
    /// their size and hash, so that no event can block the ones behind it.
    #[must_use]
    pub fn into_event(self) -> pb::Event {
        let attributes_json = self.attributes.into_json(&self.event.kind);
        pb::Event { attributes_json, ..self.event }
    }

    /// Encodes the event that stands in for this one if it is never stored: the same, but for an id of its own, how it ended,
    /// and its attributes.
    ///
    /// # Errors
    /// There is no room for it.
    pub fn encode_as(
        &self,
        outcome: &str,
        attributes: &impl Serialize,
        room: &mut impl BufMut,
    ) -> Result<(), EncodeError> {
        let differs = pb::Event {
            event_id: Uuid::now_v7().to_string(),
            outcome: outcome.to_owned(),
            attributes_json: Attributes::of(attributes).into_json(&self.event.kind),
            ..pb::Event::default()
        };
        // Of a field that is there twice, the last one stands (Protocol Buffers, "Last One Wins"), so nothing is copied.
        self.event.encode(room)?;
        differs.encode(room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_edge::PrincipalKind;

    fn new() -> EventDraft {
        let ada = Principal {
            tenant: "default".into(),
            kind: PrincipalKind::Person,
            name: "ada".into(),
            owner: None,
        };
        EventDraft::new("tool.intent", Timestamp::UNIX_EPOCH, &ada)
    }

    /// Whichever way the attributes come.
    fn draft(attributes: Value) -> pb::Event {
        let of_type = new().attributes_of(&attributes).into_event();
        let of_value = new().attributes(attributes).into_event();
        assert_eq!(of_type.attributes_json, of_value.attributes_json);
        of_type
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
        let key = draft(json!({ "ghp_0123456789012345678901234567890123": "a" }));
        assert_eq!(key.attributes_json, r#"{"[redacted]":"a"}"#);
    }

    #[test]
    fn attributes_are_canonical_and_kept_as_they_are() {
        let event =
            draft(json!({ "b": [1, null, "claude-sonnet-4"], "a": { "é": 0.5 }, "token": "abcdefghi" }));
        let told = r#"{"a":{"é":0.5},"b":[1,null,"claude-sonnet-4"],"token":"abcdefghi"}"#;
        assert_eq!(event.attributes_json, told);
        let large = draft(json!({ "a": 9_007_199_254_740_993_u64 }));
        assert!(large.attributes_json.contains("omitted_sha256"), "{}", large.attributes_json);
    }

    #[test]
    fn what_is_written_in_case_this_is_never_stored_tells_of_the_same() {
        let draft = new().subject("s").outcome("answered").attributes_of(&json!({ "a": 1 }));
        let mut written = Vec::new();
        draft.encode_as("unknown", &json!({ "b": "Bearer abcdefghijkl" }), &mut written).expect("fits");
        let other = pb::Event::decode(written.as_slice()).expect("an event");
        let event = draft.clone().into_event();
        assert_ne!(other.event_id, event.event_id);
        let expected = pb::Event {
            event_id: other.event_id.clone(),
            outcome: "unknown".into(),
            attributes_json: r#"{"b":"[redacted]"}"#.into(),
            ..event
        };
        assert_eq!(other, expected);
        let mut room = [0; 64];
        assert!(draft.encode_as("unknown", &json!({}), &mut room.as_mut_slice()).is_err());
    }
}
