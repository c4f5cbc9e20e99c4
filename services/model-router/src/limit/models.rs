//! How much each model is sent at a time, and what its provider says is left: a locked shell around pure parts.

mod state;
mod told;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::concurrency::{Bounds, Concurrency, Sign};
use super::line::Number;
use super::minute::Fit;
use state::State;
pub use told::Told;

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
    /// None: one that nobody knows, and so without limits.
    model: Option<Arc<Model>>,
    began: Instant,
    sign: Sign,
    is_sent: bool,
    told: Told,
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
        next.models.iter().for_each(|model| model.call_next());
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

    /// A place for one request, if there is one now and nobody waits for it.
    ///
    /// # Errors
    /// [`Full`].
    pub fn try_begin(&self, model: usize, prompt_tokens: u64, now: Instant) -> Result<Place, Full> {
        self.try_begin_as(None, model, prompt_tokens, now)
    }

    /// The same for one who stands in the line with this number.
    fn try_begin_as(
        &self,
        number: Option<Number>,
        model: usize,
        prompt_tokens: u64,
        now: Instant,
    ) -> Result<Place, Full> {
        let model = self.models.get(model).map(Arc::clone);
        if let Some(model) = &model {
            let mut state = model.lock();
            match state.fit(prompt_tokens, now) {
                Fit::At(until) => return Err(Full::Until(until)),
                Fit::Now | Fit::Never => {}
            }
            if !state.line.is_next(number) || !state.concurrency.has_room() {
                return Err(Full::Open);
            }
            state.begin(prompt_tokens);
        }
        let told = model.clone().map(|model| Told::new(model, prompt_tokens)).unwrap_or_default();
        Ok(Place { model, began: now, sign: Sign::None, is_sent: false, told })
    }

    /// Waits until fewer are open, for so long at most. Whoever came first goes first, so nobody is passed by others for
    /// as long as they wait. As many wait as there are calls, which are bounded.
    ///
    /// # Errors
    /// [`Full::Open`] when that is too long, [`Full::Until`] at once.
    pub async fn begin(&self, model: usize, prompt_tokens: u64, patience: Duration) -> Result<Place, Full> {
        let at_once = self.try_begin(model, prompt_tokens, Instant::now());
        let (Err(Full::Open), Some(waited_for)) = (&at_once, self.models.get(model)) else { return at_once };
        let wait = async {
            let waiting = Waiting::join(waited_for);
            loop {
                match self.try_begin_as(Some(waiting.number), model, prompt_tokens, Instant::now()) {
                    Err(Full::Open) => waiting.called.notified().await,
                    result => return result,
                }
            }
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(Err(Full::Open))
    }

    fn lock(&self, model: usize) -> Option<MutexGuard<'_, State>> {
        Some(self.models.get(model)?.lock())
    }
}

impl Model {
    fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::new(bounds)) })
    }

    /// Tells who is next in the line, if there is room. Each who leaves the line does so, since the limit may have grown
    /// by more than one, and whoever was told may leave without having heard it.
    fn call_next(&self) {
        let state = self.lock();
        if let Some(next) = state.line.first().filter(|_| state.concurrency.has_room()) {
            next.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every step leaves a whole state, so a panic elsewhere does not make it wrong.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who stands in the line of a model, until they have a place or leave.
#[derive(Debug)]
struct Waiting<'m> {
    model: &'m Model,
    number: Number,
    called: Arc<Notify>,
}

impl<'m> Waiting<'m> {
    fn join(model: &'m Model) -> Self {
        let called = Arc::new(Notify::new());
        let number = model.lock().line.join(Arc::clone(&called));
        Self { model, number, called }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.model.lock().line.leave(self.number);
        self.model.call_next();
    }
}

impl Place {
    /// Where what the server says of its limits goes.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.clone()
    }

    /// The request goes out. What is dropped before that takes nothing of what the provider has left.
    pub fn sent(&mut self) {
        self.is_sent = true;
    }

    /// What the end of the request says of the limit.
    pub fn sign(&mut self, sign: Sign) {
        self.sign = sign;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(model) = &self.model else { return };
        self.told.over(self.is_sent);
        model.lock().concurrency.end(self.began, self.sign, Instant::now());
        model.call_next();
    }
}

#[cfg(test)]
mod tests;
