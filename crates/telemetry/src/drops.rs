//! What was not sent or written, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Between two warnings while something is being dropped.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// The process's counts.
pub(crate) static DROPS: LazyLock<Drops> = LazyLock::new(Drops::default);

/// How many of each signal were dropped since the process started.
#[derive(Debug, Default)]
pub(crate) struct Drops {
    pub(crate) spans: AtomicU64,
    pub(crate) logs: AtomicU64,
    pub(crate) lines: AtomicU64,
    warned: Mutex<Warned>,
}

/// What the last warning said, and when.
#[derive(Debug, Default)]
struct Warned {
    at: Option<Instant>,
    total: u64,
}

impl Drops {
    /// Logs one warning when anything was dropped since the last, at most one a minute. Call it where logging
    /// cannot come back to the caller: on a thread that exports or writes.
    pub(crate) fn report(&self) {
        let [spans, logs, lines] =
            [&self.spans, &self.logs, &self.lines].map(|count| count.load(Ordering::Relaxed));
        if self.is_news(spans + logs + lines, Instant::now()) {
            tracing::warn!(spans, logs, lines, "telemetry is being dropped; the counts are since the start");
        }
    }

    fn is_news(&self, total: u64, now: Instant) -> bool {
        let Ok(mut warned) = self.warned.lock() else { return false };
        let due = warned.at.is_none_or(|at| now.saturating_duration_since(at) >= WARNING_INTERVAL);
        let news = due && total > warned.total;
        if news {
            *warned = Warned { at: Some(now), total };
        }
        news
    }

    /// Shows the counts as `bulkhead.telemetry.dropped`.
    pub(crate) fn observe(&'static self, meter: &Meter) {
        let _registered = meter
            .u64_observable_counter("bulkhead.telemetry.dropped")
            .with_description(
                "Spans, log records and log lines that were dropped instead of sent or written.",
            )
            .with_callback(move |observer| {
                for (signal, count) in
                    [("traces", &self.spans), ("logs", &self.logs), ("log_lines", &self.lines)]
                {
                    observer.observe(count.load(Ordering::Relaxed), &[KeyValue::new("signal", signal)]);
                }
            })
            .build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_drops_is_one_warning_a_minute() {
        let (drops, start) = (Drops::default(), Instant::now());
        let said: Vec<u64> = (0..180)
            .filter(|second| drops.is_news(second + 1, start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(said, [0, 60, 120]);
    }

    #[test]
    fn old_drops_are_not_told_again() {
        let (drops, start) = (Drops::default(), Instant::now());
        assert!(!drops.is_news(0, start));
        assert!(drops.is_news(7, start));
        assert!(!drops.is_news(7, start + Duration::from_mins(10)));
    }
}
