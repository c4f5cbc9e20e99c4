//! What the desk counts, as docs/metrics.md lists it.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};

use crate::approval::{Approval, Event, Outcome, Settlement};

/// Approvals that nobody has settled, as the sweeper last counted them; it counts after every change.
static PENDING: AtomicU64 = AtomicU64::new(0);

static SETTLED: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let known = [Outcome::Approved, Outcome::Denied, Outcome::Expired].map(|outcome| [attribute(outcome)]);
    let description = "Approvals that were settled, by outcome.";
    metrics::counter("bulkhead.approval.settled", description, &known.each_ref().map(<[_; 1]>::as_slice))
});

/// People take minutes, not milliseconds.
static DECISION_DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let bounds = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0, 604_800.0];
    metrics::meter()
        .f64_histogram("bulkhead.approval.decision.duration")
        .with_unit("s")
        .with_description("Time from a question to its end, by outcome.")
        .with_boundaries(bounds.to_vec())
        .build()
});

/// Shows how many wait for people.
pub(crate) fn observe() {
    LazyLock::force(&SETTLED);
    LazyLock::force(&DECISION_DURATION);
    let _registered = metrics::meter()
        .u64_observable_gauge("bulkhead.approval.pending")
        .with_description("Approvals that wait for people.")
        .with_callback(|observer| observer.observe(PENDING.load(Ordering::Relaxed), &[]))
        .build();
}

/// So many wait.
pub(crate) fn pending(approvals: u64) {
    PENDING.store(approvals, Ordering::Relaxed);
}

/// What happened to an approval is being written; a commit that fails is counted too.
pub(crate) fn happened(approval: &Approval, events: &[Event]) {
    for event in events {
        if let Event::Settled(Settlement { outcome, time, .. }) = event {
            let took = time.duration_since(approval.question.create_time);
            let took = Duration::try_from(took).unwrap_or_default();
            SETTLED.add(1, &[attribute(*outcome)]);
            DECISION_DURATION.record(took.as_secs_f64(), &[attribute(*outcome)]);
        }
    }
}

fn attribute(outcome: Outcome) -> KeyValue {
    KeyValue::new("outcome", outcome.as_str())
}
