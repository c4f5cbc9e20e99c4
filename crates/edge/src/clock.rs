//! The one place that reads the wall clock. Decisions take the time as an argument; whoever calls them asks here.

use jiff::Timestamp;

/// The time by this machine's clock, which may be set back and forth. Durations are measured with
/// `std::time::Instant`.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::now()
}
