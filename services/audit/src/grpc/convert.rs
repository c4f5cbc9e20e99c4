//! From messages to types and back; every violation is told at once.

use bulkhead_edge::page::Page;
use bulkhead_edge::principal::is_name;
use bulkhead_edge::{Principal, Violations, wire};
use bulkhead_proto::audit::v1 as pb;
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Status;

use crate::event::{Attributes, Event, LineError, is_kind};
use crate::index::{Filter, Order};
use crate::log::Batch;
use crate::query::Recorded;

/// Events in one call at most.
const EVENTS_MAX: usize = 256;
/// Characters of a free identifier at most.
const TEXT_MAX: usize = 128;

/// Bytes of an event that makes a line of at most half the length that is allowed.
const SHORT_BYTES: usize = 4_096;
/// Levels that are surely not too many.
const SHALLOW: usize = 32;

const OUTCOME: &str = "must be at most 64 of [a-z_]";
const TRACEPARENT: &str = "must be a W3C traceparent of version 00, or empty";
const TRACE_ID: &str = "must be 32 lower-case hex digits, or empty";
const TEXT: &str = "must be at most 128 characters and hold no control characters";

/// A checked query.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) filter: Filter,
    pub(super) page: Page,
    /// What a page token is bound to.
    pub(super) fingerprint: String,
}

pub(super) fn batch(request: pb::AppendEventsRequest, source: &Principal) -> Result<Batch, Status> {
    let mut violations = Violations::new();
    violations.uuid("request_id", &request.request_id);
    let count = request.events.len();
    violations.require((1..=EVENTS_MAX).contains(&count), "events", "must hold 1 to 256 events");
    violations.finish(Some(()))?;

    let mut violations = Violations::new();
    let mut events = Vec::with_capacity(count);
    for (at, message) in request.events.into_iter().enumerate() {
        let mut inner = Violations::new();
        let event = event(message, &mut inner);
        if !inner.is_empty() {
            violations.add_within(&format!("events[{at}]"), inner);
        }
        if let Some((event, Fits::Unknown)) = &event {
            check_line(event, at, source, &mut violations);
        }
        events.extend(event.map(|(event, _)| event));
    }
    let complete = events.len() == count;
    let batch = Batch { events, source: source.clone() };
    // A sender whose outbox is stuck on one bad event can tell that from every other refusal.
    Ok(violations.finish_as("INVALID_EVENT", complete.then_some(batch))?)
}

/// Whether an event is known to fit into a line.
#[derive(Debug, Clone, Copy)]
enum Fits {
    Surely,
    Unknown,
}

/// Says what is wrong by the names of the event's own fields: nearly always nothing is, and no name is made up then.
fn event(message: pb::Event, violations: &mut Violations) -> Option<(Event, Fits)> {
    let fits = fits(&message);
    let event_id = violations.uuid("event_id", &message.event_id);
    let time = time(message.time, "time", violations);
    violations.require(
        is_kind(&message.kind),
        "kind",
        "must be 3 to 64 characters of [a-z_] in two or more parts with dots between",
    );
    check_texts(&message, violations);
    let principal = Principal::read(message.principal, "principal", violations);
    let attributes = attributes(message.attributes_json, "attributes_json", violations);
    let event = Event {
        attributes: attributes?,
        event_id: event_id?,
        kind: message.kind,
        outcome: message.outcome,
        principal: principal?,
        request_id: message.request_id,
        run_id: message.run_id,
        session_id: message.session_id,
        step: message.step,
        subject_id: message.subject_id,
        time: time?,
        tool: message.tool,
        trace_id: message.trace_id,
        traceparent: message.traceparent,
    };
    Some((event, fits))
}

fn time(sent: Option<Timestamp>, field: &str, violations: &mut Violations) -> Option<jiff::Timestamp> {
    violations.require(sent.is_some(), field, "is required");
    wire::read_timestamp(sent?, field, violations)
}

fn check_texts(message: &pb::Event, violations: &mut Violations) {
    violations.context_id("session_id", &message.session_id);
    violations.context_id("run_id", &message.run_id);
    violations.require(is_outcome(&message.outcome), "outcome", OUTCOME);
    violations.require(is_trace_id(&message.trace_id), "trace_id", TRACE_ID);
    check_traceparent(message, violations);
    for (name, text) in
        [("tool", &message.tool), ("request_id", &message.request_id), ("subject_id", &message.subject_id)]
    {
        violations.require(is_text(text), name, TEXT);
    }
}

/// Whether the event makes a line without a look at the line: canonical JSON is never more than six times as long as what
/// it is made of, and so few brackets are no deep nest.
fn fits(message: &pb::Event) -> Fits {
    let brackets = message.attributes_json.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    let surely = message.encoded_len() <= SHORT_BYTES && brackets <= SHALLOW;
    if surely { Fits::Surely } else { Fits::Unknown }
}

