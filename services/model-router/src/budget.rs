//! A retry budget: retries are a bounded share of the traffic, so that an outage is not multiplied.

use std::time::{Duration, Instant};

/// What a first attempt pays in. One retry costs 1, so retries are at most a fifth of the traffic.
const DEPOSIT: f64 = 0.2;
/// Paid in per second whatever the traffic, so that a quiet router may still retry.
const TRICKLE_PER_SECOND: f64 = 0.5;
/// The most that can be saved, and what a new model starts with.
const SAVINGS_MAX: f64 = 10.0;

/// One retry, paid for. Made by [`Budget::try_withdraw`] alone and used up by the attempt; a retry that is
/// then not made is not paid back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Paid(());

/// The budget of one model, over all requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    savings: f64,
    as_of: Instant,
}

impl Budget {
    /// Full savings.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { savings: SAVINGS_MAX, as_of: now }
    }

    /// A first attempt is made.
    pub fn deposit(&mut self, now: Instant) {
        self.settle(now);
        self.savings = (self.savings + DEPOSIT).min(SAVINGS_MAX);
    }

    /// Pays for a retry, if it can be paid for now.
    pub fn try_withdraw(&mut self, now: Instant) -> Option<Paid> {
        self.settle(now);
        let left = self.savings - 1.0;
        if left < 0.0 {
            return None;
        }
        self.savings = left;
        Some(Paid(()))
    }

    fn settle(&mut self, now: Instant) {
        self.savings = self.at(now);
        self.as_of = now.max(self.as_of);
    }

    fn at(&self, now: Instant) -> f64 {
        let since: Duration = now.saturating_duration_since(self.as_of);
        (self.savings + since.as_secs_f64() * TRICKLE_PER_SECOND).min(SAVINGS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_cut_to_a_share_of_the_traffic() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        let mut retries = 0;
        for _ in 0..1_000 {
            budget.deposit(now);
            if budget.try_withdraw(now).is_some() {
                retries += 1;
            }
        }
        assert!((200..=211).contains(&retries), "{retries}");
    }

    #[test]
    fn an_empty_budget_recovers_with_time() {
        let now = Instant::now();
        let mut budget = Budget::new(now);
        for _ in 0..10 {
            assert!(budget.try_withdraw(now).is_some());
        }
        for (millis, paid) in [(0, false), (1_900, false), (2_100, true), (2_200, false)] {
            let later = now + Duration::from_millis(millis);
            assert_eq!(budget.try_withdraw(later).is_some(), paid, "after {millis} ms");
        }
    }
}
