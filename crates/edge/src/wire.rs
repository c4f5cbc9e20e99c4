//! Between the contract's messages and our own types.

use std::time::Duration;

use bulkhead_proto::common::v1 as pb;
use jiff::Timestamp;
use prost_types::{Duration as ProtoDuration, Timestamp as ProtoTimestamp};

use crate::Violations;

/// The first second of the year 1, where the contract's times begin.
const FIRST_SECOND: i64 = -62_135_596_800;
/// The contract's longest span, some 10,000 years.
const SPAN_SECONDS_MAX: u64 = 315_576_000_000;
/// Categories in one context at most: many times what there are.
const SENSITIVITY_MAX: usize = 64;

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
    let read = ((0..1_000_000_000).contains(&time.nanos) && time.seconds >= FIRST_SECOND)
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

/// A span of time from a message, or a violation.
pub fn read_duration(span: ProtoDuration, field: &str, violations: &mut Violations) -> Option<Duration> {
    let read = u64::try_from(span.seconds).ok().zip(u32::try_from(span.nanos).ok());
    let read = read
        .filter(|(seconds, nanos)| *seconds <= SPAN_SECONDS_MAX && *nanos < 1_000_000_000)
        .map(|(seconds, nanos)| Duration::new(seconds, nanos));
    violations.require(
        read.is_some(),
        field,
        "must be 0 to 315576000000 seconds, and less than a second of nanos",
    );
    read
}

/// Checks a run context and fills in an absent one.
pub fn read_context(context: Option<pb::RunContext>, violations: &mut Violations) -> pb::RunContext {
    let context = context.unwrap_or_default();
    violations.context_id("context.session_id", &context.session_id);
    violations.context_id("context.run_id", &context.run_id);
    let fits = context.sensitivity.len() <= SENSITIVITY_MAX;
    violations.require(fits, "context.sensitivity", format!("must be at most {SENSITIVITY_MAX} categories"));
    for (at, value) in context.sensitivity.iter().take(SENSITIVITY_MAX).enumerate() {
        let known = pb::Sensitivity::try_from(*value);
        if known.is_err() || known == Ok(pb::Sensitivity::Unspecified) {
            violations.add(format!("context.sensitivity[{at}]"), "must be a known category, not UNSPECIFIED");
        }
    }
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
    fn times_end_where_the_contract_says() {
        for (seconds, is_time) in [
            (FIRST_SECOND, true),
            (FIRST_SECOND - 1, false),
            (253_402_207_200, true),
            (253_402_300_800, false),
            (i64::MIN, false),
            (i64::MAX, false),
        ] {
            let mut violations = Violations::new();
            let read = read_timestamp(ProtoTimestamp { seconds, nanos: 0 }, "time", &mut violations);
            assert_eq!((read.is_some(), violations.is_empty()), (is_time, is_time), "{seconds}");
        }
    }

    #[test]
    fn negative_and_absurd_spans_are_violations() {
        for span in [
            ProtoDuration { seconds: -1, nanos: 0 },
            ProtoDuration { seconds: 0, nanos: -1 },
            ProtoDuration { seconds: 0, nanos: i32::MAX },
            ProtoDuration { seconds: 315_576_000_001, nanos: 0 },
            ProtoDuration { seconds: i64::MAX, nanos: 0 },
        ] {
            let mut violations = Violations::new();
            assert_eq!(read_duration(span, "span", &mut violations), None);
            assert!(!violations.is_empty());
        }
    }
}
