//! What a store's writer counts, as docs/metrics.md lists it.

use std::sync::LazyLock;
use std::time::Duration;

use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};
use tokio::sync::mpsc::WeakSender;

static COMMIT_DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Time of one transaction of the writer: its writes, and the sync of the commit.";
    metrics::seconds("bulkhead.store.commit.duration", description)
});

static GROUP_SIZE: LazyLock<Histogram<u64>> =
    LazyLock::new(|| metrics::sizes("bulkhead.store.commit.writes", "Writes that shared one commit.", 7));

static FAILURES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    metrics::counter(
        "bulkhead.store.commit.failures",
        "Commits that failed, with every write in them.",
        &[&[]],
    )
});

/// Shows how many writes wait, as long as the store is open.
pub(crate) fn observe<T: Send + 'static>(queue: WeakSender<T>) {
    LazyLock::force(&COMMIT_DURATION);
    LazyLock::force(&GROUP_SIZE);
    LazyLock::force(&FAILURES);
    let _registered = metrics::meter()
        .u64_observable_gauge("bulkhead.store.queue.depth")
        .with_description("Writes that wait for the writer; at 256 callers wait to enqueue.")
        .with_callback(move |observer| {
            if let Some(queue) = queue.upgrade() {
                let depth = queue.max_capacity().saturating_sub(queue.capacity());
                observer.observe(u64::try_from(depth).unwrap_or(u64::MAX), &[]);
            }
        })
        .build();
}

/// A group was committed, or failed.
pub(crate) fn committed(writes: usize, took: Duration, failed: bool) {
    const NONE: [KeyValue; 0] = [];
    COMMIT_DURATION.record(took.as_secs_f64(), &NONE);
    GROUP_SIZE.record(u64::try_from(writes).unwrap_or(u64::MAX), &NONE);
    if failed {
        FAILURES.add(1, &NONE);
    }
}
