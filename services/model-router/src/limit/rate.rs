//! Requests and tokens a minute: who is counted, and where.
//!
//! A request and its tokens, by estimate, are taken before anything is sent, and settled by what was used when the
//! [`Reservation`] ends, however it ends. Where the counts are kept is behind [`RateStore`], so that replicas can share them.

mod in_process;

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

pub use in_process::InProcess;

/// What a minute may take. A limit that is none does not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests_per_minute_max: Option<u64>,
    /// Tokens of prompts and answers.
    pub tokens_per_minute_max: Option<u64>,
}

impl Rate {
    /// Whether it bounds anything.
    #[must_use]
    pub fn bounds(&self) -> bool {
        self.requests_per_minute_max.is_some() || self.tokens_per_minute_max.is_some()
    }
}

/// What is counted together: the same in every process that shares a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Of whom.
    pub subject: Arc<str>,
}

/// What somebody wants of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Where it is counted.
    pub key: Key,
    /// What is allowed there.
    pub rate: Rate,
    /// Tokens, by estimate, beside one request.
    pub tokens: u64,
}

/// A limit that has not enough left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Short {
    /// Which.
    pub key: Key,
    /// From when on there is enough; none: what is wanted is more than a whole minute has.
    pub until: Option<Instant>,
}

/// Where counts are kept. Promises that a minute never takes more than its limit, and that of several wants either all
/// are taken or none.
#[async_trait]
pub trait RateStore: std::fmt::Debug + Send + Sync {
    /// Takes all of it.
    ///
    /// # Errors
    /// [`Short`] for the limit that has to be waited for longest; nothing is taken then.
    async fn take(&self, wants: &[Want], now: Instant) -> Result<(), Short>;

    /// What [`RateStore::take`] would say, as far as it is known here. Takes nothing and never waits.
    ///
    /// # Errors
    /// [`Short`].
    fn look(&self, wants: &[Want], now: Instant) -> Result<(), Short>;

    /// What was taken then has used this much. What it has not used is given back, unless its minute is over. Never waits:
    /// it is called where nobody can.
    fn settle(&self, wants: &[Want], then: Instant, used: Used, now: Instant);
}

/// What became of what was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// The request counts.
    pub request: bool,
    /// Of its tokens so many do.
    pub tokens: u64,
}

/// What was taken, until it is settled. Dropped, it is settled by what is known to have been used; by nothing, if that was
/// never said.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    store: Arc<dyn RateStore>,
    wants: Vec<Want>,
    then: Instant,
    used: Used,
}

impl Reservation {
    /// Takes all of it, or nothing.
    ///
    /// # Errors
    /// [`Short`].
    pub async fn take(store: &Arc<dyn RateStore>, wants: Vec<Want>, now: Instant) -> Result<Self, Short> {
        if !wants.is_empty() {
            store.take(&wants, now).await?;
        }
        Ok(Self { store: Arc::clone(store), wants, then: now, used: Used::default() })
    }

    /// The request counts from now on, whatever becomes of it.
    pub fn counts(&mut self) {
        self.used.request = true;
    }

    /// So many tokens are known to be used by now, whatever becomes of the rest.
    pub fn used(&mut self, tokens: u64) {
        self.used = Used { request: true, tokens };
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.wants.is_empty() {
            self.store.settle(&self.wants, self.then, self.used, Instant::now());
        }
    }
}
