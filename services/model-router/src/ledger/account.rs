//! What was spent of one budget by one tenant or session. Pure. Amounts in millionths of a US dollar.

use jiff::Timestamp;

/// Amounts at which something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Above it somebody is told.
    pub alert: Option<u64>,
    /// No model is called that may lead above it.
    pub stop: Option<u64>,
}

/// What is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// When the period began that is counted; none: it is endless.
    start: Option<Timestamp>,
    /// Here.
    own: u64,
    /// Part of it that is known to be on disk.
    saved: u64,
    /// By other routers, as far as it is known.
    others: u64,
    /// For calls that are open.
    reserved: u64,
    exhausted: Word,
    /// Calls that may still spend.
    pub(super) users: u32,
}

/// What the disk is given of an account in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// In all, here.
    pub spent: u64,
    /// Somebody was told that the stop is reached.
    pub is_told: bool,
}

/// What the disk knows of an account in a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Spent by this router, and by those that had its store before.
    pub own: u64,
    /// Spent by others.
    pub others: u64,
    /// Somebody was told that the stop is reached, by whichever.
    pub is_told: bool,
}

/// Whether somebody was told in this period that the stop is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Not yet.
    None,
    /// And the event of it may not be kept yet.
    Given,
    /// It is kept, and the disk may not know it.
    Kept,
    /// And the disk knows it.
    Stored,
}

/// Why no more may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// In this period.
    pub spent: u64,
    /// For calls that are open.
    pub reserved: u64,
    /// Where it ends.
    pub stop: u64,
    /// What was asked for.
    pub wanted: u64,
}

impl Refused {
    /// Whether it would fit if no other call were open.
    #[must_use]
    pub fn is_held_by_others(&self) -> bool {
        self.spent < self.stop && self.spent.saturating_add(self.wanted) <= self.stop
    }
}

/// A mark that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// The alert.
    Alert,
    /// The stop.
    Stop,
}

impl Account {
    /// As it is on disk.
    #[must_use]
    pub fn new(start: Option<Timestamp>, known: Known) -> Self {
        let Known { own, others, is_told } = known;
        let exhausted = if is_told { Word::Stored } else { Word::None };
        Self { start, own, saved: own, others, reserved: 0, exhausted, users: 0 }
    }

    /// Begins anew where another period has begun. A clock that is set back begins nothing.
    pub fn roll(&mut self, start: Option<Timestamp>) {
        if start > self.start {
            // What is still on its way to the disk belongs to the old period, whose row it no longer finds.
            (self.start, self.own, self.saved, self.others) = (start, 0, 0, 0);
            self.exhausted = Word::None;
        }
    }

    /// When the period began that is counted.
    #[must_use]
    pub fn start(&self) -> Option<Timestamp> {
        self.start
    }

    /// In this period, as far as it is known here.
    #[must_use]
    pub fn spent(&self) -> u64 {
        self.own.saturating_add(self.others)
    }

