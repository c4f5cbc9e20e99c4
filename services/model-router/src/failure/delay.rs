//! How long a server wants to be left alone.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

use super::Kind;

/// A server's word beyond this is cut: nobody means more than a day, and a hostile one shall not take a
/// model away for good.
pub const DELAY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Anthropic's limits, of which each sends `…-remaining` and `…-reset` (RFC 3339).
const ANTHROPIC_LIMITS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];

/// OpenAI's limits, of which each sends `x-ratelimit-remaining-…` and `x-ratelimit-reset-…` (a span such as
/// `6m0s`).
const OPENAI_LIMITS: [&str; 2] = ["requests", "tokens"];

/// The delay in the headers: `retry-after-ms`, else `Retry-After` (RFC 9110: seconds or a date; fractions
/// are taken too), else the latest reset of a limit that is used up, in Anthropic's headers or OpenAI's. None when
/// they say nothing usable.
#[must_use]
pub fn read(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let millis = || number(text(headers, "retry-after-ms")?).map(|millis| millis / 1_000.0);
    let seconds = || number(text(headers, "retry-after")?);
    let date = || {
        let date = httpdate::parse_http_date(text(headers, "retry-after")?).ok()?;
        // As system times: a date may lie beyond the last timestamp. What is past is no wait at all.
        Some(date.duration_since(SystemTime::from(now)).unwrap_or(Duration::ZERO).min(DELAY_MAX))
    };
    let anthropic = ANTHROPIC_LIMITS.iter().filter_map(|limit| reset(headers, limit, now));
    let openai = OPENAI_LIMITS.iter().filter_map(|limit| reset_after(headers, limit));
    let resets = || anthropic.chain(openai).max();
    millis().and_then(span).or_else(|| seconds().and_then(span)).or_else(date).or_else(resets)
}

/// The delay in the body of a failure: a number that some servers give there, else the span in the sentence that asks to
/// `try again in` it. Sentences may quote the prompt, and what they say binds everybody; so they count only where one
/// asks for patience: for a limit or an overload. None when it says nothing usable.
#[must_use]
pub fn said(kind: Kind, body: &Value) -> Option<Duration> {
    let error = body.get("error").unwrap_or(body);
    let amount = |name| error.get(name).and_then(Value::as_f64).filter(|amount| *amount >= 0.0);
    let millis = amount("retry_after_ms").map(|millis| millis / 1_000.0);
    let told = millis.or_else(|| amount("retry_after")).and_then(span);
    let asks_for_patience = matches!(kind, Kind::RateLimited | Kind::Overloaded);
    let sentence = || error.get("message").or(Some(error)).filter(|_| asks_for_patience)?.as_str();
    told.or_else(|| in_words(sentence()?))
}

/// Before a span in the sentences of providers.
const ASKS: [&str; 3] = ["try again in ", "retry in ", "retry after "];

/// `Please try again in 7.66s.`, `Please retry after 20 seconds.`
fn in_words(sentence: &str) -> Option<Duration> {
    let sentence = sentence.to_ascii_lowercase();
    let (_, after) = ASKS.iter().find_map(|asks| sentence.split_once(asks))?;
    let mut words = after.split_ascii_whitespace().map(|word| word.trim_end_matches(['.', ',', ';', '!']));
    let amount = words.next()?;
    let of = |unit: f64| number(amount).map(|count| count * unit).and_then(span);
    match words.next() {
        Some("millisecond" | "milliseconds" | "ms") => of(0.001),
        Some("second" | "seconds" | "sec" | "secs" | "s") => of(1.0),
        Some("minute" | "minutes" | "min" | "mins" | "m") => of(60.0),
        Some("hour" | "hours" | "h") => of(3_600.0),
        _ => go_span(amount),
    }
}

pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// A finite number that is not negative, written in digits.
fn number(text: &str) -> Option<f64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if digits { text.parse().ok() } else { None }
}

fn span(seconds: f64) -> Option<Duration> {
    if !seconds.is_finite() {
        return None;
    }
    Some(Duration::try_from_secs_f64(seconds.min(DELAY_MAX.as_secs_f64())).unwrap_or(DELAY_MAX))
}

/// Zero when it is past already.
pub(crate) fn until(time: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(time.duration_since(now)).unwrap_or(Duration::ZERO);
    left.min(DELAY_MAX)
}

fn reset(headers: &HeaderMap, limit: &str, now: Timestamp) -> Option<Duration> {
    let used_up = text(headers, &format!("anthropic-ratelimit-{limit}-remaining"))? == "0";
    let time: Timestamp = text(headers, &format!("anthropic-ratelimit-{limit}-reset"))?.parse().ok()?;
    used_up.then(|| until(time, now))
}

fn reset_after(headers: &HeaderMap, limit: &str) -> Option<Duration> {
    let used_up = text(headers, &format!("x-ratelimit-remaining-{limit}"))? == "0";
    let left = go_span(text(headers, &format!("x-ratelimit-reset-{limit}"))?)?;
    used_up.then_some(left)
}

