//! How many requests a model is sent at a time. Pure: the time is an argument.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989), as TCP finds its share of a line that others
//! use too: each answer while the limit is in use raises it a little, so that a full round of them raises it by one;
//! a model that says it is asked too much halves it.

use std::time::Instant;

/// Between which the limit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// However often the model says that it is too much; at least 1.
    pub min: u32,
    /// However well it goes.
    pub max: u32,
}

/// What the end of a request says of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It was answered.
    Answered,
    /// It was too much for the model.
    TooMuch,
    /// Nothing.
    None,
}

/// The limit of one model, and how much of it is in use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Concurrency {
    bounds: Bounds,
    limit: f64,
    open: u32,
    /// When it was halved last.
    halved: Option<Instant>,
}

impl Concurrency {
    /// All that is allowed, until the model says otherwise.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, limit: f64::from(bounds.max), open: 0, halved: None }
    }

    /// Goes on between other bounds. A limit that was never lowered is all that they allow.
    pub fn rebound(&mut self, bounds: Bounds) {
        let (min, max) = (f64::from(bounds.min), f64::from(bounds.max));
        self.limit = if self.halved.is_some() { self.limit.min(max).max(min) } else { max };
        self.bounds = bounds;
    }

    /// Requests that are open.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.open
    }

    /// Requests that may be open now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        // Counted up to rather than cast down: the bounds are few hundreds.
        let fits = |count: &u32| f64::from(*count) <= self.limit;
        (self.bounds.min..=self.bounds.max).rev().find(fits).unwrap_or(self.bounds.min)
    }

    /// Whether one more may be opened.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.open < self.bounds.min || f64::from(self.open) + 1.0 <= self.limit
    }

    /// Opens one.
    pub fn begin(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// One that was begun then is over.
    pub fn end(&mut self, began: Instant, sign: Sign, now: Instant) {
        let was_in_use = f64::from(self.open) * 2.0 >= self.limit;
        self.open = self.open.saturating_sub(1);
        match sign {
            Sign::Answered if was_in_use => self.limit += 1.0 / self.limit.max(1.0),
            // Those that were open when it was halved say nothing about the half.
            Sign::TooMuch if self.halved.is_none_or(|halved| began >= halved) => {
                self.limit = f64::from(self.open.saturating_add(1)).min(self.limit) / 2.0;
                self.halved = Some(now);
            }
            Sign::Answered | Sign::TooMuch | Sign::None => {}
        }
        self.limit = self.limit.clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { min: 1, max: 16 };

    /// Opens as many as may be.
    fn fill(concurrency: &mut Concurrency) -> u32 {
        while concurrency.has_room() {
            concurrency.begin();
        }
        concurrency.open()
    }

    #[test]
    fn a_round_that_is_too_much_halves_the_limit_once() {
        let began = Instant::now();
        let mut concurrency = Concurrency::new(BOUNDS);
        assert_eq!(fill(&mut concurrency), 16);
        let later = began + Duration::from_secs(1);
        (0..16).for_each(|_| concurrency.end(began, Sign::TooMuch, later));
        assert_eq!((concurrency.open(), concurrency.limit()), (0, 8));
        assert_eq!(fill(&mut concurrency), 8);
        concurrency.end(later, Sign::TooMuch, later);
        assert_eq!(concurrency.limit(), 4);
    }

    #[test]
    fn a_round_of_answers_raises_it_by_one_up_to_its_bound() {
        let now = Instant::now();
        let mut concurrency = Concurrency { limit: 4.0, ..Concurrency::new(BOUNDS) };
        for expected in [5, 6, 7] {
            let round = fill(&mut concurrency);
            for _ in 0..=round {
                concurrency.end(now, Sign::Answered, now);
                concurrency.begin();
            }
            (0..concurrency.open()).for_each(|_| concurrency.end(now, Sign::None, now));
            assert_eq!(concurrency.limit(), expected);
        }
    }

    #[test]
    fn answers_to_a_few_say_nothing_of_many() {
        let now = Instant::now();
        let mut concurrency = Concurrency { limit: 8.0, ..Concurrency::new(BOUNDS) };
        for _ in 0..1_000 {
            concurrency.begin();
            concurrency.end(now, Sign::Answered, now);
        }
        assert_eq!(concurrency.limit(), 8);
    }

    #[test]
    fn the_least_is_always_allowed() {
        let mut now = Instant::now();
        let mut concurrency = Concurrency::new(Bounds { min: 2, max: 2 });
        for _ in 0..10 {
            fill(&mut concurrency);
            now += Duration::from_secs(1);
            concurrency.end(now, Sign::TooMuch, now);
        }
        assert_eq!(concurrency.limit(), 2);
    }

    proptest! {
        #[test]
        fn whatever_is_answered_the_limit_stays_in_its_bounds_and_is_kept(
            steps in prop::collection::vec(0_u8..4, 1..400),
            min in 1_u32..4,
            more in 0_u32..12,
        ) {
            let bounds = Bounds { min, max: min + more };
            let mut now = Instant::now();
            let mut concurrency = Concurrency::new(bounds);
            let mut open: Vec<Instant> = Vec::new();
            for step in steps {
                now += Duration::from_millis(7);
                let sign = match step {
                    0 => Sign::Answered,
                    1 => Sign::TooMuch,
                    2 => Sign::None,
                    _ => {
                        if concurrency.has_room() {
                            concurrency.begin();
                            open.push(now);
                            prop_assert!(concurrency.open() <= concurrency.limit());
                        }
                        continue;
                    }
                };
                if let Some(began) = open.pop() {
                    concurrency.end(began, sign, now);
                }
                prop_assert!((bounds.min..=bounds.max).contains(&concurrency.limit()));
            }
            for began in open {
                concurrency.end(began, Sign::None, now);
            }
            prop_assert_eq!(concurrency.open(), 0);
            prop_assert!(concurrency.has_room());
        }
    }
}
