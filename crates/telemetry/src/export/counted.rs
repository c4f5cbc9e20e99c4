//! Queues that say what they drop. The SDK keeps its own count of dropped spans to itself, so the processor and
//! its exporter are both wrapped: what went in less what came out is what waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::logs::Severity;
use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter, LogProcessor, SdkLogRecord};
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};

use crate::drops::DROPS;

/// How many wait between a processor and its exporter. Never fewer than the SDK's own queue holds, so that a
/// place here is a place there.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: AtomicUsize,
    length: usize,
    dropped: &'static AtomicU64,
}

impl Queue {
    pub(super) fn new(length: usize, dropped: &'static AtomicU64) -> Self {
        Self { waiting: AtomicUsize::new(0), length, dropped }
    }

    /// Takes a place, or counts a drop.
    fn enter(&self) -> bool {
        let place = |waiting| (waiting < self.length).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Relaxed, place).is_ok();
        if !entered {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        entered
    }

    /// Frees the places of what is being exported.
    fn leave(&self, count: usize) {
        self.waiting.fetch_sub(count, Ordering::AcqRel);
    }

    /// Counts what the collector did not take.
    fn settle(&self, count: usize, exported: &OTelSdkResult) {
        if exported.is_err() {
            self.dropped.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        DROPS.report();
    }
}

/// One end of a [`Queue`].
#[derive(Debug)]
pub(super) struct Counted<T> {
    inner: T,
    queue: Arc<Queue>,
}

impl<T> Counted<T> {
    pub(super) fn new(inner: T, queue: &Arc<Queue>) -> Self {
        Self { inner, queue: Arc::clone(queue) }
    }
}

impl<P: SpanProcessor> SpanProcessor for Counted<P> {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    /// A span that is not sampled never comes to the exporter and takes no place.
    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() || self.queue.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.queue.leave(count);
        let exported = self.inner.export(batch).await;
        self.queue.settle(count, &exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<P: LogProcessor> LogProcessor for Counted<P> {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.queue.enter() {
            self.inner.emit(record, scope);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Counted<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let count = batch.iter().count();
        self.queue.leave(count);
        let exported = self.inner.export(batch).await;
        self.queue.settle(count, &exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_sdk::error::OTelSdkError;

    fn queue(length: usize) -> (Queue, &'static AtomicU64) {
        let dropped = Box::leak(Box::new(AtomicU64::new(0)));
        (Queue::new(length, dropped), dropped)
    }

    #[test]
    fn what_finds_no_place_is_counted_once() {
        let (queue, dropped) = queue(2);
        assert_eq!([queue.enter(), queue.enter(), queue.enter()], [true, true, false]);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
        queue.leave(2);
        assert!(queue.enter());
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_batch_that_the_collector_refuses_is_counted_whole() {
        let (queue, dropped) = queue(8);
        queue.settle(5, &Ok(()));
        assert_eq!(dropped.load(Ordering::Relaxed), 0);
        queue.settle(5, &Err(OTelSdkError::InternalFailure("refused".into())));
        assert_eq!(dropped.load(Ordering::Relaxed), 5);
    }
}
