//! What one call may spend: its accounts, what is kept back of them, and what has to go to the disk.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_outbox::EventDraft;
use jiff::Timestamp;

use super::account::{Account, Passed, Refused};
use super::period::Bounds;
use super::{BudgetConfig, Entry, Exhausted, Key, Ledger, News, Notice};

/// After which a call that was open may be over.
const OTHERS_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Longest wait for a new period that a caller is told to make: an hour. A day or a month is no wait, but news for a
/// person.
const SOON: Duration = Duration::from_secs(60 * 60);

/// The accounts of one call. While it is there, they are.
#[derive(Debug)]
pub(crate) struct Purse {
    ledger: Arc<Ledger>,
    /// Each with the place of its budget.
    accounts: Vec<(usize, Key)>,
    notices: Vec<Notice>,
}

impl Purse {
    /// Without accounts.
    pub(super) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, accounts: Vec::new(), notices: Vec::new() }
    }

    /// One more account, which counts this purse among its users already.
    pub(super) fn put(&mut self, budget: usize, key: Key) {
        self.accounts.push((budget, key));
    }

    /// Whether every budget would pay so much now.
    ///
    /// # Errors
    /// [`Exhausted`] for the first that would not.
    pub(crate) fn may(&mut self, wanted: u64, now: Timestamp) -> Result<(), Exhausted> {
        let checked = self.check(&mut self.ledger.lock().accounts, wanted, now);
        checked.map_err(|refusal| self.note(refusal))
    }

    /// The same for who only asks, which is no refusal that anybody is told of.
    ///
    /// # Errors
    /// [`Exhausted`] for the first that would not.
    pub(crate) fn would(&self, wanted: u64, now: Timestamp) -> Result<(), Exhausted> {
        let short = self.short(&mut self.ledger.lock().accounts, wanted, now);
        short.map_or(Ok(()), |short| Err(exhausted(short.budget, short.refused, short.period, now)))
    }

    /// Keeps back what an attempt may cost, of all budgets or of none.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub(crate) fn hold(&mut self, wanted: u64, now: Timestamp) -> Result<Hold, Exhausted> {
        let ledger = Arc::clone(&self.ledger);
        let mut books = ledger.lock();
        self.check(&mut books.accounts, wanted, now).map_err(|refusal| self.note(refusal))?;
        for (_, key) in &self.accounts {
            if let Some(account) = books.accounts.get_mut(key) {
                account.reserve(wanted);
            }
        }
        drop(books);
        Ok(Hold { ledger, accounts: self.accounts.clone(), reserved: wanted, spent: 0, is_settled: false })
    }

    /// What has to be told of refusals, each once.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// What of these accounts has to go to the disk, and every event that has to. Without [`Savings::saved`], it goes with
    /// the next call.
    pub(crate) fn save(&self) -> Savings {
        self.ledger.save_with(&self.accounts)
    }

    fn note(&mut self, refusal: Refusal) -> Exhausted {
        self.notices.extend(refusal.first.map(|notice| *notice));
        refusal.exhausted
    }

    fn check(
        &self,
        accounts: &mut HashMap<Key, Account>,
        wanted: u64,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(Short { key, budget, refused, period }) = self.short(accounts, wanted, now) else {
            return Ok(());
        };
        let account = accounts.get_mut(key);
        let first = account.is_some_and(|account| account.is_first_refusal(&refused)).then(|| {
            let (key, spent, marks) = (key.clone(), refused.spent, budget.marks);
            Box::new(Notice { key, passed: Passed::Stop, spent, marks, period })
        });
        Err(Refusal { exhausted: exhausted(budget, refused, period, now), first })
    }

    /// The first budget that would not pay.
    fn short(&self, accounts: &mut HashMap<Key, Account>, wanted: u64, now: Timestamp) -> Option<Short<'_>> {
        self.accounts.iter().find_map(|(place, key)| {
            let budget = self.ledger.budgets.get(*place)?;
            let account = accounts.get_mut(key)?;
            let period = budget.period.at(now);
            account.roll(period.start);
            let refused = account.may(wanted, budget.marks).err()?;
            Some(Short { key, budget, refused, period })
        })
    }
}

/// A budget that would not pay.
struct Short<'p> {
    key: &'p Key,
    budget: &'p BudgetConfig,
    refused: Refused,
    period: Bounds,
}

