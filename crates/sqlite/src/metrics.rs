//! What a store's writer counts, as docs/metrics.md lists it.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
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

/// How many writes wait in one queue; none: it is gone.
type Depth = Box<dyn Fn() -> Option<usize> + Send>;

/// The queues of the stores that are open. One gauge shows them all: a gauge cannot be taken back, and a process may open
/// stores for as long as it runs.
#[derive(Default)]
struct Queues(Mutex<Vec<Depth>>);

static QUEUES: Queues = Queues(Mutex::new(Vec::new()));

impl Queues {
    /// One more. Those that are gone are forgotten.
    fn add(&self, depth: Depth) {
        let mut queues = self.lock();
        queues.retain(|depth| depth().is_some());
        queues.push(depth);
    }

    fn depth(&self) -> usize {
        self.lock().iter().filter_map(|depth| depth()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Depth>> {
        // Each step leaves a whole list, so a panic elsewhere does not make it wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

static GAUGE: LazyLock<()> = LazyLock::new(|| {
    let _registered = metrics::meter()
        .u64_observable_gauge("bulkhead.store.queue.depth")
        .with_description("Writes that wait for the writer; at 256 callers wait to enqueue.")
        .with_callback(|observer| {
            observer.observe(u64::try_from(QUEUES.depth()).unwrap_or(u64::MAX), &[]);
        })
        .build();
});

/// Shows how many writes wait, as long as the store is open.
pub(crate) fn observe<T: Send + 'static>(queue: WeakSender<T>) {
    LazyLock::force(&COMMIT_DURATION);
    LazyLock::force(&GROUP_SIZE);
    LazyLock::force(&FAILURES);
    LazyLock::force(&GAUGE);
    QUEUES.add(waiting(queue));
}

fn waiting<T: Send + 'static>(queue: WeakSender<T>) -> Depth {
    Box::new(move || queue.upgrade().map(|queue| queue.max_capacity().saturating_sub(queue.capacity())))
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_store_that_is_closed_leaves_nothing_behind() {
        let queues = Queues::default();
        let (first, _jobs) = mpsc::channel(9);
        queues.add(waiting(first.downgrade()));
        for _ in 0..1_000 {
            let (short, _jobs) = mpsc::channel::<u8>(9);
            queues.add(waiting(short.downgrade()));
        }
        first.try_send(1).expect("there is room");
        assert_eq!((queues.depth(), queues.lock().len()), (1, 2), "but for the last one");
    }
}
