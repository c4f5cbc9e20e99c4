use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

use super::{JsonLines, LineWriter};
use crate::drops::DROPS;

/// Guards against hanging, no more.
const BOUND: Duration = Duration::from_secs(20);

/// Keeps what is written.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    /// The lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.texts().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The lines so far, as they stand: a reader of JSON hides that a key stands twice.
    fn texts(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `logging` leaves, under our trace layer.
fn lines(logging: impl FnOnce()) -> Vec<Value> {
    logged(logging).lines()
}

/// Where the lines are that `logging` leaves.
fn logged(logging: impl FnOnce()) -> Sink {
    let sink = Sink::default();
    let writer = LineWriter::start(sink.clone()).unwrap();
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let subscriber = tracing_subscriber::registry()
        .with(tracing_opentelemetry::layer().with_tracer(tracer))
        .with(JsonLines::new(writer.clone()));
    tracing::subscriber::with_default(subscriber, logging);
    writer.flush(BOUND);
    sink
}

#[test]
fn a_line_has_what_finds_it_again_at_its_top() {
    let lines = lines(|| {
        let span = tracing::info_span!("rpc", otel.kind = "server", request_id = %"r-1", rpc.method = "Get", principal = tracing::field::Empty);
        span.record("principal", "acme/agent/ada");
        span.in_scope(|| tracing::info!(latency_ms = 1.5, "answered"));
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["target"], "bulkhead_telemetry::lines::tests");
    assert_eq!(line["message"], "answered");
    assert_eq!(line["latency_ms"], 1.5);
    assert_eq!(line["request_id"], "r-1");
    let is_hexadecimal = |key: &str, length| {
        let id = line[key].as_str().unwrap();
        id.len() == length && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    assert!(is_hexadecimal("trace_id", 32) && is_hexadecimal("span_id", 16), "{line}");
    assert_eq!(line["spans"], json!([{ "name": "rpc", "rpc.method": "Get", "principal": "acme/agent/ada" }]));
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
}

#[test]
fn what_is_recorded_anew_takes_the_place_of_what_was() {
    let hostile = r#"a,"rpc.method":"b","#;
    let sink = logged(|| {
        let span =
            tracing::info_span!("rpc", rpc.method = "Get", target = hostile, last = 1, principal = hostile);
        tracing::record_all!(span, target = "b", last = 2);
        tracing::record_all!(span, rpc.method = "Stream", last = 3);
        span.in_scope(|| tracing::info!("answered"));
    });
    let texts = sink.texts();
    let [line] = &texts[..] else { panic!("{texts:?}") };
    let principal = serde_json::to_string(hostile).unwrap();
    let span = format!(
        r#"{{"name":"rpc","principal":{principal},"field.target":"b","rpc.method":"Stream","last":3}}"#
    );
    assert!(line.ends_with(&format!(r#""spans":[{span}]}}"#)), "{line}");
}

#[test]
fn an_inner_span_keeps_the_id_of_its_call() {
    let lines = lines(|| {
        let call = tracing::info_span!("rpc", request_id = "r-2");
        let step = call.in_scope(|| tracing::info_span!("step", number = 3));
        step.in_scope(|| tracing::warn!("slow"));
    });
    assert_eq!(lines[0]["request_id"], "r-2");
    assert_eq!(lines[0]["spans"], json!([{ "name": "rpc" }, { "name": "step", "number": 3 }]));
}

#[test]
fn outside_a_call_there_are_no_ids() {
    let lines = lines(|| tracing::info!("starting"));
    for key in ["request_id", "trace_id", "span_id", "spans"] {
        assert_eq!(lines[0].get(key), None, "{key}");
    }
}

#[test]
fn whatever_is_logged_is_one_line_of_json_with_each_key_once() {
    let hostile = "a\nb\"c\\d\u{0}\u{2028}{}";
    let lines = lines(|| {
        tracing::info!(shown = ?hostile, displayed = %hostile, plain = hostile, nan = f64::NAN, "{hostile}");
        tracing::info!(
            level = "mine",
            timestamp = 1,
            spans = true,
            trace_id = "t",
            "named like our own keys"
        );
    });
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message"], hostile);
    assert_eq!(lines[0]["displayed"], hostile);
    assert_eq!(lines[0]["plain"], hostile);
    assert_eq!(lines[0]["shown"], format!("{hostile:?}"));
    assert_eq!(lines[0]["nan"], Value::Null);
    assert_eq!(lines[1]["level"], "INFO");
    assert_eq!(lines[1]["field.level"], "mine");
    assert_eq!(lines[1]["field.spans"], true);
    assert_eq!(lines[1]["field.trace_id"], "t");
}

/// Takes what comes first, then nothing until told to go on.
struct Stuck {
    entered: mpsc::Sender<()>,
    released: mpsc::Receiver<()>,
    sink: Sink,
}

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.entered.send(()).ok();
        self.released.recv().ok();
        self.sink.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_takes_nothing_costs_lines_and_never_time() {
    let (entered, entries) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let sink = Sink::default();
    let writer = LineWriter::start(Stuck { entered, released, sink: sink.clone() }).unwrap();
    let line = [b'x'; 1 << 10];
    writer.append(&line, true);
    entries.recv_timeout(BOUND).unwrap();

    // The writer hangs now: 4 MiB wait, the rest is counted, and this thread comes to its end.
    let before = DROPS.lines.load(Ordering::Relaxed);
    (0..5_000).for_each(|_| writer.append(&line, false));
    assert_eq!(DROPS.lines.load(Ordering::Relaxed) - before, 5_000 - 4_096);

    drop(release);
    writer.flush(BOUND);
    assert_eq!(sink.0.lock().unwrap().len(), (1 + 4_096) << 10);
}

#[test]
fn an_urgent_line_takes_along_what_came_before_it() {
    let (entered, entries) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let sink = Sink::default();
    let writer = LineWriter::start(Stuck { entered, released, sink: sink.clone() }).unwrap();
    writer.append(b"first\n", false);
    writer.append(b"second\n", true);
    entries.recv_timeout(BOUND).unwrap();
    drop(release);
    writer.flush(BOUND);
    assert_eq!(*sink.0.lock().unwrap(), b"first\nsecond\n");
}
