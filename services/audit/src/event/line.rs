//! An entry as a line has it.

use bulkhead_edge::Principal;
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{Attributes, Entry, Event, is_zero};

/// An entry whose keys stand in their order, so that nothing has to be gathered and sorted first.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    /// None where they are text already, which is put before the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a Attributes>,
    event_id: Uuid,
    kind: &'a str,
    logged_time: Timestamp,
    #[serde(skip_serializing_if = "is_empty")]
    outcome: &'a str,
    principal: &'a Principal,
    #[serde(skip_serializing_if = "is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    run_id: &'a str,
    sequence: u64,
    #[serde(skip_serializing_if = "is_empty")]
    session_id: &'a str,
    source: &'a Principal,
    #[serde(skip_serializing_if = "is_zero")]
    step: u32,
    #[serde(skip_serializing_if = "is_empty")]
    subject_id: &'a str,
    time: Timestamp,
    #[serde(skip_serializing_if = "is_empty")]
    tool: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    trace_id: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    traceparent: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn of(entry: &'a Entry) -> Self {
        let Entry { event, logged_time, sequence, source } = entry;
        // By name, so that a field more does not compile here rather than being left out of the log.
        let Event {
            attributes,
            event_id,
            kind,
            outcome,
            principal,
            request_id,
            run_id,
            session_id,
            step,
            subject_id,
            time,
            tool,
            trace_id,
            traceparent,
        } = event;
        Self {
            attributes: attributes.plain().is_none().then_some(attributes),
            event_id: *event_id,
            kind,
            logged_time: *logged_time,
            outcome,
            principal,
            request_id,
            run_id,
            sequence: *sequence,
            session_id,
            source,
            step: *step,
            subject_id,
            time: *time,
            tool,
            trace_id,
            traceparent,
        }
    }
}

fn is_empty(text: &&str) -> bool {
    text.is_empty()
}
