//! Log lines: one JSON object each, on standard error. `docs/telemetry.md` describes them.
//!
//! Promises that a line is one line whatever is logged, that request, trace and span id stand at its top where
//! it belongs to a call, and that no key stands twice, unless an event or a span names a field twice itself.

mod writer;

use std::cell::RefCell;
use std::fmt;

use opentelemetry::Context as TraceContext;
use opentelemetry::trace::TraceContextExt as _;
use serde::Serializer as _;
use serde::de::IgnoredAny;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

pub(crate) use writer::LineWriter;

/// Keys that a line has of its own; a field of the same name is written as `field.<name>`.
const OWN_KEYS: [&str; 8] =
    ["timestamp", "level", "target", "message", "request_id", "trace_id", "span_id", "spans"];

/// Names the call that a span belongs to; it moves from the span to the top of the line.
pub(crate) const REQUEST_ID: &str = "request_id";

/// Room for the fields of a span, so that most need no more while they are rendered.
const FIELDS_BYTES: usize = 256;

/// Writes an event as a line.
#[derive(Debug)]
pub(crate) struct JsonLines {
    writer: LineWriter,
}

impl JsonLines {
    pub(crate) fn new(writer: LineWriter) -> Self {
        Self { writer }
    }
}

/// What lines under a span repeat of it: its fields, already rendered.
struct Rendered {
    fields: Fields,
    request_id: Option<String>,
    /// A bit for each field that is in `fields`, by its place among those of the span.
    told: u64,
}

impl Rendered {
    fn new() -> Self {
        let json = Vec::with_capacity(FIELDS_BYTES);
        Self { fields: Fields { json, message: Vec::new() }, request_id: None, told: 0 }
    }

    /// The fields, without what an earlier record said of `field`.
    fn instead_of(&mut self, field: &Field) -> &mut Fields {
        let bit = u32::try_from(field.index()).ok().and_then(|index| 1_u64.checked_shl(index));
        // The bits are there so that what is told for the first time is not searched for. What has none might have been told.
        if bit.is_none_or(|bit| self.told & bit != 0) {
            self.fields.forget(field.name());
        }
        self.told |= bit.unwrap_or_default();
        &mut self.fields
    }
}

impl Visit for Rendered {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            REQUEST_ID => self.request_id = Some(format!("{value:?}")),
            // Addressed to the exporter of spans.
            name if name.starts_with("otel.") => {}
            _ => self.instead_of(field).record_debug(field, value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            REQUEST_ID => self.request_id = Some(value.to_owned()),
            name if name.starts_with("otel.") => {}
            _ => self.instead_of(field).record_str(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.instead_of(field).record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.instead_of(field).record_u64(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.instead_of(field).record_f64(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.instead_of(field).record_bool(field, value);
    }
}

/// `,"key":value` for each field, in a piece.
#[derive(Default)]
struct Fields {
    json: Vec<u8>,
    message: Vec<u8>,
}

impl Fields {
    fn key(&mut self, field: &Field) {
        self.json.extend_from_slice(b",\"");
        self.json.extend_from_slice(beside_own(field.name()).as_bytes());
        self.json.extend_from_slice(field.name().as_bytes());
        self.json.extend_from_slice(b"\":");
    }

    /// Takes out what is told of the field `name`. Within a value every quotation mark has a backslash before it, and the one at
    /// its end is followed by a comma or by nothing: so nothing but a key reads like one.
    fn forget(&mut self, name: &str) {
        let key = format!(",\"{}{name}\":", beside_own(name));
        let Some(start) = find(&self.json, key.as_bytes()) else { return };
        let value = start + key.len();
        let end = value + value_bytes(&self.json[value..]);
        self.json.drain(start..end);
    }
}

/// How many bytes the JSON value takes that `json` begins with.
fn value_bytes(json: &[u8]) -> usize {
    let mut values = serde_json::Deserializer::from_slice(json).into_iter::<IgnoredAny>();
    values.next();
    values.byte_offset()
}

/// What goes before a field's name, so that it is not taken for a key of the line's own.
fn beside_own(name: &str) -> &'static str {
    if OWN_KEYS.contains(&name) { "field." } else { "" }
}

/// Where `part` first stands.
fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            text(&mut self.message, value);
            return;
        }
        self.key(field);
        text(&mut self.json, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            string(&mut self.message, value);
            return;
        }
        self.key(field);
        string(&mut self.json, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.key(field);
        number(&mut self.json, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.key(field);
        number(&mut self.json, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.key(field);
        number(&mut self.json, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.key(field);
        number(&mut self.json, value);
    }
}

/// A JSON string of what `Debug` shows, escaped while it is shown.
fn text(json: &mut Vec<u8>, value: &dyn fmt::Debug) {
    let start = json.len();
    if serde_json::Serializer::new(&mut *json).collect_str(&format_args!("{value:?}")).is_err() {
        json.truncate(start);
        json.extend_from_slice(b"\"(cannot be shown)\"");
    }
}

fn string(json: &mut Vec<u8>, value: &str) {
    // Writing into memory cannot fail, and every string is JSON.
    drop(serde_json::to_writer(json, value));
}

/// A number or a boolean; what is no finite number becomes `null`.
fn number(json: &mut Vec<u8>, value: impl serde::Serialize) {
    drop(serde_json::to_writer(json, &value));
}

impl<S> Layer<S> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut rendered = Rendered::new();
        attributes.record(&mut rendered);
        span.extensions_mut().insert(rendered);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(rendered) = span.extensions_mut().get_mut::<Rendered>() {
            values.record(rendered);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = RefCell::default();
        }
        SCRATCH.with(|scratch| {
            // Logging from inside the rendering of a field would find it taken: such a line gets its own.
            let mut own = Scratch::default();
            let mut shared = scratch.try_borrow_mut();
            let scratch = shared.as_deref_mut().unwrap_or(&mut own);
            scratch.clear();
            scratch.render(event, &context);
            self.writer.append(&scratch.line, *event.metadata().level() <= Level::WARN);
        });
    }
}

/// Where lines are put together; kept, so that a line allocates nothing.
#[derive(Default)]
struct Scratch {
    line: Vec<u8>,
    timestamp: String,
    fields: Fields,
    spans: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        self.line.clear();
        self.timestamp.clear();
        self.fields.json.clear();
        self.fields.message.clear();
        self.spans.clear();
    }

