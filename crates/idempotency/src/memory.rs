//! Answers kept in memory, for requests that change no store and are worth not repeating.
//!
//! Promises that of several requests with one name only one acts at a time; the others wait for its answer, or join
//! it in what it does, where it lets them. Failures are not remembered, so that the same request may be tried again; a
//! restart forgets all.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::{Claim, PayloadDigest, Request, Scope};

/// How long an answer is remembered, by contract.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Answers remembered at most; the oldest go first.
const ANSWERS_MAX: usize = 4_096;
/// Bytes of answers remembered at most: as many answers as may be remembered, of a page each.
const BYTES_MAX: usize = 16 << 20;

/// The memory of answers `A`, and of what those under way let others join, `L`. Cheap to clone.
#[derive(Debug)]
pub struct Memory<A, L = ()>(Arc<Mutex<Kept<A, L>>>);

/// What is known of a request that came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known<A, J> {
    /// Its answer.
    Answered(A),
    /// It is under way, and this one takes part.
    Joined(J),
}

#[derive(Debug)]
struct Kept<A, L> {
    entries: HashMap<Arc<Scope>, Entry<A, L>>,
    /// Answered ones, oldest first.
    order: VecDeque<(Arc<Scope>, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<A, L> {
    payload: PayloadDigest,
    state: State<A, L>,
}

#[derive(Debug)]
enum State<A, L> {
    Running(watch::Receiver<Option<L>>),
    Answered { answer: A, bytes: usize },
}

enum Found<A, L> {
    Claim(Claim<First<A, L>, A>),
    Wait(watch::Receiver<Option<L>>),
}

impl<A, L> Clone for Memory<A, L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A, L> Default for Memory<A, L> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Kept { entries: HashMap::new(), order: VecDeque::new(), bytes: 0 })))
    }
}

impl<A: Clone, L: Clone> Memory<A, L> {
    /// Looks a request up, waiting while another with its name is under way.
    pub async fn claim(&self, request: &Request) -> Claim<First<A, L>, A> {
        loop {
            match self.look_up(request, Instant::now()) {
                Found::Claim(claim) => return claim,
                // The sender is dropped when the first request ends, however it ends.
                Found::Wait(mut running) => while running.changed().await.is_ok() {},
            }
        }
    }

    /// The same for one who can also take part in what is under way: as soon as the first shares it, and `join` can.
    pub async fn claim_or_join<J>(
        &self,
        request: &Request,
        join: impl Fn(L) -> Option<J>,
    ) -> Claim<First<A, L>, Known<A, J>> {
        loop {
            let mut running = match self.look_up(request, Instant::now()) {
                Found::Claim(Claim::New(first)) => return Claim::New(first),
                Found::Claim(Claim::Seen(answer)) => return Claim::Seen(Known::Answered(answer)),
                Found::Claim(Claim::Reused) => return Claim::Reused,
                Found::Wait(running) => running,
            };
            loop {
                let shared = running.borrow_and_update().clone();
                if let Some(joined) = shared.and_then(&join) {
                    return Claim::Seen(Known::Joined(joined));
                }
                if running.changed().await.is_err() {
                    break;
                }
            }
        }
    }

    fn look_up(&self, request: &Request, now: Instant) -> Found<A, L> {
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
                let (shared, running) = watch::channel(None);
                let entry = Entry { payload: payload.clone(), state: State::Running(running) };
                let scope = Arc::new(scope.clone());
                memory.entries.insert(Arc::clone(&scope), entry);
                Found::Claim(Claim::New(First { memory: self.clone(), scope, shared }))
            }
        }
    }
}

impl<A, L> Memory<A, L> {
    fn lock(&self) -> MutexGuard<'_, Kept<A, L>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to act for a request. Dropped without an answer, it frees the name.
#[derive(Debug)]
pub struct First<A, L = ()> {
    memory: Memory<A, L>,
    scope: Arc<Scope>,
    shared: watch::Sender<Option<L>>,
}

impl<A, L> First<A, L> {
    /// Lets those who come while it is under way join it.
    pub fn shares(&self, live: L) {
        self.shared.send_replace(Some(live));
    }

    /// Remembers the answer, which has so many bytes.
    pub fn answered(self, answer: A, bytes: usize) {
        self.memory.lock().remember(&self.scope, answer, bytes, Instant::now());
    }
}

impl<A, L> Drop for First<A, L> {
    fn drop(&mut self) {
        let mut kept = self.memory.lock();
        if let Some(Entry { state: State::Running(_), .. }) = kept.entries.get(&self.scope) {
            kept.entries.remove(&self.scope);
        }
    }
}

impl<A, L> Kept<A, L> {
    fn remember(&mut self, scope: &Arc<Scope>, answer: A, bytes: usize, now: Instant) {
        let Some(entry) = self.entries.get_mut(scope) else { return };
        entry.state = State::Answered { answer, bytes };
        self.bytes += bytes;
        self.order.push_back((Arc::clone(scope), now));
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

    #[tokio::test]
    async fn what_the_first_shares_is_joined_by_whoever_can_and_waited_for_by_others() {
        let memory = Memory::<u32, u32>::default();
        let same = request(1, "a");
        let Claim::New(running) = memory.claim(&same).await else { panic!("it is new") };
        let joining = memory.claim_or_join(&same, |live| (live == 2).then_some(live));
        tokio::pin!(joining);
        assert!(futures::poll!(joining.as_mut()).is_pending(), "nothing is shared yet");
        running.shares(1);
        assert!(futures::poll!(joining.as_mut()).is_pending(), "this cannot be joined");
        running.shares(2);
        assert!(matches!(joining.await, Claim::Seen(Known::Joined(2))));
        let other = memory.claim_or_join(&request(1, "b"), Some).await;
        assert!(matches!(other, Claim::Reused));

        let late = memory.claim_or_join(&same, |_live| None::<u32>);
        tokio::pin!(late);
        assert!(futures::poll!(late.as_mut()).is_pending());
        running.answered(7, 10);
        assert!(matches!(late.await, Claim::Seen(Known::Answered(7))));
        let Claim::New(gone) = memory.claim(&request(2, "a")).await else { panic!("it is new") };
        gone.shares(2);
        drop(gone);
        let next = memory.claim_or_join(&request(2, "a"), Some).await;
        assert!(matches!(next, Claim::New(_)), "nobody joins what is over");
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
