//! Instruments, and what they show.
//!
//! Every crate names its own instruments, made from [`meter`]; `docs/metrics.md` lists them all, and a test
//! compares. Attributes are names from the code, the contract or the configuration: never a tenant, a
//! principal, a path or a text that somebody sent.
//!
//! What every call records, with attributes that are known beforehand, is bound to them, so that they are looked up
//! once: in a `OnceLock` at the first value, since a series shows from the moment it is bound.

mod process;

use std::sync::OnceLock;

use opentelemetry::metrics::Meter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Instrument, MeterProviderBuilder, SdkMeterProvider, Stream};
use prometheus::{Registry, TextEncoder};

pub use opentelemetry::KeyValue;
pub use opentelemetry::metrics::{BoundCounter, BoundHistogram, Counter, Gauge, Histogram, UpDownCounter};
pub use prometheus::TEXT_FORMAT;

use crate::TelemetryError;
use crate::drops::DROPS;

/// Name of the instrumentation scope.
const SCOPE: &str = "bulkhead";

/// Bounds of the buckets for durations, in seconds: those of the RPC conventions, with finer ones below 5 ms,
/// where most of our calls are.
pub const SECONDS: [f64; 17] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 60.0,
];

/// Attribute sets that one instrument may have; the rest is counted together, as the SDK does it. A service's RPCs
/// times codes stay below it, and so do models and tools of any sensible configuration. Room for the SDK's own 2,000 is
/// taken when an instrument is made, and was most of what an idle service held.
const SERIES_MAX: usize = 500;

/// What `/metrics` shows; none before [`crate::init`].
static REGISTRY: OnceLock<Registry> = OnceLock::new();

/// Makes instruments. Those made before [`crate::init`] record nothing.
#[must_use]
pub fn meter() -> Meter {
    opentelemetry::global::meter(SCOPE)
}

/// Every metric of this process in the Prometheus text format 0.0.4 ([`TEXT_FORMAT`]). Observes the gauges,
/// which may read small files: call it off the async threads.
///
/// # Errors
/// When a metric has a name that the format does not allow.
pub fn exposition() -> Result<String, prometheus::Error> {
    let Some(registry) = REGISTRY.get() else { return Ok(String::new()) };
    TextEncoder::new().encode_to_string(&registry.gather())
}

/// A provider whose metrics `/metrics` shows.
pub(crate) fn builder(resource: &Resource) -> Result<MeterProviderBuilder, TelemetryError> {
    let registry = REGISTRY.get_or_init(Registry::new);
    let exporter = opentelemetry_prometheus::exporter().with_registry(registry.clone());
    let reader = exporter.scope_info_enabled(false).build().map_err(TelemetryError::Metrics)?;
    let builder = SdkMeterProvider::builder().with_resource(resource.clone()).with_reader(reader);
    Ok(builder
        .with_view(|_any: &Instrument| Stream::builder().with_cardinality_limit(SERIES_MAX).build().ok()))
}

/// Makes the provider the process's own, and begins with what every process shows.
pub(crate) fn install(provider: SdkMeterProvider) {
    opentelemetry::global::set_meter_provider(provider);
    let meter = meter();
    process::observe(&meter);
    DROPS.observe(&meter);
}

/// A histogram of durations, in seconds.
#[must_use]
pub fn seconds(name: &'static str, description: &'static str) -> Histogram<f64> {
    let meter = meter();
    let builder = meter.f64_histogram(name).with_unit("s").with_description(description);
    builder.with_boundaries(SECONDS.to_vec()).build()
}

/// A histogram of how many there were at a time: up to `2^doublings` told apart.
#[must_use]
pub fn sizes(name: &'static str, description: &'static str, doublings: u32) -> Histogram<u64> {
    let bounds = (0..=doublings).map(|power| 2_f64.powi(i32::try_from(power).unwrap_or(i32::MAX)));
    meter().u64_histogram(name).with_description(description).with_boundaries(bounds.collect()).build()
}

/// A counter, shown as 0 from the start for the given attribute sets, so that its first step can be seen.
#[must_use]
pub fn counter(name: &'static str, description: &'static str, known: &[&[KeyValue]]) -> Counter<u64> {
    let counter = meter().u64_counter(name).with_description(description).build();
    known.iter().for_each(|attributes| counter.add(0, attributes));
    counter
}