/// A span belongs to the trace that the event names, or one of the two would mislead.
fn check_traceparent(message: &pb::Event, violations: &mut Violations) {
    if message.traceparent.is_empty() {
        return;
    }
    let trace_id = bulkhead_telemetry::trace_id_of(&message.traceparent);
    violations.require(trace_id.is_some(), "traceparent", TRACEPARENT);
    let same = trace_id.is_none_or(|trace_id| trace_id == message.trace_id);
    violations.require(same, "trace_id", "must be that of the traceparent");
}

fn attributes(text: String, field: &str, violations: &mut Violations) -> Option<Attributes> {
    match Attributes::read(text) {
        Ok(Some(attributes)) => Some(attributes),
        Ok(None) => {
            violations.add(field, "must be a JSON object, or empty");
            None
        }
        Err(error) => {
            violations.add(field, format!("must be a strict JSON object: {error}"));
            None
        }
    }
}

fn check_line(event: &Event, at: usize, source: &Principal, violations: &mut Violations) {
    let field = format!("events[{at}]");
    match event.check_line(source) {
        Ok(()) => {}
        Err(LineError::TooLong { bytes }) => violations.add(
            field,
            format!("event {} would make a line of up to {bytes} bytes; 65535 are allowed", event.event_id),
        ),
        Err(error) => violations.add(field, format!("event {}: {error}", event.event_id)),
    }
}

fn is_outcome(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

fn is_trace_id(text: &str) -> bool {
    text.is_empty() || text.len() == 32 && text.chars().all(|c| c.is_ascii_digit() || matches!(c, 'a'..='f'))
}

fn is_text(text: &str) -> bool {
    text.chars().count() <= TEXT_MAX && !text.chars().any(char::is_control)
}

pub(super) fn query(request: pb::QueryEventsRequest, tenant: &str) -> Result<Wanted, Status> {
    let mut violations = Violations::new();
    let start = request.start_time.and_then(|time| wire::read_timestamp(time, "start_time", &mut violations));
    let end = request.end_time.and_then(|time| wire::read_timestamp(time, "end_time", &mut violations));
    if let (Some(start), Some(end)) = (start, end) {
        violations.require(start <= end, "end_time", "must not be before start_time");
    }
    let kind = request.kind.strip_suffix('.').unwrap_or(&request.kind);
    let kind_fits =
        kind.len() <= 64 && kind.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'));
    violations.require(kind_fits, "kind", "must be a kind such as tool.intent, or a prefix such as tool.");
    check_filters(&request, &mut violations);
    let filter = Filter {
        tenant: tenant.to_owned(),
        start,
        end,
        kind: request.kind,
        principal_name: request.principal_name,
        session_id: request.session_id,
        tool: request.tool,
        outcome: request.outcome,
        trace_id: request.trace_id,
        subject_id: request.subject_id,
        order: if request.newest_first { Order::NewestFirst } else { Order::OldestFirst },
    };
    // The order is a part of it: a cursor means something else the other way round.
    let fingerprint = format!("{filter:?}");
    let page = Page::read(request.page_size, &request.page_token, &fingerprint, &mut violations);
    Ok(violations.finish(Some(Wanted { filter, page, fingerprint }))?)
}

/// A filter that no event can match is a mistake, not an empty answer.
fn check_filters(request: &pb::QueryEventsRequest, violations: &mut Violations) {
    violations.context_id("session_id", &request.session_id);
    let name = &request.principal_name;
    violations.require(
        name.is_empty() || is_name(name),
        "principal_name",
        "must be 1 to 64 of [a-z0-9._-], or empty",
    );
    violations.require(is_outcome(&request.outcome), "outcome", OUTCOME);
    violations.require(is_trace_id(&request.trace_id), "trace_id", TRACE_ID);
    for (field, text) in [("tool", &request.tool), ("subject_id", &request.subject_id)] {
        violations.require(is_text(text), field, TEXT);
    }
}

pub(super) fn recorded(recorded: Recorded) -> pb::RecordedEvent {
    let entry = recorded.entry;
    let event = entry.event;
    pb::RecordedEvent {
        sequence: entry.sequence,
        line: recorded.line,
        source: Some((&entry.source).into()),
        logged_time: Some(wire::timestamp(entry.logged_time)),
        event: Some(pb::Event {
            event_id: event.event_id.to_string(),
            time: Some(wire::timestamp(event.time)),
            kind: event.kind,
            principal: Some((&event.principal).into()),
            session_id: event.session_id,
            run_id: event.run_id,
            step: event.step,
            tool: event.tool,
            outcome: event.outcome,
            trace_id: event.trace_id,
            traceparent: event.traceparent,
            request_id: event.request_id,
            subject_id: event.subject_id,
            attributes_json: event.attributes.into_text(),
            ..pb::Event::default()
        }),
    }
}
