//! The same request id: the same answer, for a while, from memory.
//!
//! Promises that of several requests with one id only one calls models at a time; the others wait for its
//! answer. Failures are not remembered, so that the same id may be tried again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// How long an answer is remembered, by contract.
const WINDOW: Duration = Duration::from_secs(600);
/// Answers remembered at most; the oldest go first.
const ANSWERS_MAX: usize = 4_096;
/// Bytes of answers remembered at most.
const BYTES_MAX: usize = 64 << 20;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// The caller, tenant included.
    pub(crate) principal: String,
    /// The caller's id for the request.
    pub(crate) request_id: String,
}

/// What an id means now.
#[derive(Debug)]
pub(crate) enum Claim<A> {
    /// Never seen, or its first request failed: act, then [`First::answered`].
    First(First<A>),
    /// Answered before.
    Answered(A),
    /// Seen with another payload.
    Reused,
}

/// The memory. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Replay<A>(Arc<Mutex<Memory<A>>>);

#[derive(Debug)]
struct Memory<A> {
    entries: HashMap<Key, Entry<A>>,
    /// Answered keys, oldest first.
    order: VecDeque<(Key, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<A> {
    digest: String,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    Running(watch::Receiver<()>),
    Answered { answer: A, bytes: usize },
}

enum Found<A> {
    Claim(Claim<A>),
    Wait(watch::Receiver<()>),
}

impl<A> Clone for Replay<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Clone> Replay<A> {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Memory { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 })))
    }

    /// Looks an id up, waiting while another request with it is under way.
    pub(crate) async fn claim(&self, key: Key, digest: &str) -> Claim<A> {
        loop {
            match self.look_up(&key, digest, Instant::now()) {
                Found::Claim(claim) => return claim,
                // The sender is dropped when the first request ends, however it ends.
                Found::Wait(mut running) => while running.changed().await.is_ok() {},
            }
        }
    }

    fn look_up(&self, key: &Key, digest: &str, now: Instant) -> Found<A> {
        let mut memory = self.lock();
        memory.forget_old(now);
        match memory.entries.get(key) {
            Some(entry) if entry.digest != digest => Found::Claim(Claim::Reused),
            Some(Entry { state: State::Answered { answer, .. }, .. }) => {
                Found::Claim(Claim::Answered(answer.clone()))
            }
            Some(Entry { state: State::Running(running), .. }) => Found::Wait(running.clone()),
            None => {
                let (ended, running) = watch::channel(());
                let entry = Entry { digest: digest.to_owned(), state: State::Running(running) };
                memory.entries.insert(key.clone(), entry);
                Found::Claim(Claim::First(First { replay: self.clone(), key: key.clone(), _ended: ended }))
            }
        }
    }
}

impl<A> Replay<A> {
    fn lock(&self) -> MutexGuard<'_, Memory<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to act for an id. Dropped without an answer, it frees the id.
#[derive(Debug)]
pub(crate) struct First<A> {
    replay: Replay<A>,
    key: Key,
    _ended: watch::Sender<()>,
}

impl<A> First<A> {
    /// Remembers the answer, which has so many bytes.
    pub(crate) fn answered(self, answer: A, bytes: usize) {
        self.replay.lock().remember(&self.key, answer, bytes, Instant::now());
    }
}

impl<A> Drop for First<A> {
    fn drop(&mut self) {
        let mut memory = self.replay.lock();
        if let Some(Entry { state: State::Running(_), .. }) = memory.entries.get(&self.key) {
            memory.entries.remove(&self.key);
        }
    }
}

impl<A> Memory<A> {
    fn remember(&mut self, key: &Key, answer: A, bytes: usize, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.state = State::Answered { answer, bytes };
        self.bytes += bytes;
        self.order.push_back((key.clone(), now));
        while self.order.len() > ANSWERS_MAX || self.bytes > BYTES_MAX {
            self.forget_oldest();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(_, since)| now.duration_since(*since) >= WINDOW) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, _)) = self.order.pop_front() else { return };
        if let Some(Entry { state: State::Answered { bytes, .. }, .. }) = self.entries.remove(&key) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(request_id: &str) -> Key {
        Key { principal: "agent:default/scribe".into(), request_id: request_id.into() }
    }

    fn first(replay: &Replay<u32>, id: &str) -> First<u32> {
        match replay.look_up(&key(id), "d", Instant::now()) {
            Found::Claim(Claim::First(first)) => first,
            Found::Claim(_) | Found::Wait(_) => panic!("{id} is not new"),
        }
    }

    fn size(replay: &Replay<u32>) -> (usize, usize) {
        let memory = replay.lock();
        (memory.entries.len(), memory.bytes)
    }

    #[tokio::test]
    async fn an_answer_is_replayed_and_another_payload_refused() {
        let replay = Replay::new();
        first(&replay, "1").answered(7, 10);
        assert!(matches!(replay.claim(key("1"), "d").await, Claim::Answered(7)));
        assert!(matches!(replay.claim(key("1"), "other").await, Claim::Reused));
        let other = Key { principal: "agent:default/other".into(), ..key("1") };
        assert!(matches!(replay.claim(other, "other").await, Claim::First(_)));
    }

    #[tokio::test]
    async fn a_second_request_waits_for_the_first() {
        let replay = Replay::new();
        let running = first(&replay, "1");
        let waiting = replay.claim(key("1"), "d");
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        running.answered(7, 10);
        assert!(matches!(waiting.await, Claim::Answered(7)));
    }

    #[tokio::test]
    async fn when_the_first_fails_the_second_takes_its_place() {
        let replay = Replay::<u32>::new();
        let running = first(&replay, "1");
        let waiting = replay.claim(key("1"), "d");
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(running);
        assert!(matches!(waiting.await, Claim::First(_)));
    }

    #[test]
    fn memory_is_bounded_in_time_count_and_bytes() {
        let replay = Replay::new();
        first(&replay, "old").answered(1, 10);
        let later = Instant::now() + WINDOW;
        assert!(matches!(replay.look_up(&key("old"), "d", later), Found::Claim(Claim::First(_))));

        for id in 0..ANSWERS_MAX + 1 {
            first(&replay, &format!("n{id}")).answered(1, 10);
        }
        assert_eq!(size(&replay).0, ANSWERS_MAX);
        first(&replay, "large").answered(1, BYTES_MAX);
        assert_eq!(size(&replay), (1, BYTES_MAX));
        first(&replay, "larger").answered(1, BYTES_MAX + 1);
        assert_eq!(size(&replay), (0, 0));
    }
}