/// A span as Go writes it: `1h2m3.5s`, `120ms`.
pub(crate) fn go_span(text: &str) -> Option<Duration> {
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let unit = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "\u{b5}s" => 0.000_001,
            "ns" => 0.000_000_001,
            _ => return None,
        };
        seconds += number(value)? * unit;
        rest = after;
    }
    (!text.is_empty()).then(|| span(seconds)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spans_are_read_as_go_writes_them() {
        let cases = [
            ("1s", Some(1_000)),
            ("6m0s", Some(360_000)),
            ("120ms", Some(120)),
            ("2m59.56s", Some(179_560)),
            ("1h0m0s", Some(3_600_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1x", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("1s2", None),
        ];
        for (text, millis) in cases {
            assert_eq!(go_span(text), millis.map(Duration::from_millis), "{text:?}");
        }
        assert_eq!(go_span("99999999999999999999h"), Some(DELAY_MAX));
    }

    #[test]
    fn a_limit_that_is_used_up_says_when_it_is_not() {
        let used_up = [("x-ratelimit-remaining-tokens", "0"), ("x-ratelimit-reset-tokens", "6s")];
        assert_eq!(delay(&used_up), Some(Duration::from_secs(6)));
        let left = [("x-ratelimit-remaining-tokens", "10"), ("x-ratelimit-reset-tokens", "6s")];
        assert_eq!(delay(&left), None);
    }

    fn delay(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let now = "2026-05-09T12:00:00Z".parse().expect("a time");
        let pairs = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), value.parse().expect("a header value"))
        });
        read(&pairs.collect(), now)
    }

    #[test]
    fn a_delay_is_read_out_of_a_body() {
        let message = |text: &str| json!({ "error": { "message": text } });
        let cases = [
            (message("Rate limit reached. Please try again in 7.66s. Visit https://x"), Some(7_660)),
            (message("Please try again in 6m0s."), Some(360_000)),
            (message("Try again in 120ms"), Some(120)),
            (message("Please retry after 20 seconds."), Some(20_000)),
            (message("please retry in 2 minutes"), Some(120_000)),
            (message("Please try again in 2 hours."), Some(7_200_000)),
            (message("try again in 1 hour, or pay"), Some(3_600_000)),
            (message("try again in 3 min."), Some(180_000)),
            (message("try again in 20 sec"), Some(20_000)),
            (message("try again in 5 s."), Some(5_000)),
            (message("try again in 5 days"), None),
            (message("try again in a while"), None),
            (message("try again in -5s"), None),
            (message("try again in "), None),
            (message("retry after 5"), None),
            (json!({ "error": { "retry_after": 1.5, "message": "try again in 9s" } }), Some(1_500)),
            (json!({ "error": { "retry_after_ms": 250, "retry_after": 9 } }), Some(250)),
            (json!({ "error": { "retry_after": -3 } }), None),
            (json!({ "object": "error", "message": "retry in 3s" }), Some(3_000)),
            (json!({ "error": "server busy, try again in 2s" }), Some(2_000)),
            (message("try again in 99999999999999999999h"), Some(86_400_000)),
            (json!({ "error": { "retry_after": 1e300 } }), Some(86_400_000)),
            (Value::Null, None),
        ];
        for (body, millis) in cases {
            assert_eq!(said(Kind::RateLimited, &body), millis.map(Duration::from_millis), "{body}");
        }
    }

    #[test]
    fn what_a_sentence_asks_counts_only_for_a_limit_or_an_overload() {
        let sentence = json!({ "error": { "message": "cannot answer: try again in 9 minutes" } });
        let number = json!({ "error": { "retry_after": 2, "message": "try again in 9 minutes" } });
        for (kind, counts) in [
            (Kind::RateLimited, true),
            (Kind::Overloaded, true),
            (Kind::ServerError, false),
            (Kind::ServerTimeout, false),
            (Kind::InvalidRequest, false),
        ] {
            let words = counts.then_some(Duration::from_secs(540));
            assert_eq!(said(kind, &sentence), words, "{kind:?}");
            assert_eq!(said(kind, &number), Some(Duration::from_secs(2)), "{kind:?}: a field of its own");
        }
    }

    #[test]
    fn retry_after_is_read_in_every_form() {
        let cases = [
            ("2", Some(2_000)),
            ("0", Some(0)),
            ("1.5", Some(1_500)),
            (" 3 ", Some(3_000)),
            ("Sat, 09 May 2026 12:00:07 GMT", Some(7_000)),
            ("Sat, 09 May 2026 11:59:00 GMT", Some(0)),
            ("Saturday, 09-May-26 12:00:07 GMT", Some(7_000)),
        ];
        for (value, millis) in cases {
            assert_eq!(delay(&[("retry-after", value)]), millis.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn hostile_values_are_bounded_or_ignored() {
        for value in
            ["-5", "", "soon", "NaN", "inf", "1e9", "2s", "Sat, 99 May 2026 12:00:07 GMT", ".", "1.2.3"]
        {
            assert_eq!(delay(&[("retry-after", value)]), None, "{value}");
        }
        for value in ["99999999999999999999999", "31536000", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(delay(&[("retry-after", value)]), Some(DELAY_MAX), "{value}");
        }
    }

    #[test]
    fn milliseconds_win_over_seconds() {
        let both = [("retry-after-ms", "250"), ("retry-after", "9")];
        assert_eq!(delay(&both), Some(Duration::from_millis(250)));
        assert_eq!(delay(&[("retry-after-ms", "x"), ("retry-after", "9")]), Some(Duration::from_secs(9)));
    }

    #[test]
    fn the_latest_reset_of_a_used_up_limit_counts() {
        let headers = [
            ("anthropic-ratelimit-requests-remaining", "0"),
            ("anthropic-ratelimit-requests-reset", "2026-05-09T12:00:04Z"),
            ("anthropic-ratelimit-tokens-remaining", "0"),
            ("anthropic-ratelimit-tokens-reset", "2026-05-09T12:00:06Z"),
            ("anthropic-ratelimit-input-tokens-remaining", "100"),
            ("anthropic-ratelimit-input-tokens-reset", "2026-05-09T13:00:00Z"),
        ];
        assert_eq!(delay(&headers), Some(Duration::from_secs(6)));
        assert_eq!(delay(&headers[4..]), None);
    }
}
