//! What the log counts, as docs/metrics.md lists it.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bulkhead_telemetry::metrics::{self, Counter, Histogram};

/// When the newest checkpoint was signed, in milliseconds since 1970; 0: not by this process.
static SIGNED_MS: AtomicI64 = AtomicI64::new(0);
/// Lines under it.
static SIGNED_LINES: AtomicU64 = AtomicU64::new(0);
/// Lines on disk.
static LINES: AtomicU64 = AtomicU64::new(0);

static APPENDED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    metrics::counter("bulkhead.audit.events", "Events that were appended to the log.", &[&[]])
});

static DUPLICATES: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Events that were sent again and were there already.";
    metrics::counter("bulkhead.audit.duplicates", description, &[&[]])
});

static GROUP_SIZE: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    metrics::sizes("bulkhead.audit.group.events", "Events that were written and synced together.", 14)
});

static SYNC_DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    metrics::seconds("bulkhead.audit.sync.duration", "Time to write a group and sync it to disk.")
});

/// Shows the log whose daily files are in `logs`.
pub(crate) fn observe(logs: PathBuf) {
    LazyLock::force(&APPENDED);
    LazyLock::force(&DUPLICATES);
    LazyLock::force(&GROUP_SIZE);
    LazyLock::force(&SYNC_DURATION);
    let meter = metrics::meter();
    let _registered = meter
        .f64_observable_gauge("bulkhead.audit.checkpoint.age")
        .with_unit("s")
        .with_description("Time since the newest checkpoint was signed; it grows while nothing is appended.")
        .with_callback(|observer| {
            let now = bulkhead_edge::now().as_millisecond();
            let age_ms = u64::try_from(now.saturating_sub(SIGNED_MS.load(Ordering::Relaxed))).unwrap_or(0);
            observer.observe(Duration::from_millis(age_ms).as_secs_f64(), &[]);
        })
        .build();
    let _registered = meter
        .u64_observable_gauge("bulkhead.audit.unsigned")
        .with_description("Lines on disk that no checkpoint covers yet; above 0 for a second at most.")
        .with_callback(|observer| {
            let lines = LINES.load(Ordering::Relaxed);
            observer.observe(lines.saturating_sub(SIGNED_LINES.load(Ordering::Relaxed)), &[]);
        })
        .build();
    let _registered = meter
        .u64_observable_gauge("bulkhead.audit.files.size")
        .with_unit("By")
        .with_description("Bytes of all daily files.")
        .with_callback(move |observer| {
            let Ok(entries) = fs::read_dir(&logs) else { return };
            let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
            observer.observe(sizes.sum(), &[]);
        })
        .build();
}

/// A group is on disk; the log has `lines` lines now.
pub(crate) fn synced(events: usize, lines: u64, took: Duration) {
    let events = u64::try_from(events).unwrap_or(u64::MAX);
    APPENDED.add(events, &[]);
    GROUP_SIZE.record(events, &[]);
    SYNC_DURATION.record(took.as_secs_f64(), &[]);
    LINES.store(lines, Ordering::Relaxed);
}

/// So many events were there already.
pub(crate) fn recognised(events: u32) {
    DUPLICATES.add(u64::from(events), &[]);
}

/// A checkpoint over so many lines is stored.
pub(crate) fn signed(lines: u64) {
    SIGNED_LINES.store(lines, Ordering::Relaxed);
    LINES.fetch_max(lines, Ordering::Relaxed);
    SIGNED_MS.store(bulkhead_edge::now().as_millisecond(), Ordering::Relaxed);
}
