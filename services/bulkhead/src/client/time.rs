//! Times and durations as people write and read them.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// A duration like `90s`, `1h 30m` or `2 days`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 30s, 5m, 1h30m or 2 days");
    let span: Span = text.parse().map_err(|_error| wrong())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_error| wrong())?;
    Duration::try_from(signed).map_err(|_error| wrong())
}

/// A point in time as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// So long before now.
    Ago(Duration),
    /// Exactly then.
    At(Timestamp),
}

impl Moment {
    /// `1h` (ago), `2026-11-22` (midnight UTC) or `2026-11-22T10:00:00Z`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = duration(text) {
            return Ok(Self::Ago(ago));
        }
        let date = || Some(text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
        let at = text.parse().ok().or_else(date);
        at.map(Self::At)
            .ok_or_else(|| format!("{text:?} is no time; write 1h (ago), 2026-11-22 or 2026-11-22T10:00:00Z"))
    }

    /// For the wire.
    pub(crate) fn resolve(self, now: Timestamp) -> prost_types::Timestamp {
        let at = match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        };
        prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
    }
}

/// A time of an answer; none when it is absent or out of range.
pub(crate) fn of_wire(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

/// `2026-11-22 10:00:00Z (3 min ago)`; `-` when there is none.
pub(crate) fn full(time: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    of_wire(time).map_or_else(
        || "-".to_owned(),
        |time| format!("{} ({})", time.strftime("%Y-%m-%d %H:%M:%SZ"), relative(time, now)),
    )
}

/// For a cell: `10:00:00Z, 3 min ago`, and the day instead of the time once it is another one.
pub(crate) fn brief(time: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    of_wire(time).map_or_else(
        || "-".to_owned(),
        |time| {
            let far = time.duration_since(now).abs() >= SignedDuration::from_hours(24);
            let format = if far { "%Y-%m-%d" } else { "%H:%M:%SZ" };
            format!("{}, {}", time.strftime(format), relative(time, now))
        },
    )
}

/// `3 min ago`, `in 2 h`, `now`, in the largest unit that is at least one.
pub(crate) fn relative(time: Timestamp, now: Timestamp) -> String {
    let distance = time.duration_since(now);
    let seconds = distance.as_secs().unsigned_abs();
    let amount = match seconds {
        0 => return "now".to_owned(),
        1..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    };
    if distance.is_negative() { format!("{amount} ago") } else { format!("in {amount}") }
}

/// `1.2 s` or `35 ms`; empty when it is absent.
pub(crate) fn span(duration: Option<&prost_types::Duration>) -> String {
    duration.and_then(|duration| Duration::try_from(*duration).ok()).map_or_else(String::new, lasted)
}

/// `1.2 s` or `35 ms`.
pub(crate) fn lasted(duration: Duration) -> String {
    if duration.as_secs() > 0 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [("30s", 30), ("1h30m", 5_400), ("1h 30m", 5_400), ("2 days", 172_800), ("5m", 300)];
        for (text, seconds) in table {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "-1h", "soon", "1 month"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments_are_ago_a_day_or_exact() {
        let table = [
            ("1h", "2026-11-22T11:00:00Z"),
            ("2026-11-20", "2026-11-20T00:00:00Z"),
            ("2026-11-20T10:00:00+02:00", "2026-11-20T08:00:00Z"),
        ];
        for (text, expected) in table {
            let wire = Moment::parse(text).unwrap().resolve(noon());
            assert_eq!(of_wire(Some(&wire)), Some(expected.parse().unwrap()), "{text}");
        }
        assert!(Moment::parse("yesterday-ish").is_err());
    }

    #[test]
    fn times_are_shown_absolute_and_relative() {
        let wire = |text: &str| Moment::At(text.parse().unwrap()).resolve(noon());
        let table = [
            ("2026-11-22T11:57:00Z", "2026-11-22 11:57:00Z (3 min ago)", "11:57:00Z, 3 min ago"),
            ("2026-11-22T14:59:59Z", "2026-11-22 14:59:59Z (in 2 h)", "14:59:59Z, in 2 h"),
            ("2026-11-20T12:00:00Z", "2026-11-20 12:00:00Z (2 d ago)", "2026-11-20, 2 d ago"),
            ("2026-11-22T12:00:00Z", "2026-11-22 12:00:00Z (now)", "12:00:00Z, now"),
        ];
        for (time, long, cell) in table {
            assert_eq!(full(Some(&wire(time)), noon()), long);
            assert_eq!(brief(Some(&wire(time)), noon()), cell);
        }
        assert_eq!(full(None, noon()), "-");
    }
}
