//! The way to the collector, over OTLP/gRPC.
//!
//! Promises that nothing here waits where a call could notice: spans and log records go into bounded queues,
//! a thread of the SDK's sends them, and what finds its queue full is dropped and counted.

mod counted;

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithExportConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{self, BatchLogProcessor, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{self, BatchSpanProcessor, SdkTracerProvider};

use crate::drops::DROPS;
use crate::{TelemetryError, TelemetrySettings, metrics};
use counted::{Counted, Queue};

/// The three signals of a process. Every process has a tracer, so that trace ids exist and travel even where
/// nothing is exported, and a meter, for `/metrics`.
#[derive(Debug)]
pub(crate) struct Providers {
    pub(crate) tracer: SdkTracerProvider,
    pub(crate) meter: SdkMeterProvider,
    /// None unless log records are exported.
    pub(crate) logger: Option<SdkLoggerProvider>,
}

impl Providers {
    pub(crate) fn build(service: &'static str, settings: &TelemetrySettings) -> Result<Self, TelemetryError> {
        let resource = Resource::builder().with_service_name(service).build();
        let failed = |source| TelemetryError::Exporter {
            endpoint: settings.otlp_endpoint.clone().unwrap_or_default(),
            source,
        };
        let endpoint = |wanted: bool| settings.otlp_endpoint.as_deref().filter(|_| wanted);
        let exported = settings.exported;
        Ok(Self {
            tracer: tracer(&resource, endpoint(exported.traces), settings.span_queue).map_err(failed)?,
            meter: meter(metrics::builder(&resource)?, endpoint(exported.metrics)).map_err(failed)?,
            logger: endpoint(exported.logs)
                .map(|endpoint| logger(&resource, endpoint, settings.log_queue))
                .transpose()
                .map_err(failed)?,
        })
    }

    /// Sends what is queued, for at most `bound` in all: the three go at the same time, each on a thread that
    /// ends with the process if its collector keeps it. Blocks: call it off the async threads.
    pub(crate) fn shutdown(&self, bound: Duration) {
        let (done, ended) = mpsc::channel();
        let (tracer, meter, logger) = (self.tracer.clone(), self.meter.clone(), self.logger.clone());
        let signals: [Box<dyn FnOnce() -> OTelSdkResult + Send>; 3] = [
            Box::new(move || tracer.shutdown_with_timeout(bound)),
            Box::new(move || meter.shutdown_with_timeout(bound)),
            Box::new(move || logger.map_or(Ok(()), |logger| logger.shutdown_with_timeout(bound))),
        ];
        let until = Instant::now() + bound;
        let begun = signals.map(|signal| {
            let done = done.clone();
            let run = move || drop(done.send(signal()));
            std::thread::Builder::new().name("telemetry-flush".into()).spawn(run).is_ok()
        });
        for _signal in begun.iter().filter(|begun| **begun) {
            match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "the last telemetry was not exported"),
                Err(_late) => return tracing::debug!("the last telemetry was not exported in time"),
            }
        }
    }
}

fn tracer(
    resource: &Resource,
    endpoint: Option<&str>,
    queue: usize,
) -> Result<SdkTracerProvider, ExporterBuildError> {
    let builder = SdkTracerProvider::builder().with_resource(resource.clone());
    let Some(endpoint) = endpoint else { return Ok(builder.build()) };
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let config = trace::BatchConfigBuilder::default().with_max_queue_size(queue).build();
    let queue = Arc::new(Queue::new(queue, &DROPS.spans));
    let processor = BatchSpanProcessor::new(Counted::new(exporter, &queue), config);
    Ok(builder.with_span_processor(Counted::new(processor, &queue)).build())
}

fn logger(
    resource: &Resource,
    endpoint: &str,
    queue: usize,
) -> Result<SdkLoggerProvider, ExporterBuildError> {
    let exporter = LogExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let config = logs::BatchConfigBuilder::default().with_max_queue_size(queue).build();
    let queue = Arc::new(Queue::new(queue, &DROPS.logs));
    let processor =
        BatchLogProcessor::builder(Counted::new(exporter, &queue)).with_batch_config(config).build();
    let builder = SdkLoggerProvider::builder().with_resource(resource.clone());
    Ok(builder.with_log_processor(Counted::new(processor, &queue)).build())
}

/// Metrics need no queue: they are sums, and the next export has what the last could not send.
fn meter(
    builder: MeterProviderBuilder,
    endpoint: Option<&str>,
) -> Result<SdkMeterProvider, ExporterBuildError> {
    let Some(endpoint) = endpoint else { return Ok(builder.build()) };
    let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    Ok(builder.with_reader(PeriodicReader::builder(exporter).build()).build())
}
