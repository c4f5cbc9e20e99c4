//! Counts of one process.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;

use super::{Key, RateStore, Short, Used, Want};
use crate::limit::minute::{Fit, Minute};

/// The counts of this process. Each step takes the lock for itself and never waits under it.
#[derive(Debug)]
pub struct InProcess {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    by_key: HashMap<Key, Count>,
    /// Keys at which those that count nothing any more are looked for.
    sweep_at: usize,
}

#[derive(Debug)]
struct Count {
    requests: Minute,
    tokens: Minute,
    /// Taken and not settled.
    open: u32,
}

/// Keys below which none is looked for: less than a page of memory each.
const SWEEP_MIN: usize = 1_024;

impl Count {
    fn new(now: Instant) -> Self {
        Self { requests: Minute::new(now), tokens: Minute::new(now), open: 0 }
    }

    fn fit(&mut self, want: &Want, now: Instant) -> Fit {
        let bound = |minute: &mut Minute, amount, limit: Option<u64>| {
            limit.map_or(Fit::Now, |limit| minute.fit(amount, limit, now))
        };
        let requests = bound(&mut self.requests, 1, want.rate.requests_per_minute_max);
        requests.and(bound(&mut self.tokens, want.tokens, want.rate.tokens_per_minute_max))
    }

    fn is_over(&mut self, now: Instant) -> bool {
        self.open == 0 && self.requests.taken(now) == 0 && self.tokens.taken(now) == 0
    }
}

impl Counts {
    fn check(&mut self, wants: &[Want], now: Instant) -> Result<(), Short> {
        let mut short: Option<Short> = None;
        for want in wants {
            let fit = self
                .by_key
                .get_mut(&want.key)
                .map_or_else(|| Count::new(now).fit(want, now), |count| count.fit(want, now));
            let until = match fit {
                Fit::Now => continue,
                Fit::At(until) => Some(until),
                Fit::Never => None,
            };
            let is_longer = short.as_ref().is_none_or(|short| match (short.until, until) {
                (Some(known), Some(until)) => until > known,
                (known, until) => known.is_some() && until.is_none(),
            });
            if is_longer {
                short = Some(Short { key: want.key.clone(), until });
            }
        }
        short.map_or(Ok(()), Err)
    }

    fn take(&mut self, want: &Want, now: Instant) {
        let count = self.by_key.entry(want.key.clone()).or_insert_with(|| Count::new(now));
        count.requests.take(1, now);
        count.tokens.take(want.tokens, now);
        count.open = count.open.saturating_add(1);
    }

    fn settle(&mut self, want: &Want, then: Instant, used: Used, now: Instant) {
        let Some(count) = self.by_key.get_mut(&want.key) else { return };
        let Used { request, tokens } = used;
        if !request {
            count.requests.give_back(1, then, now);
        }
        count.tokens.give_back(want.tokens.saturating_sub(tokens), then, now);
        // What was used beyond the estimate counts from now on: later requests make up for it.
        count.tokens.take(tokens.saturating_sub(want.tokens), now);
        count.open = count.open.saturating_sub(1);
    }

    fn sweep(&mut self, now: Instant) {
        if self.by_key.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.by_key.retain(|_, count| !count.is_over(now));
            self.sweep_at = self.by_key.len().saturating_mul(2);
        }
    }
}

