//! When counting begins anew. Pure; in UTC, so that every reader of a log finds the same days.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// How long what is spent counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// A day.
    Day,
    /// A calendar month.
    Month,
    /// For ever.
    Endless,
}

/// The period that a moment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// When it began; none: it is endless.
    pub start: Option<Timestamp>,
    /// When it ends; none: it does not.
    pub end: Option<Timestamp>,
}

impl Period {
    /// Its word in the configuration and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
            Self::Endless => "none",
        }
    }

    /// From its word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Day, Self::Month, Self::Endless].into_iter().find(|period| period.as_str() == word)
    }

    /// The period that is going on.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Bounds {
        let today = now.to_zoned(TimeZone::UTC).date();
        let (first, next) = match self {
            Self::Day => (today, today.checked_add(1.day())),
            Self::Month => (today.first_of_month(), today.first_of_month().checked_add(1.month())),
            Self::Endless => return Bounds { start: None, end: None },
        };
        Bounds { start: midnight(first), end: next.ok().and_then(midnight) }
    }
}

fn midnight(date: Date) -> Option<Timestamp> {
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_begin_at_midnight_in_utc() {
        let cases = [
            (Period::Day, "2026-05-09T23:59:59.9Z", "2026-05-09T00:00:00Z", "2026-05-10T00:00:00Z"),
            (Period::Day, "2026-05-10T00:00:00Z", "2026-05-10T00:00:00Z", "2026-05-11T00:00:00Z"),
            (Period::Month, "2026-12-31T12:00:00Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            (Period::Month, "2028-02-29T00:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ];
        for (period, now, start, end) in cases {
            let time = |text: &str| text.parse::<Timestamp>().expect("a time");
            let expected = Bounds { start: Some(time(start)), end: Some(time(end)) };
            assert_eq!(period.at(time(now)), expected, "{now}");
        }
        assert_eq!(Period::Endless.at(Timestamp::UNIX_EPOCH), Bounds { start: None, end: None });
    }
}
