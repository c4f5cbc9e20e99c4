//! How much was taken in the last minute. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Length of a slot. What was taken is forgotten by slots, so that a minute needs no more than some sixty numbers.
const SLOT: Duration = Duration::from_secs(1);
/// Slots that count: those of a minute, and the one that is not over yet. So nothing is forgotten before its minute
/// is over, and a little up to a second after it.
const SLOTS: u64 = 61;

/// Whether an amount can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Now.
    Now,
    /// From then on, if nobody else takes it.
    At(Instant),
    /// It is more than a whole minute has.
    Never,
}

impl Fit {
    /// The later of two.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Never, _) | (_, Self::Never) => Self::Never,
            (Self::At(one), Self::At(other)) => Self::At(one.max(other)),
            (Self::Now, later) | (later, Self::Now) => later,
        }
    }
}

/// A sliding minute. In no sixty seconds is more taken than the limit that [`Minute::fit`] was asked with, as long as
/// nothing is taken that does not fit.
#[derive(Debug, Clone)]
pub struct Minute {
    began: Instant,
    /// Oldest first; none is empty.
    slots: VecDeque<Slot>,
    taken: u64,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u64,
    taken: u64,
}

impl Minute {
    /// Nothing taken.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began, slots: VecDeque::new(), taken: 0 }
    }

    /// What the last minute took.
    pub fn taken(&mut self, now: Instant) -> u64 {
        let number = self.number(now);
        while let Some(slot) = self.slots.front().filter(|slot| slot.number + SLOTS <= number).copied() {
            self.slots.pop_front();
            self.taken = self.taken.saturating_sub(slot.taken);
        }
        self.taken
    }

    /// Whether an amount fits beside what was taken.
    pub fn fit(&mut self, amount: u64, limit: u64, now: Instant) -> Fit {
        if amount > limit {
            return Fit::Never;
        }
        let mut excess = self.taken(now).saturating_add(amount).saturating_sub(limit);
        let mut fits = Fit::Now;
        for slot in &self.slots {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(slot.taken);
            fits = Fit::At(self.start(slot.number.saturating_add(SLOTS)));
        }
        fits
    }

    /// Takes it, whether it fits or not.
    pub fn take(&mut self, amount: u64, now: Instant) {
        let number = self.number(now);
        self.taken = self.taken(now).saturating_add(amount);
        match self.slots.back_mut().filter(|slot| slot.number >= number) {
            // A clock that two threads read may seem to step back.
            Some(slot) => slot.taken = slot.taken.saturating_add(amount),
            None if amount > 0 => self.slots.push_back(Slot { number, taken: amount }),
            None => {}
        }
    }

    /// Gives back what was taken then, if that minute is not over.
    pub fn give_back(&mut self, amount: u64, then: Instant, now: Instant) {
        let number = self.number(then);
        if number + SLOTS <= self.number(now) {
            // It counts no more, and what is counted now is somebody else's.
            return;
        }
        // The slot in which it was counted is the first that is not older.
        let Some(at) = self.slots.iter().position(|slot| slot.number >= number) else { return };
        let Some(slot) = self.slots.get_mut(at) else { return };
        let given = amount.min(slot.taken);
        slot.taken -= given;
        self.taken = self.taken.saturating_sub(given);
        if slot.taken == 0 {
            self.slots.remove(at);
        }
    }

    fn number(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.began).as_secs() / SLOT.as_secs()
    }

    fn start(&self, number: u64) -> Instant {
        self.began + SLOT.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(began: Instant, millis: u64) -> Instant {
        began + Duration::from_millis(millis)
    }

    #[test]
    fn what_does_not_fit_is_told_when_it_does() {
        let began = Instant::now();
        let mut minute = Minute::new(began);
        minute.take(6, after(began, 500));
        minute.take(4, after(began, 30_000));
        let now = after(began, 40_000);
        assert_eq!(minute.fit(0, 10, now), Fit::Now);
        assert_eq!(minute.fit(1, 10, now), Fit::At(after(began, 61_000)));
        assert_eq!(minute.fit(6, 10, now), Fit::At(after(began, 61_000)));
        assert_eq!(minute.fit(7, 10, now), Fit::At(after(began, 91_000)));
        assert_eq!(minute.fit(11, 10, now), Fit::Never);
        assert_eq!(minute.fit(6, 10, after(began, 60_999)), Fit::At(after(began, 61_000)));
        assert_eq!(minute.fit(6, 10, after(began, 61_000)), Fit::Now);
        assert_eq!(minute.taken(after(began, 91_000)), 0);
    }

    #[test]
    fn what_is_given_back_is_free_at_once_and_once_only() {
        let began = Instant::now();
        let mut minute = Minute::new(began);
        let (then, now) = (after(began, 100), after(began, 5_000));
        minute.take(10, then);
        minute.give_back(4, then, now);
        assert_eq!(minute.taken(now), 6);
        minute.give_back(100, then, now);
        assert_eq!(minute.taken(now), 0);
        minute.take(3, now);
        minute.give_back(3, after(began, 6_000), after(began, 6_000));
        assert_eq!(minute.taken(now), 3, "nothing was taken then");
    }

    #[test]
    fn whoever_ends_after_their_minute_gives_back_nothing_of_anothers() {
        let began = Instant::now();
        let mut minute = Minute::new(began);
        minute.take(1_000, began);
        let later = after(began, 62_000);
        assert_eq!(minute.fit(1_000, 1_000, later), Fit::Now);
        minute.take(1_000, later);
        let end = after(began, 70_000);
        minute.give_back(990, began, end);
        assert_eq!(minute.taken(end), 1_000);
    }

    proptest! {
        #[test]
        fn no_minute_holds_more_than_the_limit(
            steps in prop::collection::vec((0_u64..20_000, 1_u64..8), 1..200),
            limit in 1_u64..12,
        ) {
            let began = Instant::now();
            let (mut minute, mut now) = (Minute::new(began), began);
            let mut taken: Vec<(Instant, u64)> = Vec::new();
            for (pause, amount) in steps {
                now += Duration::from_millis(pause);
                match minute.fit(amount, limit, now) {
                    Fit::Now => {
                        minute.take(amount, now);
                        taken.push((now, amount));
                    }
                    Fit::At(later) => {
                        prop_assert!(later > now && later <= now + Duration::from_secs(61));
                        prop_assert_eq!(minute.clone().fit(amount, limit, later), Fit::Now);
                    }
                    Fit::Never => prop_assert!(amount > limit),
                }
            }
            for (end, _) in &taken {
                let held = taken.iter().filter(|(at, _)| at <= end && *end - *at < Duration::from_secs(60));
                prop_assert!(held.map(|(_, amount)| amount).sum::<u64>() <= limit);
            }
        }
    }
}
