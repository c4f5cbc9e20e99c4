//! Budgets: what tenants and sessions may spend, and what they did. Amounts in millionths of a US dollar.
//!
//! Promises that no call is begun that may lead above a budget's stop, by the estimate of what it costs at most, and
//! that what was spent is on disk, with the event of the call that spent it, before the call is answered. What a call
//! keeps back is given back when its [`Hold`] is dropped, however it ends.
//!
//! Each router counts what it spends itself, and what it knows of others: of those that are gone ([`Ledger::learn`]). What
//! routers spend that run at the same time they do not know of each other.

pub mod account;
mod others;
pub mod period;
mod purse;
mod store;
mod sweep;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bulkhead_outbox::EventDraft;
use bulkhead_sqlite::{Store, WriteError};
use jiff::Timestamp;

use account::{Account, Marks, Passed, Refused, Sum};
use period::{Bounds, Period};
pub(crate) use purse::{Hold, Purse, Savings};
use store::Edition;
pub(crate) use store::write;

/// A configured budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Unique.
    pub name: String,
    /// Who spends together.
    pub scope: BudgetScope,
    /// Only this tenant; none: each tenant for itself.
    pub tenant: Option<String>,
    /// When counting begins anew.
    pub period: Period,
    /// At which amounts something happens.
    pub marks: Marks,
}

/// Who spends together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetScope {
    /// A tenant.
    Tenant,
    /// A session.
    Session,
}

impl BudgetConfig {
    /// The session that a call spends in; none: the budget is not for the call.
    fn session<'s>(&self, tenant: &str, session_id: &'s str) -> Option<&'s str> {
        let is_for = self.tenant.as_deref().is_none_or(|only| only == tenant);
        match self.scope {
            BudgetScope::Tenant => is_for.then_some(""),
            BudgetScope::Session => (is_for && !session_id.is_empty()).then_some(session_id),
        }
    }
}

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Name of the budget.
    pub(crate) budget: String,
    /// What is counted over another span is counted apart.
    pub(crate) period: Period,
    pub(crate) tenant: String,
    /// Empty: the tenant's.
    pub(crate) session_id: String,
}

/// A budget that stands against a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted {
    /// Name of the budget.
    pub(crate) budget: String,
    pub(crate) refused: Refused,
    /// After which it may pay again; none: not soon.
    pub(crate) retry_after: Option<Duration>,
}

/// A mark of a budget was passed by a call, or is known to be passed by the first that was refused for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) key: Key,
    pub(crate) passed: Passed,
    pub(crate) spent: u64,
    pub(crate) marks: Marks,
    pub(crate) period: Bounds,
}

/// An event about a budget that is not known to be kept.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) key: Key,
    pub(crate) passed: Passed,
    /// When the period began that it is about.
    pub(crate) start: Option<Timestamp>,
    pub(crate) event: EventDraft,
}

/// A budget as those who watch see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) key: Key,
    pub(crate) spent: u64,
    pub(crate) reserved: u64,
    pub(crate) marks: Marks,
    pub(crate) period: Bounds,
}

/// What an account spent in a period, on its way to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// The store that it is for.
    pub(crate) origin: Arc<Edition>,
    pub(crate) start: Option<Timestamp>,
    /// In all, so that it can be written twice.
    pub(crate) sum: Sum,
}

