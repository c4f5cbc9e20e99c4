//! Answers kept in memory, for requests that change no store and are worth not repeating.
//!
//! Promises that of several requests with one name only one acts at a time; the others wait for its answer.
//! Failures are not remembered, so that the same request may be tried again; a restart forgets all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Claim, PayloadDigest, Request, Scope};

/// How long an answer is remembered, by contract.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Answers remembered at most; the oldest go first.
const ANSWERS_MAX: usize = 4_096;
/// Bytes of answers remembered at most.
const BYTES_MAX: usize = 64 << 20;

/// The memory. Cheap to clone.
#[derive(Debug)]
pub struct Memory<A>(Arc<Mutex<Kept<A>>>);

#[derive(Debug)]
struct Kept<A> {
    entries: HashMap<Scope, Entry<A>>,
    /// Answered ones, oldest first.
    order: VecDeque<(Scope, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<A> {
    payload: PayloadDigest,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    Running(watch::Receiver<()>),
    Answered { answer: A, bytes: usize },
}

enum Found<A> {
    Claim(Claim<First<A>, A>),
    Wait(watch::Receiver<()>),
}

impl<A> Clone for Memory<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A> Default for Memory<A> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Kept { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 })))
    }
}

impl<A: Clone> Memory<A> {
    /// Looks a request up, waiting while another with its name is under way.
    pub async fn claim(&self, request: &Request) -> Claim<First<A>, A> {
        loop {
            match self.look_up(request, Instant::now()) {
                Found::Claim(claim) => return claim,
                // The sender is dropped when the first request ends, however it ends.
                Found::Wait(mut running) => while running.changed().await.is_ok() {},
            }
        }
    }

    fn look_up(&self, request: &Request, now: Instant) -> Found<A> {
        let Request { scope, payload } = request;
        let mut memory = self.lock();
        memory.forget_old(now);
        match memory.entries.get(scope) {
            Some(entry) if entry.payload != *payload => Found::Claim(Claim::Reused),
            Some(Entry { state: State::Answered { answer, .. }, .. }) => {
                Found::Claim(Claim::Seen(answer.clone()))
            }
            Some(Entry { state: State::Running(running), .. }) => Found::Wait(running.clone()),
            None => {
                let (ended, running) = watch::channel(());
                let entry = Entry { payload: payload.clone(), state: State::Running(running) };
                memory.entries.insert(scope.clone(), entry);
                Found::Claim(Claim::New(First { memory: self.clone(), scope: scope.clone(), _ended: ended }))
            }
        }
    }
}

impl<A> Memory<A> {
    fn lock(&self) -> MutexGuard<'_, Kept<A>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to act for a request. Dropped without an answer, it frees the name.
#[derive(Debug)]
pub struct First<A> {
    memory: Memory<A>,
    scope: Scope,
    _ended: watch::Sender<()>,
}

impl<A> First<A> {
    /// Remembers the answer, which has so many bytes.
    pub fn answered(self, answer: A, bytes: usize) {
        self.memory.lock().remember(&self.scope, answer, bytes, Instant::now());
    }
}

impl<A> Drop for First<A> {
    fn drop(&mut self) {
        let mut kept = self.memory.lock();
        if let Some(Entry { state: State::Running(_), .. }) = kept.entries.get(&self.scope) {
            kept.entries.remove(&self.scope);
        }
    }
}

impl<A> Kept<A> {
    fn remember(&mut self, scope: &Scope, answer: A, bytes: usize, now: Instant) {
        let Some(entry) = self.entries.get_mut(scope) else { return };
        entry.state = State::Answered { answer, bytes };
        self.bytes += bytes;
        self.order.push_back((scope.clone(), now));
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
        let Some((scope, _)) = self.order.pop_front() else { return };
        if let Some(Entry { state: State::Answered { bytes, .. }, .. }) = self.entries.remove(&scope) {
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_proto::tools::v1::ToolCall;
    use uuid::Uuid;

    use super::*;

    fn request(id: u128, tool: &str) -> Request {
        let payload = PayloadDigest::of(&ToolCall { tool: tool.into(), ..ToolCall::default() });
        Request { scope: scope(id, "agent:default/scribe"), payload }
    }

    fn scope(id: u128, principal: &str) -> Scope {
        let (tenant, principal) = ("default".to_owned(), principal.to_owned());
        Scope { tenant, principal, method: "Generate", request_id: Uuid::from_u128(id) }
    }

    fn first(memory: &Memory<u32>, id: u128) -> First<u32> {
        match memory.look_up(&request(id, "a"), Instant::now()) {
            Found::Claim(Claim::New(first)) => first,
            Found::Claim(_) | Found::Wait(_) => panic!("{id} is not new"),
        }
    }

    fn size(memory: &Memory<u32>) -> (usize, usize) {
        let kept = memory.lock();
        (kept.entries.len(), kept.bytes)
    }

    #[tokio::test]
    async fn an_answer_is_replayed_and_another_payload_refused() {
        let memory = Memory::default();
        first(&memory, 1).answered(7, 10);
        assert!(matches!(memory.claim(&request(1, "a")).await, Claim::Seen(7)));
        assert!(matches!(memory.claim(&request(1, "b")).await, Claim::Reused));
        let other = Request { scope: scope(1, "agent:default/other"), ..request(1, "b") };
        assert!(matches!(memory.claim(&other).await, Claim::New(_)));
    }

    #[tokio::test]
    async fn a_second_request_waits_for_the_first() {
        let memory = Memory::default();
        let running = first(&memory, 1);
        let same = request(1, "a");
        let waiting = memory.claim(&same);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        running.answered(7, 10);
        assert!(matches!(waiting.await, Claim::Seen(7)));
    }

    #[tokio::test]
    async fn when_the_first_fails_the_second_takes_its_place() {
        let memory = Memory::<u32>::default();
        let running = first(&memory, 1);
        let same = request(1, "a");
        let waiting = memory.claim(&same);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(running);
        assert!(matches!(waiting.await, Claim::New(_)));
    }

    #[test]
    fn memory_is_bounded_in_time_count_and_bytes() {
        let memory = Memory::default();
        first(&memory, 0).answered(1, 10);
        let later = Instant::now() + WINDOW;
        assert!(matches!(memory.look_up(&request(0, "a"), later), Found::Claim(Claim::New(_))));

        for id in 1..ANSWERS_MAX + 2 {
            first(&memory, u128::try_from(id).expect("fits")).answered(1, 10);
        }
        assert_eq!(size(&memory).0, ANSWERS_MAX);
        first(&memory, 100_000).answered(1, BYTES_MAX);
        assert_eq!(size(&memory), (1, BYTES_MAX));
        first(&memory, 100_001).answered(1, BYTES_MAX + 1);
        assert_eq!(size(&memory), (0, 0));
    }
}