    /// For calls that are open.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Whether so much may be spent beside what is and what others may spend. At its stop a budget pays for nothing,
    /// not even for what is free.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn may(&self, wanted: u64, marks: Marks) -> Result<(), Refused> {
        let Some(stop) = marks.stop else { return Ok(()) };
        let spent = self.spent();
        let sum = spent.saturating_add(self.reserved).saturating_add(wanted);
        if spent >= stop || sum > stop {
            return Err(Refused { spent, reserved: self.reserved, stop, wanted });
        }
        Ok(())
    }

    /// Whether this refusal is the first at a stop that is reached and that nobody was told of: a stop that was lowered, or
    /// reached elsewhere, is passed by no call. Each further one is not, so that a loop tells once.
    pub fn is_first_refusal(&mut self, refused: &Refused) -> bool {
        let is_first = refused.spent >= refused.stop && self.exhausted == Word::None;
        if is_first {
            self.exhausted = Word::Given;
        }
        is_first
    }

    /// Keeps so much for a call.
    pub fn reserve(&mut self, amount: u64) {
        self.reserved = self.reserved.saturating_add(amount);
    }

    /// A call kept so much and spent so much.
    pub fn settle(&mut self, reserved: u64, spent: u64, marks: Marks) -> Vec<Passed> {
        self.reserved = self.reserved.saturating_sub(reserved);
        let before = self.spent();
        self.own = self.own.saturating_add(spent);
        let after = self.spent();
        let alert = marks.alert.filter(|alert| before <= *alert && after > *alert);
        let stop = marks.stop.filter(|stop| before < *stop && after >= *stop);
        if stop.is_some() && self.exhausted == Word::None {
            self.exhausted = Word::Given;
        }
        alert.map(|_| Passed::Alert).into_iter().chain(stop.map(|_| Passed::Stop)).collect()
    }

    /// So much others have spent by now, in a period that may be news here.
    pub fn learn(&mut self, known: Known, start: Option<Timestamp>) {
        self.roll(start);
        if start != self.start {
            return;
        }
        self.others = self.others.max(known.others);
        if known.is_told {
            self.exhausted = Word::Stored;
        }
    }

    /// The event is kept that the stop is reached in that period. Before that the disk is not told so: killed in between, a
    /// router tells it again, and not never.
    pub fn told(&mut self, start: Option<Timestamp>) {
        if start == self.start && self.exhausted == Word::Given {
            self.exhausted = Word::Kept;
        }
    }

    /// Nobody took the word that a stop was passed.
    pub fn unsay(&mut self) {
        if self.exhausted == Word::Given {
            self.exhausted = Word::None;
        }
    }

    /// What has to go to the disk, if anything has: all that was spent here in this period, and not what was added to it. So it
    /// may be written twice, or after something later, and the disk is still right.
    #[must_use]
    pub fn unsaved(&self) -> Option<Sum> {
        let is_needed = self.own > self.saved || self.exhausted == Word::Kept;
        let is_told = matches!(self.exhausted, Word::Kept | Word::Stored);
        is_needed.then_some(Sum { spent: self.own, is_told })
    }

    /// So much of that period is there.
    pub fn saved(&mut self, sum: Sum, start: Option<Timestamp>) {
        if start != self.start {
            return;
        }
        self.saved = self.saved.max(sum.spent);
        if sum.is_told {
            self.exhausted = Word::Stored;
        }
    }

    /// Whether the disk knows all of it and nobody needs it here. An event that is not kept yet is known here alone.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.users == 0 && self.reserved == 0 && self.unsaved().is_none() && self.exhausted != Word::Given
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARKS: Marks = Marks { alert: Some(80), stop: Some(100) };

    #[test]
    fn what_others_may_spend_counts_and_the_stop_is_never_led_above() {
        let mut account = Account::new(None, own(50));
        assert_eq!(account.may(50, MARKS), Ok(()));
        account.reserve(30);
        let refused = account.may(21, MARKS).expect_err("30 are another's");
        assert_eq!(refused, Refused { spent: 50, reserved: 30, stop: 100, wanted: 21 });
        assert!(refused.is_held_by_others());
        account.settle(30, 50, MARKS);
        let refused = account.may(0, MARKS).expect_err("it is used up");
        assert!(!refused.is_held_by_others());
    }

    #[test]
    fn each_mark_is_passed_once_in_a_period() {
        let mut account = Account::new(None, own(0));
        let cases =
            [(80, vec![]), (1, vec![Passed::Alert]), (1, vec![]), (18, vec![Passed::Stop]), (9, vec![])];
        for (spent, passed) in cases {
            assert_eq!(account.settle(0, spent, MARKS), passed, "at {}", account.spent());
        }
        account.roll(Some(Timestamp::UNIX_EPOCH));
        assert_eq!(account.settle(0, 500, MARKS), [Passed::Alert, Passed::Stop]);
    }

    #[test]
    fn a_new_period_begins_with_nothing_and_a_clock_set_back_begins_none() {
        let time = |text: &str| Some(text.parse::<Timestamp>().expect("a time"));
        let mut account = Account::new(time("2026-05-09T00:00:00Z"), own(90));
        account.reserve(7);
        account.roll(time("2026-05-08T00:00:00Z"));
        assert_eq!(account.spent(), 90);
        account.roll(time("2026-05-10T00:00:00Z"));
        assert_eq!((account.spent(), account.reserved()), (0, 7));
    }

    fn own(own: u64) -> Known {
        Known { own, ..Known::default() }
    }

    fn spent(spent: u64) -> Sum {
        Sum { spent, is_told: false }
    }

    #[test]
    fn what_is_not_known_to_be_on_disk_goes_again_with_what_came_after_it() {
        let mut account = Account::new(None, own(3));
        assert_eq!(account.unsaved(), None, "it came from there");
        account.settle(0, 5, MARKS);
        assert_eq!(account.unsaved(), Some(spent(8)));
        account.settle(0, 2, MARKS);
        assert_eq!((account.unsaved(), account.is_idle()), (Some(spent(10)), false));
        account.saved(spent(10), None);
        account.saved(spent(8), None);
        assert_eq!((account.unsaved(), account.is_idle()), (None, true), "whichever was written last");
        account.roll(Some(Timestamp::UNIX_EPOCH));
        account.settle(0, 1, MARKS);
        account.saved(spent(10), None);
        assert_eq!(account.unsaved(), Some(spent(1)), "that was the period before");
    }

    #[test]
    fn what_others_spent_counts_and_is_never_written_as_ones_own() {
        let mut account = Account::new(None, Known { own: 10, others: 60, is_told: false });
        assert!(account.may(31, MARKS).is_err());
        account.learn(Known { others: 70, ..own(0) }, None);
        account.learn(Known { others: 65, ..own(0) }, None);
        assert_eq!((account.spent(), account.unsaved()), (80, None));
        assert_eq!(account.settle(0, 5, MARKS), [Passed::Alert], "of both together");
        assert_eq!(account.unsaved(), Some(spent(15)));
        account.learn(Known { others: 90, is_told: true, own: 0 }, None);
        let refused = account.may(0, MARKS).expect_err("it is used up");
        assert!(!account.is_first_refusal(&refused), "the other one told somebody");
    }

    #[test]
    fn what_others_spent_of_a_period_that_is_news_counts_when_it_comes_and_what_is_over_does_not() {
        let mut account = Account::new(None, Known { own: 10, others: 60, is_told: false });
        let later = Some(Timestamp::UNIX_EPOCH);
        account.learn(Known { others: 100, is_told: true, own: 0 }, later);
        account.learn(Known { others: 500, ..own(0) }, None);
        account.roll(later);
        assert_eq!((account.spent(), account.start()), (100, later));
        let refused = account.may(0, MARKS).expect_err("it is used up");
        assert!(!account.is_first_refusal(&refused), "the other one told somebody");
    }

    #[test]
    fn a_stop_that_no_call_passed_is_told_at_the_first_refusal_and_not_again() {
        let refusals = |account: &mut Account, stop| {
            let marks = Marks { alert: None, stop: Some(stop) };
            [(); 3].map(|()| {
                let refused = account.may(0, marks).expect_err("it is reached");
                account.is_first_refusal(&refused)
            })
        };
        let mut account = Account::new(None, own(50));
        let short = account.may(60, MARKS).expect_err("too little is left");
        assert!(!account.is_first_refusal(&short), "the stop is not reached");
        assert_eq!(refusals(&mut account, 40), [true, false, false], "it was lowered");
        assert_eq!((account.unsaved(), account.is_idle()), (None, false), "its event is not kept");
        account.told(Some(Timestamp::UNIX_EPOCH));
        assert_eq!(account.unsaved(), None, "that is of another period");
        account.told(None);
        assert_eq!(account.unsaved(), Some(Sum { spent: 50, is_told: true }));
        account.saved(Sum { spent: 50, is_told: true }, None);
        assert!(account.is_idle());
        assert_eq!(refusals(&mut Account::new(None, Known { is_told: true, ..own(50) }), 40), [false; 3]);
        account.roll(Some(Timestamp::UNIX_EPOCH));
        assert_eq!(account.settle(0, 100, MARKS).last(), Some(&Passed::Stop));
        assert_eq!(refusals(&mut account, 100), [false; 3], "the call that passed it was told of");
    }

    proptest! {
        #[test]
        fn what_costs_no_more_than_its_estimate_never_leads_above_the_stop(
            steps in prop::collection::vec((0_u64..40, 0_u64..=100), 1..200),
        ) {
            let mut account = Account::new(None, own(0));
            let mut open: Vec<u64> = Vec::new();
            for (wanted, share) in steps {
                if account.may(wanted, MARKS).is_ok() {
                    account.reserve(wanted);
                    open.push(wanted);
                }
                if share > 50 && let Some(held) = open.pop() {
                    account.settle(held, held * share / 100, MARKS);
                }
                prop_assert!(account.spent() + account.reserved() <= 100);
            }
            for held in open {
                account.settle(held, 0, MARKS);
            }
            prop_assert_eq!(account.reserved(), 0);
        }
    }
}
