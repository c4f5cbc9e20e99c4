//! How much each model is sent at a time, and what its provider says is left: a locked shell around pure parts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::concurrency::{Bounds, Concurrency, Sign};
use super::minute::Fit;
use super::quota::{Quota, Remaining};

/// The limits of all models, by their place in the configuration. Each step takes the lock of its model for itself and
/// never waits under it.
#[derive(Debug)]
pub struct ModelLimits {
    /// Shared with the limits that came before or come after, where the model is the same.
    models: Vec<Arc<Model>>,
}

#[derive(Debug)]
struct Model {
    state: Mutex<State>,
    /// Told when there may be room for one more.
    room: Notify,
}

#[derive(Debug, Clone, Copy)]
struct State {
    concurrency: Concurrency,
    requests: Remaining,
    tokens: Remaining,
    /// Tokens of the prompts that are under way.
    open_tokens: u64,
}

/// Why a model is not sent a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// As many are open as may be.
    Open,
    /// Its provider's limit is used up until then.
    Until(Instant),
}

/// One of the requests that a model may have at a time, from its start to its end, however it ends.
#[derive(Debug)]
#[must_use]
pub struct Place {
    limits: Arc<ModelLimits>,
    model: usize,
    began: Instant,
    prompt_tokens: u64,
    sign: Sign,
    quota: Quota,
}

impl State {
    fn new(bounds: Bounds) -> Self {
        Self {
            concurrency: Concurrency::new(bounds),
            requests: Remaining::default(),
            tokens: Remaining::default(),
            open_tokens: 0,
        }
    }

    fn fit(&self, prompt_tokens: u64, now: Instant) -> Fit {
        self.requests.fit(1, now).and(self.tokens.fit(prompt_tokens, now))
    }

    fn begin(&mut self, prompt_tokens: u64) {
        self.concurrency.begin();
        self.requests.take(1);
        self.tokens.take(prompt_tokens);
        self.open_tokens = self.open_tokens.saturating_add(prompt_tokens);
    }

    fn end(&mut self, place: &Place, now: Instant) {
        self.concurrency.end(place.began, place.sign, now);
        self.open_tokens = self.open_tokens.saturating_sub(place.prompt_tokens);
        if let Some(left) = place.quota.requests {
            self.requests.told(left, self.concurrency.open().into(), now);
        }
        if let Some(left) = place.quota.tokens {
            self.tokens.told(left, self.open_tokens, now);
        }
    }
}

impl ModelLimits {
    /// For models with these bounds.
    #[must_use]
    pub fn new(bounds: impl IntoIterator<Item = Bounds>) -> Self {
        Self { models: bounds.into_iter().map(Model::new).collect() }
    }

    /// For models with these bounds, each with the state of the one whose place here is given.
    #[must_use]
    pub fn handed_on(&self, places: &[Option<usize>], bounds: impl IntoIterator<Item = Bounds>) -> Self {
        let hand_on = |(place, bounds): (&Option<usize>, Bounds)| {
            let Some(model) = place.and_then(|place| self.models.get(place)) else {
                return Model::new(bounds);
            };
            model.lock().concurrency.rebound(bounds);
            Arc::clone(model)
        };
        let next = Self { models: places.iter().zip(bounds).map(hand_on).collect() };
        // There may be more room than before.
        (0..next.models.len()).for_each(|model| next.tell(model));
        next
    }

    /// Whether a model's provider has enough left for a prompt, by its last word. How many requests are open changes
    /// all the time and is no part of it.
    #[must_use]
    pub fn look(&self, model: usize, prompt_tokens: u64, now: Instant) -> Fit {
        self.lock(model).map_or(Fit::Now, |state| state.fit(prompt_tokens, now))
    }

    /// Requests that are open and that may be open, for those who watch.
    #[must_use]
    pub fn concurrency(&self, model: usize) -> Option<Concurrency> {
        self.lock(model).map(|state| state.concurrency)
    }

    /// A place for one request, if there is one now.
    ///
    /// # Errors
    /// [`Full`].
    pub fn try_begin(
        self: &Arc<Self>,
        model: usize,
        prompt_tokens: u64,
        now: Instant,
    ) -> Result<Place, Full> {
        if let Some(mut state) = self.lock(model) {
            match state.fit(prompt_tokens, now) {
                Fit::At(until) => return Err(Full::Until(until)),
                Fit::Now | Fit::Never => {}
            }
            if !state.concurrency.has_room() {
                return Err(Full::Open);
            }
            state.begin(prompt_tokens);
        }
        Ok(Place {
            limits: Arc::clone(self),
            model,
            began: now,
            prompt_tokens,
            sign: Sign::None,
            quota: Quota::default(),
        })
    }

    /// Waits until fewer are open, for so long at most.
    ///
    /// # Errors
    /// [`Full::Open`] when that is too long, [`Full::Until`] at once.
    pub async fn begin(
        self: &Arc<Self>,
        model: usize,
        prompt_tokens: u64,
        patience: Duration,
    ) -> Result<Place, Full> {
        let wait = async {
            loop {
                // Whoever ends after the look is heard, because the ear was there before it.
                let room = self.models.get(model).map(|model| model.room.notified());
                match (self.try_begin(model, prompt_tokens, Instant::now()), room) {
                    (Err(Full::Open), Some(room)) => room.await,
                    (result, _) => return result,
                }
            }
        };
        let result = tokio::time::timeout(patience, wait).await.unwrap_or(Err(Full::Open));
        // The limit may have grown by more than one, or whoever was told has left.
        self.tell(model);
        result
    }

