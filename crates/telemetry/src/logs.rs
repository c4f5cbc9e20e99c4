//! What happens, told twice: in lines on standard error, and in log records where a collector is sent them.
//!
//! Both hear the same events, and so they are one layer with one filter, which is asked when a span or an event begins.
//! Were each a layer with a filter of its own, then the span would be searched for each of them whenever it is entered,
//! left or written to, which happens far more often.

use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::lines::{JsonLines, REQUEST_ID};
use crate::{SPAN_LEVEL_MAX, is_traced};

/// What carries log records to the collector; its own logs would come back to it for ever.
const CARRIERS: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];

/// What a log record has of the spans around it. It is known when a span begins.
const OF_SPANS: [&str; 1] = [REQUEST_ID];

/// Writes lines and sends records of what the filter lets through. It goes by what is known of a callsite.
pub(crate) struct Logs {
    filter: Targets,
    lines: JsonLines,
    records: Option<OpenTelemetryTracingBridge<SdkLoggerProvider, SdkLogger>>,
}

impl Logs {
    pub(crate) fn new(filter: Targets, lines: JsonLines, logger: Option<&SdkLoggerProvider>) -> Self {
        let records = logger.map(|logger| {
            OpenTelemetryTracingBridge::builder(logger)
                .with_tracing_span_attributes(TracingSpanAttributes::allowlist(OF_SPANS))
                .build()
        });
        Self { filter, lines, records }
    }

    fn are_wanted<S: Subscriber>(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        Layer::<S>::enabled(&self.filter, metadata, context)
    }
}

impl<S> Layer<S> for Logs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_traced(metadata) {
            return Interest::always();
        }
        Layer::<S>::register_callsite(&self.filter, metadata)
    }

    /// This layer decides for all of them. Spans that are only traced are no less alive for not being logged.
    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        is_traced(metadata) || self.are_wanted(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let logged = Layer::<S>::max_level_hint(&self.filter);
        logged.map(|logged| logged.max(SPAN_LEVEL_MAX))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !self.are_wanted(attributes.metadata(), context.clone()) {
            return;
        }
        let fields = attributes.metadata().fields();
        if let Some(records) = &self.records
            && OF_SPANS.iter().any(|field| fields.field(field).is_some())
        {
            records.on_new_span(attributes, id, context.clone());
        }
        self.lines.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.lines.on_record(id, values, context);
    }

    /// Of events, only what is wanted is heard. The line comes first: it is what is left of a process that panics.
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        self.lines.on_event(event, context.clone());
        if let Some(records) = &self.records
            && !is_carrier(event.metadata().target())
        {
            records.on_event(event, context);
        }
    }
}

fn is_carrier(target: &str) -> bool {
    CARRIERS.iter().any(|carrier| target.starts_with(carrier))
}

#[cfg(test)]
mod tests;