/// Why the disk could not be read or changed where no call waits for it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("what was spent could not be read")]
    Read(#[from] sqlx::Error),
    #[error("what was spent could not be written")]
    Write(#[from] WriteError),
}

/// Every budget with its accounts. Each step takes the lock for itself and never waits under it.
#[derive(Debug)]
pub(crate) struct Ledger {
    budgets: Vec<BudgetConfig>,
    store: Store,
    /// What the store is since this router has it.
    origin: Arc<Edition>,
    /// Shared with the ledger that came before or comes after.
    books: Arc<Mutex<Books>>,
}

/// What is known of accounts.
#[derive(Debug, Default)]
struct Books {
    accounts: HashMap<Key, Account>,
    /// How often idle accounts were forgotten or more was learnt of others. What was read from the disk before that may be
    /// older than what is there now.
    changes: u64,
    /// Stores of others that are learnt, by id, as of how many routers had them.
    learnt: HashMap<String, i64>,
    /// Each mark of an account leaves one in a period, so they are few.
    untold: Vec<News>,
    /// Accounts at which idle ones are looked for again.
    sweep_at: usize,
}

/// Accounts below which none that is idle is looked for.
const SWEEP_MIN: usize = 1_024;

impl Books {
    /// Forgets idle accounts once there are many. The next look comes when there are twice as many as are left, so that a
    /// new account costs no look at all of those that are in use; as many as those may rest here meanwhile.
    fn forget_idle(&mut self) {
        let before = self.accounts.len();
        if before < self.sweep_at.max(SWEEP_MIN) {
            return;
        }
        self.accounts.retain(|_, account| !account.is_idle());
        self.changes = self.changes.saturating_add(u64::from(self.accounts.len() < before));
        self.sweep_at = self.accounts.len().saturating_mul(2);
    }
}

impl Ledger {
    /// Takes a store over from whoever had it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn open(budgets: Vec<BudgetConfig>, store: Store) -> Result<Arc<Self>, sqlx::Error> {
        let before = store::edition(&store).await?;
        let origin = Arc::new(Edition { terms: before.terms.saturating_add(1), ..before });
        Ok(Arc::new(Self { budgets, store, origin, books: Arc::default() }))
    }

    /// One for other budgets. What was spent and is kept back of those that stay is the same in both.
    pub(crate) fn handed_on(&self, budgets: Vec<BudgetConfig>) -> Arc<Self> {
        let (store, origin) = (self.store.clone(), Arc::clone(&self.origin));
        Arc::new(Self { budgets, store, origin, books: Arc::clone(&self.books) })
    }

    /// The accounts that a call of this tenant in this session spends from; a session may be empty.
    ///
    /// # Errors
    /// When one that is not known yet cannot be read.
    pub(crate) async fn purse(
        self: &Arc<Self>,
        tenant: &str,
        session_id: &str,
        now: Timestamp,
    ) -> Result<Purse, sqlx::Error> {
        let mut purse = Purse::new(Arc::clone(self));
        for (place, budget) in self.budgets.iter().enumerate() {
            let Some(session_id) = budget.session(tenant, session_id) else { continue };
            let key = Key {
                budget: budget.name.clone(),
                period: budget.period,
                tenant: tenant.to_owned(),
                session_id: session_id.to_owned(),
            };
            let start = budget.period.at(now).start;
            let mut read = None;
            while !self.enter(&key, start, read.take()) {
                let changes = self.lock().changes;
                read = Some((
                    Account::new(start, store::known(&self.store, &self.origin.id, &key, start).await?),
                    changes,
                ));
            }
            purse.put(place, key);
        }
        Ok(purse)
    }

    /// Every budget of a tenant, by name and session; of one session, if it is given.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn statements(
        &self,
        tenant: &str,
        session_id: &str,
        now: Timestamp,
    ) -> Result<Vec<Statement>, sqlx::Error> {
        let mut all = Vec::new();
        for budget in &self.budgets {
            if budget.tenant.as_deref().is_some_and(|only| only != tenant) {
                continue;
            }
            let period = budget.period.at(now);
            let mut accounts = match budget.scope {
                BudgetScope::Tenant if session_id.is_empty() => HashMap::from([(String::new(), (0, 0))]),
                BudgetScope::Tenant => continue,
                BudgetScope::Session => HashMap::new(),
            };
            let rows = store::all(&self.store, &budget.name, budget.period, tenant, period.start).await?;
            accounts.extend(rows.into_iter().map(|(session, spent)| (session, (spent, 0))));
            // What is known here is newer than what is on disk, but for an account that rests since another period.
            let known = self.lock();
            let known = known.accounts.iter().filter(|(key, _)| {
                key.budget == budget.name && key.period == budget.period && key.tenant == tenant
            });
            for (key, account) in known {
                let (spent, reserved) = accounts.entry(key.session_id.clone()).or_default();
                *reserved = account.reserved();
                if account.start() == period.start {
                    *spent = account.spent();
                }
            }
            let wanted = accounts
                .into_iter()
                .filter(|(session, _)| session_id.is_empty() || session == session_id)
                .map(|(session, (spent, reserved))| Statement {
                    key: Key {
                        budget: budget.name.clone(),
                        period: budget.period,
                        tenant: tenant.to_owned(),
                        session_id: session,
                    },
                    spent,
                    reserved,
                    marks: budget.marks,
                    period,
                });
            all.extend(wanted);
        }
        all.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(all)
    }

    /// These events go with the next write, and if that fails with the one after it.
    pub(crate) fn tell(&self, events: Vec<News>) {
        self.lock().untold.extend(events);
    }

    /// Whether an event waits for a write.
    pub(crate) fn is_untold(&self) -> bool {
        !self.lock().untold.is_empty()
    }

    /// What has to go to the disk of accounts that an event is about.
    pub(crate) fn save(self: &Arc<Self>) -> Savings {
        self.save_with(&[])
    }

    /// The same, and what has to go there of these accounts.
    fn save_with(self: &Arc<Self>, accounts: &[(usize, Key)]) -> Savings {
        let mut books = self.lock();
        let events = std::mem::take(&mut books.untold);
        let keys: BTreeSet<&Key> =
            accounts.iter().map(|(_, key)| key).chain(events.iter().map(|news| &news.key)).collect();
        let entries = keys.into_iter().filter_map(|key| self.entry(key, books.accounts.get(key)?));
        Savings { entries: entries.collect(), events, ledger: Arc::clone(self) }
    }

    /// What has to go to the disk of an account, if anything has.
    fn entry(&self, key: &Key, account: &Account) -> Option<Entry> {
        let (sum, origin) = (account.unsaved()?, Arc::clone(&self.origin));
        Some(Entry { key: key.clone(), origin, start: account.start(), sum })
    }

    /// One more call uses an account, which is the one that was read if none is known; false: it has to be read, or read
    /// again.
    fn enter(&self, key: &Key, start: Option<Timestamp>, read: Option<(Account, u64)>) -> bool {
        let mut books = self.lock();
        if !books.accounts.contains_key(key) {
            books.forget_idle();
        }
        let Books { accounts, changes, .. } = &mut *books;
        if let Some((account, _)) = read.filter(|(_, as_of)| as_of == changes) {
            // Whoever was faster read the same.
            accounts.entry(key.clone()).or_insert(account);
        }
        let Some(account) = accounts.get_mut(key) else { return false };
        account.roll(start);
        account.users = account.users.saturating_add(1);
        true
    }

    fn change<T>(&self, key: &Key, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        self.lock().accounts.get_mut(key).map(change)
    }

    fn lock(&self) -> MutexGuard<'_, Books> {
        // Every step leaves whole accounts, so a panic elsewhere does not make them wrong.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