    fn tell(&self, model: usize) {
        let Some(model) = self.models.get(model) else { return };
        let has_room = model.lock().concurrency.has_room();
        if has_room {
            model.room.notify_one();
        }
    }

    fn lock(&self, model: usize) -> Option<MutexGuard<'_, State>> {
        Some(self.models.get(model)?.lock())
    }
}

impl Model {
    fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(bounds)), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every step leaves a whole state, so a panic elsewhere does not make it wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What the server said of its limits.
    pub fn told(&mut self, quota: Quota) {
        self.quota = quota;
    }

    /// What the end of the request says of the limit.
    pub fn sign(&mut self, sign: Sign) {
        self.sign = sign;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = Instant::now();
        if let Some(mut state) = self.limits.lock(self.model) {
            state.end(self, now);
        }
        self.limits.tell(self.model);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::limit::quota::Left;

    const BOUNDS: Bounds = Bounds { min: 1, max: 4 };
    const PATIENCE: Duration = Duration::from_secs(60);

    fn open(limits: &ModelLimits) -> u32 {
        limits.concurrency(0).expect("a model").open()
    }

    #[tokio::test]
    async fn a_crowd_is_let_through_a_few_at_a_time_and_all_of_it() {
        let limits = Arc::new(ModelLimits::new([BOUNDS]));
        let (now_open, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let call = |at: u32| {
            let (limits, now_open, most) = (&limits, &now_open, &most);
            async move {
                let mut place = limits.begin(0, 1, PATIENCE).await.expect("a place");
                most.fetch_max(now_open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                now_open.fetch_sub(1, Ordering::Relaxed);
                place.sign(if at.is_multiple_of(7) { Sign::TooMuch } else { Sign::Answered });
            }
        };
        futures::future::join_all((0..500).map(call)).await;
        assert_eq!((open(&limits), most.load(Ordering::Relaxed)), (0, 4));
    }

    #[tokio::test]
    async fn who_waits_too_long_or_leaves_takes_nothing() {
        let limits = Arc::new(ModelLimits::new([Bounds { min: 1, max: 1 }]));
        let first = limits.begin(0, 1, PATIENCE).await.expect("a place");
        assert_eq!(limits.begin(0, 1, Duration::from_millis(10)).await.err(), Some(Full::Open));
        {
            let waiting = limits.begin(0, 1, PATIENCE);
            tokio::pin!(waiting);
            assert!(futures::poll!(waiting.as_mut()).is_pending());
            drop(first);
            // It was told that there is room, and leaves without taking it.
        }
        assert_eq!(open(&limits), 0);
        drop(limits.begin(0, 1, Duration::ZERO).await.expect("the place is free"));
    }

    #[tokio::test]
    async fn what_is_handed_on_counts_those_that_are_open() {
        let before = Arc::new(ModelLimits::new([Bounds { min: 1, max: 1 }; 2]));
        let open = before.begin(1, 1, PATIENCE).await.expect("a place");
        let bounds = [Bounds { min: 1, max: 1 }; 2];
        let after = Arc::new(before.handed_on(&[Some(1), None], bounds));
        assert!(matches!(after.try_begin(0, 1, Instant::now()), Err(Full::Open)), "one is open already");
        drop(after.try_begin(1, 1, Instant::now()).expect("a new one has none"));
        let waiting = after.begin(0, 1, PATIENCE);
        tokio::pin!(waiting);
        assert!(futures::poll!(waiting.as_mut()).is_pending());
        drop(open);
        drop(waiting.await.expect("who waits hears that a call of before has ended"));
        let wider = Arc::new(after.handed_on(&[Some(0)], [Bounds { min: 1, max: 9 }]));
        assert_eq!(wider.concurrency(0).map(|concurrency| concurrency.limit()), Some(9));
    }

    #[test]
    fn what_the_provider_has_left_is_shared_by_all_who_send() {
        let limits = Arc::new(ModelLimits::new([BOUNDS]));
        let now = Instant::now();
        let mut told = limits.try_begin(0, 10, now).expect("a place");
        let other = limits.try_begin(0, 10, now).expect("another");
        let left = |amount| Some(Left { amount, reset: Duration::from_secs(9) });
        told.told(Quota { requests: left(2), tokens: left(30) });
        drop(told);
        assert_eq!(limits.look(0, 20, now), Fit::Now, "ten of the thirty are the other's");
        assert!(matches!(limits.look(0, 21, now), Fit::At(_)));
        let last = limits.try_begin(0, 5, now).expect("the last of two");
        assert!(matches!(limits.try_begin(0, 5, now), Err(Full::Until(_))));
        drop((other, last));
        assert!(matches!(limits.look(0, 1, now), Fit::At(_)), "nobody said that there is more");
        assert_eq!(limits.look(0, 1, now + Duration::from_secs(10)), Fit::Now);
    }
}
