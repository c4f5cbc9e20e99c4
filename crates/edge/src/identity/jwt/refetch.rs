//! Fetching the keys before it is time, because a token names one that nobody has seen.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

/// Between two such fetches, whoever asks: anybody can make a token that names an unknown key.
const INTERVAL: Duration = Duration::from_secs(10);
/// How long a call waits for one.
const WAIT: Duration = Duration::from_secs(6);

/// Who asks, and when it has been done.
#[derive(Debug, Default)]
pub(super) struct Refetch {
    state: Mutex<State>,
    wanted: Notify,
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Instant>,
    pending: bool,
}

impl State {
    /// Whether there is a fetch to wait for: one under way, or a new one.
    fn claim(&mut self, now: Instant) -> bool {
        if !self.pending && self.next.is_none_or(|next| next <= now) {
            *self = Self { next: Some(now + INTERVAL), pending: true };
        }
        self.pending
    }
}

impl Refetch {
    /// Asks for a fetch and waits for it. False when it is too early for another, or this one takes too long.
    pub(super) async fn ask(&self) -> bool {
        let mut done = self.done.subscribe();
        if !self.state(|state| state.claim(Instant::now())) {
            return false;
        }
        self.wanted.notify_one();
        tokio::time::timeout(WAIT, done.changed()).await.is_ok()
    }

    /// Resolves when somebody has asked.
    pub(super) async fn asked(&self) {
        self.wanted.notified().await;
    }

    /// A fetch was tried.
    pub(super) fn tried(&self) {
        self.state(|state| state.pending = false);
        self.done.send_modify(|count| *count += 1);
    }

    fn state<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cause_one_fetch_in_ten_seconds() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(state.claim(now));
        assert!(state.claim(now), "the one under way is waited for");
        state.pending = false;
        assert!(!state.claim(now + Duration::from_secs(9)));
        assert!(state.claim(now + Duration::from_secs(10)));
    }
}
