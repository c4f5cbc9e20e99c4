use std::time::Duration;

use opentelemetry::logs::AnyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::logs::in_memory_exporter::LogDataWithResource;
use opentelemetry_sdk::logs::{InMemoryLogExporter, SdkLoggerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt as _;

use super::Logs;
use crate::lines::{JsonLines, LineWriter, Sink};
use crate::traces;

/// What was told in each of the three ways.
struct Told {
    lines: Vec<Value>,
    /// The bodies of the log records, and the request that each belongs to.
    records: Vec<(String, Option<String>)>,
    /// The names of the spans.
    spans: Vec<String>,
}

impl Told {
    fn messages(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line["message"].as_str().unwrap()).collect()
    }
}

fn recorded(log: &LogDataWithResource) -> (String, Option<String>) {
    let text = |value: &AnyValue| match value {
        AnyValue::String(text) => text.to_string(),
        other => format!("{other:?}"),
    };
    let mut attributes = log.record.attributes_iter();
    let request_id = attributes.find(|(key, _)| key.as_str() == "request_id");
    (text(log.record.body().unwrap()), request_id.map(|(_, value)| text(value)))
}

fn told(filter: &str, happening: impl FnOnce()) -> Told {
    let sink = Sink::default();
    let writer = LineWriter::start(sink.clone()).unwrap();
    let (spans, records) = (InMemorySpanExporter::default(), InMemoryLogExporter::default());
    let tracer = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
    let logger = SdkLoggerProvider::builder().with_simple_exporter(records.clone()).build();
    let logs = Logs::new(filter.parse().unwrap(), JsonLines::new(writer.clone()), Some(&logger));
    let subscriber = tracing_subscriber::registry().with(traces(tracer.tracer("test"))).with(logs);
    tracing::subscriber::with_default(subscriber, happening);
    writer.flush(Duration::from_secs(20));
    let spans = spans.get_finished_spans().unwrap().into_iter().map(|span| span.name.into_owned()).collect();
    let records = records.get_emitted_logs().unwrap().iter().map(recorded).collect();
    Told { lines: sink.lines(), records, spans }
}

#[test]
fn an_event_is_a_line_and_a_record_of_its_call() {
    let told = told("info", || {
        let call = tracing::info_span!("rpc", request_id = "r-1");
        let _in_call = call.entered();
        tracing::info_span!("chat", model = "m").in_scope(|| tracing::info!("inside"));
        tracing::debug!("not asked for");
    });
    assert_eq!(told.messages(), ["inside"]);
    assert_eq!(told.lines[0]["request_id"], "r-1");
    assert_eq!(told.records, [("inside".to_owned(), Some("r-1".to_owned()))]);
    assert_eq!(told.spans, ["chat", "rpc"]);
}

#[test]
fn spans_are_traced_whatever_is_logged() {
    let told = told("warn", || {
        let call = tracing::info_span!("rpc", request_id = "r-1", code = tracing::field::Empty).entered();
        call.record("code", "OK");
        tracing::info!("not asked for");
        tracing::warn!("asked for");
    });
    assert_eq!(told.messages(), ["asked for"]);
    assert_eq!(told.lines[0].get("spans"), None, "a span below the level is not shown");
    assert_eq!(told.records, [("asked for".to_owned(), None)]);
    assert_eq!(told.spans, ["rpc"]);
}

#[test]
fn the_filter_goes_by_target() {
    let told = told("warn,library=debug,bulkhead_quiet=off", || {
        tracing::debug!(target: "library", "loud");
        tracing::error!(target: "bulkhead_quiet", "unheard");
        tracing::info_span!(target: "bulkhead_quiet", "traced").in_scope(|| tracing::info!("unheard"));
        tracing::info_span!(target: "library", "not ours").in_scope(|| tracing::warn!("heard"));
    });
    assert_eq!(told.messages(), ["loud", "heard"]);
    assert_eq!(told.lines[1]["spans"], serde_json::json!([{ "name": "not ours" }]));
    assert_eq!(told.spans, ["traced"], "only our own spans are");
}

#[test]
fn what_carries_records_is_in_lines_alone() {
    let told = told("info", || {
        tracing::info!(target: "h2::codec", "sending");
        tracing::info!("sent");
    });
    assert_eq!(told.messages(), ["sending", "sent"]);
    assert_eq!(told.records, [("sent".to_owned(), None)]);
}

#[test]
fn a_filter_may_ask_for_events_that_have_a_field() {
    let told = told("warn,bulkhead_edge[{latency_ms}]=info", || {
        tracing::info!(target: "bulkhead_edge", latency_ms = 1.5, "answered");
        tracing::info!(target: "bulkhead_edge", "without it");
    });
    assert_eq!(told.messages(), ["answered"]);
}

#[test]
fn with_nothing_logged_everything_is_traced() {
    let told = told("off", || {
        tracing::info_span!("rpc", request_id = "r-1").in_scope(|| tracing::error!("unheard"));
    });
    assert_eq!((told.lines.len(), told.records.len()), (0, 0));
    assert_eq!(told.spans, ["rpc"]);
}