fn exhausted(budget: &BudgetConfig, refused: Refused, period: Bounds, now: Timestamp) -> Exhausted {
    let retry_after = retry_after(&refused, period, now);
    Exhausted { budget: budget.name.clone(), refused, retry_after }
}

/// A budget that does not pay.
#[derive(Debug)]
struct Refusal {
    exhausted: Exhausted,
    /// Nobody was told of it before.
    first: Option<Box<Notice>>,
}

/// Other calls end soon, and a period may.
fn retry_after(refused: &Refused, period: Bounds, now: Timestamp) -> Option<Duration> {
    if refused.is_held_by_others() {
        return Some(OTHERS_RETRY_DELAY);
    }
    let left = Duration::try_from(period.end?.duration_since(now)).ok()?;
    (left <= SOON).then_some(left)
}

impl Drop for Purse {
    fn drop(&mut self) {
        for (_, key) in &self.accounts {
            self.ledger.change(key, |account| account.users = account.users.saturating_sub(1));
        }
    }
}

/// What is kept back for an attempt. Dropped, it is settled by what is known to have been spent.
#[derive(Debug)]
#[must_use]
pub(crate) struct Hold {
    ledger: Arc<Ledger>,
    accounts: Vec<(usize, Key)>,
    reserved: u64,
    spent: u64,
    is_settled: bool,
}

impl Hold {
    /// So much is spent by now, whatever becomes of the rest.
    pub(crate) fn spent(&mut self, amount: u64) {
        self.spent = amount;
    }

    /// Gives back what was not spent, and says which marks were passed by it.
    pub(crate) fn settle(mut self, now: Timestamp) -> Vec<Notice> {
        self.end(now)
    }

    fn end(&mut self, now: Timestamp) -> Vec<Notice> {
        if std::mem::replace(&mut self.is_settled, true) {
            return Vec::new();
        }
        let mut notices = Vec::new();
        let mut books = self.ledger.lock();
        for (place, key) in &self.accounts {
            let Some(budget) = self.ledger.budgets.get(*place) else { continue };
            let Some(account) = books.accounts.get_mut(key) else { continue };
            let period = budget.period.at(now);
            account.roll(period.start);
            let passed = account.settle(self.reserved, self.spent, budget.marks);
            let spent = account.spent();
            notices.extend(passed.into_iter().map(|passed| Notice {
                key: key.clone(),
                passed,
                spent,
                marks: budget.marks,
                period,
            }));
        }
        notices
    }
}

impl Drop for Hold {
    /// Nobody is there to tell of what was passed, so that of a stop the first refusal tells.
    fn drop(&mut self) {
        for notice in self.end(bulkhead_edge::now()) {
            tracing::warn!(?notice, "a budget's mark was passed by an attempt that nobody settled");
            if notice.passed == Passed::Stop {
                self.ledger.change(&notice.key, Account::unsay);
            }
        }
    }
}

/// Amounts and events on their way to the disk.
#[derive(Debug)]
#[must_use]
pub(crate) struct Savings {
    pub(super) entries: Vec<Entry>,
    pub(super) events: Vec<News>,
    pub(super) ledger: Arc<Ledger>,
}

impl Savings {
    /// What has to be written.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What has to be told.
    pub(crate) fn events(&self) -> Vec<EventDraft> {
        self.events.iter().map(|news| news.event.clone()).collect()
    }

    /// It is written. Where nobody knows whether it is, it is written again; an event keeps its id, and the log drops what
    /// it knows. Returns what has to be written because these events are kept.
    pub(crate) fn saved(mut self) -> Self {
        for entry in &self.entries {
            self.ledger.change(&entry.key, |account| account.saved(entry.sum, entry.start));
        }
        let (events, ledger) = (std::mem::take(&mut self.events), Arc::clone(&self.ledger));
        let stops = events.into_iter().filter(|news| news.passed == Passed::Stop);
        let entries = stops.filter_map(|News { key, start, .. }| {
            let told = |account: &mut Account| {
                account.told(start);
                ledger.entry(&key, account)
            };
            ledger.change(&key, told).flatten()
        });
        Self { entries: entries.collect(), events: Vec::new(), ledger }
    }
}

impl Drop for Savings {
    fn drop(&mut self) {
        if !self.events.is_empty() {
            self.ledger.tell(std::mem::take(&mut self.events));
        }
    }
}
