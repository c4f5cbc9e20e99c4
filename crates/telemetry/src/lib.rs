//! Logs, traces, metrics, and the W3C context that crosses every hop.
//!
//! Promises that a log line carries the request and trace id of the call it belongs to, that the context
//! of a call is passed on unchanged, and that a collector which is dead, slow or absent costs a call
//! nothing: spans and log records are queued, dropped when the queue is full, and counted. For that reason
//! traces are never the audit record.

mod context;
mod drops;
mod export;
mod lines;
mod logs;
pub mod metrics;
mod settings;

use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::ExporterBuildError;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use context::{
    TracePlace, adopt, adopt_traceparent, inject, link_span, link_traceparent, trace_id, trace_id_of,
    trace_place, traceparent,
};
pub use settings::{Exported, TelemetrySettings};

use export::Providers;
use lines::{JsonLines, LineWriter};
use logs::Logs;

/// How long a stopping process waits for its last telemetry to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a stopping process waits for its last lines to be written; standard error is usually a file.
const LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// Levels when nothing else is asked for: our own at `info`, what we depend on at `warn`. The SDK's own reports
/// of failed exports are off: they come once a batch, where `bulkhead.telemetry.dropped` and one warning a
/// minute tell as much.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,tower=warn,sqlx=warn,opentelemetry=off,\
                              opentelemetry_sdk=off,opentelemetry_otlp=off";

/// Spans that are traced are of this level or above, whatever is logged.
const SPAN_LEVEL_MAX: LevelFilter = LevelFilter::INFO;

/// For [`flush_lines`], which a panic calls from anywhere.
static LINES: OnceLock<LineWriter> = OnceLock::new();

/// Why logging, tracing or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint is no URL, or another variable of the exporter is wrong.
    #[error(
        "cannot export to OTEL_EXPORTER_OTLP_ENDPOINT {endpoint:?}; it should be like http://127.0.0.1:4317"
    )]
    Exporter {
        /// As given.
        endpoint: String,
        /// What the exporter said.
        #[source]
        source: ExporterBuildError,
    },
    /// `/metrics` could not be prepared.
    #[error("cannot prepare the metrics")]
    Metrics(#[source] opentelemetry_sdk::error::OTelSdkError),
    /// The filter does not parse.
    #[error("BULKHEAD_LOG {filter:?} is no log filter; it should be like `info,bulkhead_edge=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Where it goes wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The system gives no thread for the log.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] std::io::Error),
    /// Something installed a subscriber before.
    #[error("logging is already set up in this process")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporters alive; flushes them, with a bound, when the process stops.
#[derive(Debug)]
#[must_use = "dropping it stops the export of telemetry"]
pub struct Telemetry {
    providers: Providers,
}

impl Telemetry {
    /// Sends what is queued, for at most two seconds, and writes the last log lines. Blocks: call it off the
    /// async threads.
    pub fn shutdown(self) {
        self.providers.shutdown(FLUSH_TIMEOUT);
        flush_lines();
    }
}

/// Installs JSON logs on standard error, the W3C propagator, the meter, and the exporters if an endpoint is
/// configured. Needs a Tokio runtime.
///
/// # Errors
/// [`TelemetryError`]; nothing is installed then.
pub fn init(service: &'static str, settings: &TelemetrySettings) -> Result<Telemetry, TelemetryError> {
    let filter = filter(settings)?;
    let providers = Providers::build(service, settings)?;
    let writer = LineWriter::start(std::io::stderr()).map_err(TelemetryError::Thread)?;

    let spans = traces(providers.tracer.tracer("bulkhead"));
    let lines = JsonLines::new(LINES.get_or_init(|| writer).clone());
    let logs = Logs::new(filter, lines, providers.logger.as_ref());
    tracing_subscriber::registry().with(spans).with(logs).try_init().map_err(TelemetryError::AlreadySet)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    metrics::install(providers.meter.clone());
    std::panic::set_hook(Box::new(log_panic));
    Ok(Telemetry { providers })
}

/// By what is known of a callsite alone: a filter that also looked at spans would be asked whenever one is entered.
fn filter(settings: &TelemetrySettings) -> Result<Targets, TelemetryError> {
    let text = settings.log_filter.as_deref().unwrap_or(DEFAULT_FILTER);
    text.parse::<Targets>().map_err(|source| TelemetryError::Filter { filter: text.to_owned(), source })
}

/// What makes spans of the exporter's kind. What it would add to each (source, thread, time busy at every poll) costs
/// more than it tells.
fn traces<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
    layer.with_filter(filter_fn(is_traced).with_max_level_hint(SPAN_LEVEL_MAX))
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= SPAN_LEVEL_MAX && metadata.target().starts_with("bulkhead")
}

/// Makes a panic a log line of the call in which it happened, on disk before anything unwinds.
fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let payload = info.payload_as_str().unwrap_or("(no text)");
    tracing::error!(location, payload, "panicked");
    flush_lines();
}

/// Waits, with a bound, until every line is written.
fn flush_lines() {
    if let Some(lines) = LINES.get() {
        lines.flush(LINES_TIMEOUT);
    }
}
