//! What a provider says is left of its own limits. Pure: the time is an argument.
//!
//! A hostile or broken server can only keep its own model from being called, and for no longer than
//! [`SHARED_DELAY_MAX`].

use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;

use super::minute::Fit;
use crate::failure::delay::{go_span, text, until};
use crate::health::SHARED_DELAY_MAX;

/// Two headers of a limit: what is left of it, and until when.
type Names = [&'static str; 2];

const OPENAI_REQUESTS: Names = ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const OPENAI_TOKENS: Names = ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"];
const ANTHROPIC_REQUESTS: Names =
    ["anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"];
/// Anthropic's limits on tokens that a prompt has to fit into; the least that is left counts.
const ANTHROPIC_TOKENS: [Names; 2] = [
    ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"],
    ["anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"],
];

/// What an answer's headers say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Requests that are left.
    pub requests: Option<Left>,
    /// Tokens that are left.
    pub tokens: Option<Left>,
}

/// So much is left until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Of requests or tokens.
    pub amount: u64,
    /// Until there is more.
    pub reset: Duration,
}

impl Quota {
    /// Reads `x-ratelimit-remaining-…` with `x-ratelimit-reset-…`, and `anthropic-ratelimit-…-remaining` with
    /// `…-reset`. What is left without a time is not heeded: nobody could say when it is over.
    #[must_use]
    pub fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let anthropic = |[remaining, reset]: Names| {
            let amount = amount(headers, remaining)?;
            let reset: Timestamp = text(headers, reset)?.parse().ok()?;
            Some(Left { amount, reset: until(reset, now) })
        };
        let openai = |[remaining, reset]: Names| {
            let amount = amount(headers, remaining)?;
            let reset = go_span(text(headers, reset)?)?;
            Some(Left { amount, reset })
        };
        let tokens = ANTHROPIC_TOKENS.into_iter().filter_map(anthropic).min_by_key(|left| left.amount);
        Self {
            requests: openai(OPENAI_REQUESTS).or_else(|| anthropic(ANTHROPIC_REQUESTS)),
            tokens: openai(OPENAI_TOKENS).or(tokens),
        }
    }
}

fn amount(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = text(headers, name)?;
    // Digits alone: no sign, no fraction.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// What is left by the last word of a server, less what was sent since.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remaining {
    /// So much, until then.
    told: Option<(u64, Instant)>,
    /// Of that. More than was told, where the server counts otherwise; so it is kept apart, and nothing that is given back
    /// leads above the server's word.
    taken: u64,
}

impl Remaining {
    /// A server's word, given while `open` was under way that it may not have counted yet.
    pub fn told(&mut self, left: Left, open: u64, now: Instant) {
        self.told = Some((left.amount, now + left.reset.min(SHARED_DELAY_MAX)));
        self.taken = open;
    }

    /// Whether so much is left, or when there is more again.
    #[must_use]
    pub fn fit(&self, amount: u64, now: Instant) -> Fit {
        match self.told {
            Some((left, until)) if left.saturating_sub(self.taken) < amount && now < until => Fit::At(until),
            Some(_) | None => Fit::Now,
        }
    }

    /// So much is to be sent.
    pub fn take(&mut self, amount: u64) {
        self.taken = self.taken.saturating_add(amount);
    }

    /// So much was not sent.
    pub fn give_back(&mut self, amount: u64) {
        self.taken = self.taken.saturating_sub(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(pairs: &[(&'static str, &str)]) -> Quota {
        let now = "2026-05-09T12:00:00Z".parse().expect("a time");
        let pairs = pairs.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), value.parse().expect("a header value"))
        });
        Quota::read(&pairs.collect(), now)
    }

    fn left(amount: u64, seconds: u64) -> Option<Left> {
        Some(Left { amount, reset: Duration::from_secs(seconds) })
    }

    #[test]
    fn both_providers_say_what_is_left() {
        let openai = [
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-remaining-tokens", "149984"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        assert_eq!(quota(&openai), Quota { requests: left(59, 1), tokens: left(149_984, 360) });
        let anthropic = [
            ("anthropic-ratelimit-requests-remaining", "49"),
            ("anthropic-ratelimit-requests-reset", "2026-05-09T12:00:02Z"),
            ("anthropic-ratelimit-tokens-remaining", "48000"),
            ("anthropic-ratelimit-tokens-reset", "2026-05-09T12:00:09Z"),
            // A prompt need not fit into what is left for answers.
            ("anthropic-ratelimit-output-tokens-remaining", "8000"),
            ("anthropic-ratelimit-output-tokens-reset", "2026-05-09T12:00:05Z"),
        ];
        assert_eq!(quota(&anthropic), Quota { requests: left(49, 2), tokens: left(48_000, 9) });
        assert_eq!(quota(&[]), Quota::default());
    }

    #[test]
    fn hostile_values_are_ignored_or_bounded() {
        for amount in ["-1", "", "many", "1e3", "99999999999999999999999", "0.5", "+1"] {
            let headers = [("x-ratelimit-remaining-requests", amount), ("x-ratelimit-reset-requests", "1s")];
            assert_eq!(quota(&headers), Quota::default(), "{amount:?}");
        }
        for reset in ["-1s", "soon", "", "60"] {
            let headers = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", reset)];
            assert_eq!(quota(&headers), Quota::default(), "{reset:?}");
        }
        let years = [("x-ratelimit-remaining-requests", "0"), ("x-ratelimit-reset-requests", "999999h")];
        let told = quota(&years).requests.expect("it is a span");
        let (mut remaining, now) = (Remaining::default(), Instant::now());
        remaining.told(told, 0, now);
        assert_eq!(remaining.fit(1, now), Fit::At(now + SHARED_DELAY_MAX));
        assert_eq!(remaining.fit(1, now + SHARED_DELAY_MAX), Fit::Now);
    }

    #[test]
    fn what_is_under_way_is_taken_off_what_is_left() {
        let now = Instant::now();
        let mut remaining = Remaining::default();
        assert_eq!(remaining.fit(u64::MAX, now), Fit::Now, "nothing was said");
        remaining.told(Left { amount: 5, reset: Duration::from_secs(9) }, 2, now);
        assert_eq!(remaining.fit(3, now), Fit::Now);
        remaining.take(2);
        assert_eq!(remaining.fit(1, now), Fit::Now);
        assert_eq!(remaining.fit(2, now), Fit::At(now + Duration::from_secs(9)));
        assert_eq!(remaining.fit(2, now + Duration::from_secs(9)), Fit::Now);
    }

    #[test]
    fn what_was_not_sent_is_left_and_never_more_than_the_server_said() {
        let (mut remaining, now) = (Remaining::default(), Instant::now());
        let left = |amount| Left { amount, reset: Duration::from_secs(9) };
        remaining.told(left(1), 3, now);
        remaining.give_back(1);
        assert!(
            matches!(remaining.fit(1, now), Fit::At(_)),
            "two of those that are open are more than is left"
        );
        remaining.give_back(2);
        assert_eq!(remaining.fit(1, now), Fit::Now);
        remaining.give_back(9);
        assert!(matches!(remaining.fit(2, now), Fit::At(_)));
    }
}