impl InProcess {
    /// Nothing counted.
    #[must_use]
    pub fn new() -> Self {
        Self { counts: Mutex::new(Counts::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Every step leaves whole counts, so a panic elsewhere does not make them wrong.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl RateStore for InProcess {
    async fn take(&self, wants: &[Want], now: Instant) -> Result<(), Short> {
        let mut counts = self.lock();
        counts.check(wants, now)?;
        counts.sweep(now);
        wants.iter().for_each(|want| counts.take(want, now));
        Ok(())
    }

    fn look(&self, wants: &[Want], now: Instant) -> Result<(), Short> {
        self.lock().check(wants, now)
    }

    fn settle(&self, wants: &[Want], then: Instant, used: Used, now: Instant) {
        let mut counts = self.lock();
        wants.iter().for_each(|want| counts.settle(want, then, used, now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use rand::rngs::StdRng;
    use rand::{Rng as _, SeedableRng as _};

    use std::sync::Arc;

    use super::*;
    use crate::limit::rate::{Rate, Reservation};

    fn want(limit: &str, subject: &str, requests: u64, rate_tokens: u64, tokens: u64) -> Want {
        Want {
            key: Key { limit: limit.into(), subject: subject.into() },
            rate: Rate { requests_per_minute_max: Some(requests), tokens_per_minute_max: Some(rate_tokens) },
            tokens,
        }
    }

    /// The store of this process answers at once.
    fn take(store: &InProcess, wants: &[Want], now: Instant) -> Result<(), Short> {
        store.take(wants, now).now_or_never().expect("it does not wait")
    }

    fn tokens_of(store: &InProcess, want: &Want, now: Instant) -> u64 {
        store.lock().by_key.get_mut(&want.key).map_or(0, |count| count.tokens.taken(now))
    }

    #[test]
    fn either_all_is_taken_or_nothing() {
        let (store, now) = (InProcess::new(), Instant::now());
        let (mine, ours) = (want("each", "ada", 10, 100, 60), want("all", "acme", 10, 100, 60));
        assert_eq!(take(&store, &[ours.clone(), mine.clone()], now), Ok(()));
        let bobs = want("each", "bob", 10, 100, 60);
        let short = take(&store, &[bobs.clone(), ours.clone()], now).expect_err("too much for all");
        assert_eq!(short, Short { key: ours.key.clone(), until: Some(now + Duration::from_secs(61)) });
        assert_eq!(tokens_of(&store, &bobs, now), 0);
        assert_eq!(store.look(&[bobs], now), Ok(()));
    }

    #[test]
    fn what_no_minute_holds_is_never_waited_for() {
        let (store, now) = (InProcess::new(), Instant::now());
        let short = take(&store, &[want("each", "ada", 10, 100, 101)], now).expect_err("too much");
        assert_eq!(short.until, None);
        assert_eq!(take(&store, &[want("each", "ada", 0, 100, 1)], now).expect_err("none").until, None);
    }

    #[test]
    fn tokens_are_settled_by_what_was_used() {
        let (store, now) = (InProcess::new(), Instant::now());
        let ada = want("each", "ada", 10, 100, 60);
        for (used, expected) in [(20, 20), (60, 60), (0, 0), (95, 95)] {
            let store = InProcess::new();
            take(&store, std::slice::from_ref(&ada), now).expect("taken");
            let used = Used { request: true, tokens: used };
            store.settle(std::slice::from_ref(&ada), now, used, now + Duration::from_secs(5));
            assert_eq!(tokens_of(&store, &ada, now + Duration::from_secs(6)), expected);
        }
        assert_eq!(tokens_of(&store, &ada, now), 0);
    }

    #[test]
    fn a_request_that_was_not_made_is_given_back_once_and_only_to_its_own_minute() {
        let (store, now) = (InProcess::new(), Instant::now());
        let store: Arc<dyn RateStore> = Arc::new(store);
        let ada = || vec![want("each", "ada", 2, 100, 10)];
        let take = |at| Reservation::take(&store, ada(), at).now_or_never().expect("it does not wait");
        let (made, unmade) = (take(now), take(now));
        made.expect("taken").counts();
        assert_eq!(take(now).expect_err("the minute is full").until, Some(now + Duration::from_secs(61)));
        drop(unmade.expect("taken"));
        let next = take(now).expect("the one that was not made is free");
        assert!(take(now).is_err(), "the one that was made is not");

        let later = now + Duration::from_secs(70);
        let held = [take(later).expect("a new minute"), take(later).expect("a new minute")];
        store.settle(&ada(), now, Used::default(), later);
        assert!(take(later).is_err(), "what was taken in the minute before is nobody's now");
        drop((next, held));
    }

    #[test]
    fn after_a_million_mixed_operations_nothing_is_left() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut dice = StdRng::seed_from_u64(seed);
        let store = Arc::new(InProcess::new());
        let shared: Arc<dyn RateStore> = Arc::<InProcess>::clone(&store);
        let mut now = Instant::now();
        let mut open: Vec<Reservation> = Vec::new();
        let (mut taken, mut refused) = (0_u32, 0_u32);
        for _ in 0..1_000_000 {
            now += Duration::from_micros(dice.random_range(0..5_000));
            if dice.random_bool(0.6) || open.is_empty() {
                let subject = dice.random_range(0..50).to_string();
                let tokens = dice.random_range(0..400);
                let wants = vec![
                    want("each", &subject, 200, 20_000, tokens),
                    want("all", "", 4_000, 400_000, tokens),
                ];
                match Reservation::take(&shared, wants, now).now_or_never().expect("it does not wait") {
                    Ok(reservation) => {
                        taken += 1;
                        open.push(reservation);
                    }
                    Err(_) => refused += 1,
                }
            } else {
                let mut ended = open.swap_remove(dice.random_range(0..open.len()));
                if dice.random_bool(0.8) {
                    ended.used(dice.random_range(0..400));
                }
            }
        }
        assert!(taken > 10_000 && refused > 10_000, "seed {seed}: {taken} taken, {refused} refused");
        drop(open);
        let later = now + Duration::from_secs(5_000);
        let mut counts = store.lock();
        assert!(counts.by_key.values().all(|count| count.open == 0), "seed {seed}");
        counts.sweep_at = 0;
        for count in counts.by_key.values_mut() {
            assert!(count.is_over(later), "seed {seed}: {count:?}");
        }
    }
}
