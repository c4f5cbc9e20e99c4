//! Logs, traces and the W3C context that crosses every hop.
//!
//! Promises that a log line carries the request and trace id of the call it belongs to, that the context
//! of a call is passed on unchanged, and that a collector which is dead, slow or absent costs a call
//! nothing: spans are queued, and dropped when the queue is full. For that reason traces are never the
//! audit record.

mod context;

use std::io;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub use context::{adopt, adopt_traceparent, inject, link_traceparent, trace_id, traceparent};

/// How long a stopping process waits for its last spans to leave.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Levels when nothing else is asked for: our own at `info`, what we depend on at `warn`.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,tower=warn,sqlx=warn,opentelemetry=warn";

/// What the environment says about telemetry.
#[derive(Debug, Clone, Default)]
pub struct TelemetrySettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go over OTLP/gRPC. None: they are not exported.
    pub otlp_endpoint: Option<String>,
    /// `BULKHEAD_LOG`: a filter in the syntax of `tracing_subscriber::EnvFilter`.
    pub log_filter: Option<String>,
}

impl TelemetrySettings {
    /// Reads the process environment, once, at its start.
    #[must_use]
    pub fn from_env() -> Self {
        Self { otlp_endpoint: variable("OTEL_EXPORTER_OTLP_ENDPOINT"), log_filter: variable("BULKHEAD_LOG") }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads telemetry settings, at process start"
)]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Why logging or tracing could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The endpoint is no URL.
    #[error(
        "cannot export to OTEL_EXPORTER_OTLP_ENDPOINT {endpoint:?}; it should be like http://127.0.0.1:4317"
    )]
    Exporter {
        /// As given.
        endpoint: String,
        /// What the exporter said.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The filter does not parse.
    #[error("BULKHEAD_LOG {filter:?} is no log filter; it should be like `info,bulkhead_edge=debug`")]
    Filter {
        /// As given.
        filter: String,
        /// Where it goes wrong.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something installed a subscriber before.
    #[error("logging is already set up in this process")]
    AlreadySet(#[source] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter alive; flushes it, with a bound, when the process stops.
#[derive(Debug)]
#[must_use = "dropping it stops the export of spans"]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Sends what is queued, for at most two seconds. Blocks: call it off the async threads.
    pub fn shutdown(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FLUSH_TIMEOUT) {
            tracing::debug!(%error, "the last spans were not exported");
        }
    }
}

/// Installs JSON logs on standard error, the W3C propagator, and the span exporter if one is configured.
/// Needs a Tokio runtime.
///
/// # Errors
/// [`TelemetryError`]; nothing is installed then.
pub fn init(service: &'static str, settings: &TelemetrySettings) -> Result<Telemetry, TelemetryError> {
    let filter_text = settings.log_filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter_text)
        .map_err(|source| TelemetryError::Filter { filter: filter_text.to_owned(), source })?;
    let provider = provider(service, settings)?;
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());

    let logs = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        // The whole list: request and trace id stand on the outermost span of a call.
        .with_current_span(false)
        .with_span_list(true)
        .with_writer(io::stderr)
        .with_filter(filter);
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("bulkhead")).with_filter(
        tracing_subscriber::filter::filter_fn(|metadata| {
            metadata.is_span() && metadata.target().starts_with("bulkhead")
        }),
    );
    tracing_subscriber::registry().with(spans).with(logs).try_init().map_err(TelemetryError::AlreadySet)?;
    Ok(Telemetry { provider })
}

/// Every process has a provider, so that trace ids exist and travel even where nothing is exported.
fn provider(
    service: &'static str,
    settings: &TelemetrySettings,
) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder().with_service_name(service).build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = &settings.otlp_endpoint else { return Ok(builder.build()) };
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Exporter { endpoint: endpoint.clone(), source })?;
    Ok(builder.with_batch_exporter(exporter).build())
}
