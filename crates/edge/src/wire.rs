//! Between the contract's messages and our own types.

use std::time::Duration;

use bulkhead_proto::common::v1 as pb;
use jiff::Timestamp;
use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};

use crate::Violations;

/// A time as the contract carries it.
#[must_use]
pub fn timestamp(time: Timestamp) -> ProtoTimestamp {
    let mut seconds = time.as_second();
    let mut nanos = time.subsec_nanosecond();
    if nanos < 0 {
        // The contract counts nanoseconds forward, jiff towards zero.
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    ProtoTimestamp { seconds, nanos }
}

/// A time from a message, or a violation.
pub fn read_timestamp(time: ProtoTimestamp, field: &str, violations: &mut Violations) -> Option<Timestamp> {
    let read = (0..1_000_000_000)
        .contains(&time.nanos)
        .then(|| Timestamp::new(time.seconds, time.nanos).ok())
        .flatten();
    violations.require(read.is_some(), field, "must be a time between the year 1 and 9999-12-30T22:00:00Z");
    read
}

/// A span of time as the contract carries it; beyond 292 billion years it is cut.
#[must_use]
pub fn duration(span: Duration) -> ProtoDuration {
    ProtoDuration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// A span of time from a message, or a violation when it is negative.
pub fn read_duration(span: ProtoDuration, field: &str, violations: &mut Violations) -> Option<Duration> {
    let read = u64::try_from(span.seconds).ok().zip(u32::try_from(span.nanos).ok());
    let read =
        read.filter(|(_, nanos)| *nanos < 1_000_000_000).map(|(secs, nanos)| Duration::new(secs, nanos));
    violations.require(read.is_some(), field, "must not be negative");
    read
}

/// Checks a run context and fills in an absent one.
pub fn read_context(context: Option<pb::RunContext>, violations: &mut Violations) -> pb::RunContext {
    let context = context.unwrap_or_default();
    violations.context_id("context.session_id", &context.session_id);
    violations.context_id("context.run_id", &context.run_id);
    let known = context.sensitivity.iter().all(|value| {
        pb::Sensitivity::try_from(*value).is_ok_and(|known| known != pb::Sensitivity::Unspecified)
    });
    violations.require(known, "context.sensitivity", "must hold only known categories, and not UNSPECIFIED");
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_wire() {
        for text in ["2026-05-09T12:00:00.25Z", "1969-12-31T23:59:59.75Z", "1970-01-01T00:00:00Z"] {
            let time: Timestamp = text.parse().expect("a time");
            let mut violations = Violations::new();
            assert_eq!(read_timestamp(timestamp(time), "time", &mut violations), Some(time));
        }
    }

    #[test]
    fn negative_and_absurd_spans_are_violations() {
        for span in [
            ProtoDuration { seconds: -1, nanos: 0 },
            ProtoDuration { seconds: 0, nanos: -1 },
            ProtoDuration { seconds: 0, nanos: i32::MAX },
        ] {
            let mut violations = Violations::new();
            assert_eq!(read_duration(span, "span", &mut violations), None);
            assert!(!violations.is_empty());
        }
    }
}
