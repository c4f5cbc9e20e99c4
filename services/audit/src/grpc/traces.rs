//! How an append shows in traces.
//!
//! A batch holds events of many traces. By the OpenTelemetry conventions for messaging it has one span, in the trace
//! of the call that brought it, with a link to each span that an event comes from. Beside that, each of those traces
//! gets a span of its own, beneath the first of its events: so whoever looks at a trace sees that it was recorded.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_edge::peer;
use tonic::Status;
use tracing::Span;
use tracing::field::Empty;

use crate::event::Event;
use crate::log::Receipt;

/// Links of one span at most, which is also where the SDK stops.
const LINKS_MAX: usize = 128;

/// The spans of one append. Dropped before its end: its caller went away.
#[derive(Debug)]
pub(super) struct Append {
    batch: Span,
    /// One for each trace.
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    span: Span,
    events: usize,
}

impl Append {
    /// Begins the spans of a batch under the current one.
    pub(super) fn begin(events: &[Event]) -> Self {
        let batch = span("append audit", "append", events.len(), None);
        let sources: BTreeSet<&str> = events.iter().map(|event| event.traceparent.as_str()).collect();
        for source in sources.into_iter().filter(|source| !source.is_empty()).take(LINKS_MAX) {
            bulkhead_telemetry::link_traceparent(&batch, source);
        }
        let parts = by_trace(events).into_iter().map(|(source, count)| Part::begin(source, count, &batch));
        Self { parts: parts.collect(), batch }
    }

    /// The batch's.
    pub(super) fn span(&self) -> Span {
        self.batch.clone()
    }

    /// Ends them all alike, with a line in each trace when the events are on disk.
    pub(super) fn end(self, appended: &Result<Receipt, Status>) {
        if let Err(status) = appended {
            let reason = peer::reason(status);
            for span in self.parts.iter().map(|part| &part.span).chain([&self.batch]) {
                span.record("error.type", reason.as_str());
                span.record("otel.status_code", "ERROR");
            }
            return;
        }
        for part in self.parts {
            part.span.in_scope(|| tracing::info!(events = part.events, "recorded"));
        }
    }
}

impl Part {
    fn begin(source: &str, events: usize, batch: &Span) -> Self {
        let span = span("record audit", "record", events, Some(source));
        bulkhead_telemetry::link_span(&span, batch);
        Self { span, events }
    }
}

/// Where the first event of each trace comes from, and how many there are, in the order of the batch.
fn by_trace(events: &[Event]) -> Vec<(&str, usize)> {
    let mut places = BTreeMap::new();
    let mut parts: Vec<(&str, usize)> = Vec::new();
    for event in events.iter().filter(|event| !event.traceparent.is_empty()) {
        let place = *places.entry(event.trace_id.as_str()).or_insert_with(|| {
            parts.push((event.traceparent.as_str(), 0));
            parts.len() - 1
        });
        parts[place].1 += 1;
    }
    parts
}

/// A consumer's span; under a stored traceparent, or the current span.
fn span(name: &'static str, operation: &'static str, events: usize, parent: Option<&str>) -> Span {
    let enclosing = if parent.is_some() { None } else { Span::current().id() };
    let span = tracing::info_span!(
        parent: enclosing,
        "append",
        otel.name = name,
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "bulkhead",
        messaging.destination.name = "audit",
        messaging.operation.type = "process",
        messaging.operation.name = operation,
        messaging.batch.message_count = i64::try_from(events).unwrap_or(i64::MAX),
        error.type = Empty,
    );
    if let Some(parent) = parent {
        bulkhead_telemetry::adopt_traceparent(&span, parent);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::event;

    #[test]
    fn each_trace_of_a_batch_has_one_part_beneath_its_first_event() {
        let traced = |number, trace_id: &str, traceparent: &str| Event {
            trace_id: trace_id.into(),
            traceparent: traceparent.into(),
            ..event(number, "tool.read")
        };
        let events = [
            traced(1, "b", "b-2"),
            traced(2, "a", "a-1"),
            traced(3, "", ""),
            traced(4, "b", "b-3"),
            traced(5, "c", ""),
        ];
        assert_eq!(by_trace(&events), [("b-2", 2), ("a-1", 1)]);
        assert_eq!(by_trace(&[]), []);
    }
}
