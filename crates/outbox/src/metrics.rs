//! What an outbox counts, as docs/metrics.md lists it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bulkhead_telemetry::metrics::{self, Counter};

/// Events that wait, by what was last seen: at every enqueue, and before and after every delivery.
static WAITING: AtomicU64 = AtomicU64::new(0);
/// When the oldest of them happened, in milliseconds since 1970; 0: none waits.
static OLDEST_MS: AtomicI64 = AtomicI64::new(0);

static DELIVERED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    metrics::counter("bulkhead.outbox.delivered", "Events that the audit service has confirmed.", &[&[]])
});

static FAILURES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    metrics::counter(
        "bulkhead.outbox.delivery.failures",
        "Deliveries that failed and will be tried again.",
        &[&[]],
    )
});

/// Shows the outbox of this process.
pub(crate) fn observe() {
    LazyLock::force(&DELIVERED);
    LazyLock::force(&FAILURES);
    let meter = metrics::meter();
    let _registered = meter
        .u64_observable_gauge("bulkhead.outbox.depth")
        .with_description("Events that wait for the audit service.")
        .with_callback(|observer| observer.observe(WAITING.load(Ordering::Relaxed), &[]))
        .build();
    let _registered = meter
        .f64_observable_gauge("bulkhead.outbox.oldest.age")
        .with_unit("s")
        .with_description("Age of the oldest event that waits for the audit service; 0 when none does.")
        .with_callback(|observer| {
            let age = age_seconds(OLDEST_MS.load(Ordering::Relaxed), bulkhead_edge::now().as_millisecond());
            observer.observe(age, &[]);
        })
        .build();
}

/// So many wait.
pub(crate) fn waiting(events: i64) {
    WAITING.store(u64::try_from(events).unwrap_or(0), Ordering::Relaxed);
}

/// The oldest that waits happened then; none waits.
pub(crate) fn oldest(time_ms: Option<i64>) {
    OLDEST_MS.store(time_ms.unwrap_or(0), Ordering::Relaxed);
}

/// So many were confirmed.
pub(crate) fn delivered(events: usize) {
    DELIVERED.add(u64::try_from(events).unwrap_or(u64::MAX), &[]);
}

/// A delivery failed.
pub(crate) fn failed() {
    FAILURES.add(1, &[]);
}

fn age_seconds(oldest_ms: i64, now_ms: i64) -> f64 {
    if oldest_ms == 0 {
        return 0.0;
    }
    let age_ms = u64::try_from(now_ms.saturating_sub(oldest_ms)).unwrap_or(0);
    std::time::Duration::from_millis(age_ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_negative_and_zero_when_nothing_waits() {
        for (oldest, now, age) in [(0, 5_000, 0.0), (2_500, 5_000, 2.5), (6_000, 5_000, 0.0)] {
            assert!((age_seconds(oldest, now) - age).abs() < f64::EPSILON, "{oldest} {now}");
        }
    }
}