    fn render<S>(&mut self, event: &Event<'_>, context: &Context<'_, S>)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Self { line, timestamp, fields, spans } = self;
        event.record(fields);
        head(line, timestamp, event.metadata());
        if !fields.message.is_empty() {
            line.extend_from_slice(b",\"message\":");
            line.extend_from_slice(&fields.message);
        }
        let id_from = line.len();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let Some(rendered) = extensions.get::<Rendered>() else { continue };
            if let Some(id) = &rendered.request_id {
                // The innermost call is the one that the line belongs to.
                line.truncate(id_from);
                line.extend_from_slice(b",\"request_id\":");
                string(line, id);
            }
            spans.extend_from_slice(if spans.is_empty() {
                b",\"spans\":[{\"name\":"
            } else {
                b",{\"name\":"
            });
            string(spans, span.name());
            spans.extend_from_slice(&rendered.fields.json);
            spans.push(b'}');
        }
        trace(line);
        line.extend_from_slice(&fields.json);
        if !spans.is_empty() {
            line.extend_from_slice(spans);
            line.push(b']');
        }
        line.extend_from_slice(b"}\n");
    }
}

fn head(line: &mut Vec<u8>, timestamp: &mut String, metadata: &Metadata<'_>) {
    if SystemTime.format_time(&mut Writer::new(timestamp)).is_err() {
        // Writing into memory does not fail; a line without its time is still a line.
        timestamp.clear();
    }
    line.extend_from_slice(b"{\"timestamp\":\"");
    line.extend_from_slice(timestamp.as_bytes());
    line.extend_from_slice(b"\",\"level\":\"");
    line.extend_from_slice(metadata.level().as_str().as_bytes());
    line.extend_from_slice(b"\",\"target\":");
    string(line, metadata.target());
}

/// The ids of the span that is entered, which the trace layer has made current.
fn trace(line: &mut Vec<u8>) {
    let ids = TraceContext::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| (context.trace_id(), context.span_id()))
    });
    if let Some((trace_id, span_id)) = ids {
        line.extend_from_slice(b",\"trace_id\":\"");
        hexadecimal(line, &trace_id.to_bytes());
        line.extend_from_slice(b"\",\"span_id\":\"");
        hexadecimal(line, &span_id.to_bytes());
        line.push(b'"');
    }
}

/// In lower case, which needs no escaping.
fn hexadecimal(line: &mut Vec<u8>, bytes: &[u8]) {
    let digits = |byte: &u8| [byte >> 4, byte & 0xf];
    let digit = |value: u8| if value < 10 { b'0' + value } else { b'a' + value - 10 };
    line.extend(bytes.iter().flat_map(digits).map(digit));
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Sink;
