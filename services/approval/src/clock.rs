//! The one place that reads the clock.

use jiff::Timestamp;

/// Now, in whole milliseconds, as times are stored: what is compared and signed is what is read back.
pub(crate) fn now() -> Timestamp {
    let now = bulkhead_edge::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}
