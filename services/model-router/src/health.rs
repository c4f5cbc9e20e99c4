//! What the router knows of its models: marks, delays, circuits, budgets. In memory: after a restart every
//! model gets a new chance.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::budget::{Budget, Paid};
use crate::circuit::{CircuitPolicy, Circuits, FailureClass};
use crate::failure::{Course, Failure, Kind};

/// The longest that one answer keeps a model from everybody: after that one request may ask again, and is told
/// again. What its server asked beyond it is reported, not obeyed.
pub const SHARED_DELAY_MAX: Duration = Duration::from_secs(10 * 60);

/// How long an unlucky model is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthPolicy {
    /// After 401, 402, 403, 404.
    pub unusable: Duration,
    /// When a circuit opens and for how long.
    pub circuit: CircuitPolicy,
    /// How long a probe may take before another is allowed.
    pub probe: Duration,
}

/// One model's state. Changed by its own methods only; the time is an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelState {
    delayed_until: Option<Instant>,
    marked: Option<(Kind, Instant)>,
    circuits: Circuits,
    probe_until: Option<Instant>,
    budget: Budget,
    in_flight: u32,
}

/// Where the circuit of a model stands, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// Requests go through.
    Closed,
    /// It failed too often in a row and is left alone.
    Open,
    /// The next request is, or somebody's is already, the probe.
    HalfOpen,
    /// It answered that it will not do, as with a wrong key.
    Marked,
}

impl Circuit {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Closed, Self::Open, Self::HalfOpen, Self::Marked];

    /// The word used in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Marked => "marked",
        }
    }
}

/// Why a model is not to be touched, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// It answered that it will not do.
    Marked(Kind, Instant),
    /// It failed too often in a row, in this way.
    CircuitOpen(FailureClass, Instant),
    /// Somebody else is finding out whether it is back.
    Probed(Instant),
}

impl Block {
    /// Until when.
    #[must_use]
    pub fn until(self) -> Instant {
        match self {
            Self::Marked(_, until) | Self::CircuitOpen(_, until) | Self::Probed(until) => until,
        }
    }
}

impl ModelState {
    /// Nothing known.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            delayed_until: None,
            marked: None,
            circuits: Circuits::default(),
            probe_until: None,
            budget: Budget::new(now),
            in_flight: 0,
        }
    }

    /// The circuits of its classes of failure.
    #[must_use]
    pub fn circuits(&self) -> &Circuits {
        &self.circuits
    }

    /// Attempts that are under way.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Why it is not to be touched now.
    #[must_use]
    pub fn block(&self, now: Instant) -> Option<Block> {
        let marked =
            self.marked.filter(|(_, until)| now < *until).map(|(kind, until)| Block::Marked(kind, until));
        let open = self.circuits.open(now).map(|(class, until)| Block::CircuitOpen(class, until));
        let probed = || self.probe_until.filter(|until| now < *until).map(Block::Probed);
        // The longest known rest wins.
        marked.into_iter().chain(open).max_by_key(|block| block.until()).or_else(probed)
    }

    /// Where its circuit stands.
    #[must_use]
    pub fn circuit(&self, now: Instant) -> Circuit {
        match self.block(now) {
            Some(Block::Marked(..)) => Circuit::Marked,
            Some(Block::CircuitOpen(..)) => Circuit::Open,
            Some(Block::Probed(_)) => Circuit::HalfOpen,
            None if self.circuits.is_tripped() => Circuit::HalfOpen,
            None => Circuit::Closed,
        }
    }

    /// How long its server still wants to be left alone.
    #[must_use]
    pub fn delay(&self, now: Instant) -> Duration {
        self.delayed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// An attempt begins. After an open circuit it is the one probe, and until when is returned.
    pub fn begin(&mut self, start: Start, now: Instant, policy: &HealthPolicy) -> Option<Instant> {
        match start {
            Start::First => self.budget.deposit(now),
            Start::Retry(Paid { .. }) | Start::Repair => {}
        }
        self.in_flight = self.in_flight.saturating_add(1);
        let probe = self.circuits.is_tripped().then(|| now + policy.probe);
        self.probe_until = probe.or(self.probe_until);
        probe
    }

    /// An attempt is over, whatever it found, and with it the probe that it was. Another's stays.
    pub fn ended(&mut self, probe: Option<Instant>) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.probe_until = self.probe_until.filter(|until| Some(*until) != probe);
    }

    /// An attempt was answered: whatever was wrong is over.
    pub fn answered(&mut self) {
        self.marked = None;
        self.circuits.answered();
        self.probe_until = None;
    }

    /// An attempt failed.
    pub fn failed(&mut self, failure: &Failure, now: Instant, policy: &HealthPolicy) {
        match failure.kind.course() {
            // A delay on any other failure is about one request, or about what waiting does not mend.
            Course::Retry { .. } => {
                let delay = failure.server_delay.map(|delay| now + delay.min(SHARED_DELAY_MAX));
                self.delayed_until = self.delayed_until.max(delay);
            }
            Course::MarkAndNext => self.marked = Some((failure.kind, now + policy.unusable)),
            Course::NextModel | Course::EndRequest => {}
        }
        if let Some(class) = failure.kind.class() {
            self.circuits.failed(class, now, &policy.circuit);
        }
    }
}

/// What an attempt is to its request.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// The first one, which pays into the model's budget of retries.
    First,
    /// A retry, paid for.
    Retry(Paid),
    /// The model is told what was wrong with its answer. That has a bound of its own and neither pays nor costs.
    Repair,
}

/// What became of the wish to begin.
#[derive(Debug)]
pub enum Begun<'h> {
    /// It may.
    Turn(Turn<'h>),
    /// The server wants to be left alone, as somebody has learned meanwhile.
    Later(Start),
    /// It is marked, its circuit is open, or somebody else took the probe.
    Blocked,
}

/// The right to make one attempt. However the attempt ends, and also when its caller leaves, the circuit's one
/// probe is free for another request again.
#[derive(Debug)]
#[must_use]
pub struct Turn<'h> {
    health: &'h Health,
    model: usize,
    /// Until when the attempt would be the probe, if it is.
    probe: Option<Instant>,
}

/// The states of all models, by their place in the configuration. Each step takes the lock of its model for itself and
/// never waits under it.
#[derive(Debug)]
pub struct Health {
    /// Shared with the health that came before or comes after, where the model is the same.
    states: Vec<Arc<Mutex<ModelState>>>,
    policy: HealthPolicy,
}

impl Health {
    /// For so many models.
    #[must_use]
    pub fn new(models: usize, policy: HealthPolicy, now: Instant) -> Self {
        Self { states: (0..models).map(|_| fresh(now)).collect(), policy }
    }

    /// For other models, each with the state of the one whose place here is given. What calls that run find out still
    /// counts.
    #[must_use]
    pub fn handed_on(&self, places: &[Option<usize>], policy: HealthPolicy, now: Instant) -> Self {
        let state = |place: &Option<usize>| place.and_then(|place| self.states.get(place)).cloned();
        Self {
            states: places.iter().map(|place| state(place).unwrap_or_else(|| fresh(now))).collect(),
            policy,
        }
    }

    /// The state of a model as it is now. A place that does not exist counts as a new model.
    #[must_use]
    pub fn state(&self, model: usize, now: Instant) -> ModelState {
        self.lock(model).map_or_else(|| ModelState::new(now), |state| *state)
    }

    /// Pays for a retry out of the model's budget, in one step for all requests; none when it has nothing
    /// left.
    pub fn pay_retry(&self, model: usize, now: Instant) -> Option<Paid> {
        self.lock(model)?.budget.try_withdraw(now)
    }

    /// Takes the right to make an attempt, if the model may be touched now: whoever looked before may have waited since.
    pub fn begin(&self, model: usize, start: Start, now: Instant) -> Begun<'_> {
        let Some(mut state) = self.lock(model).filter(|state| state.block(now).is_none()) else {
            return Begun::Blocked;
        };
        if !state.delay(now).is_zero() && !bulkhead_failpoint::active("router.skip_delay") {
            return Begun::Later(start);
        }
        Begun::Turn(Turn { probe: state.begin(start, now, &self.policy), model, health: self })
    }

    fn change(&self, model: usize, change: impl FnOnce(&mut ModelState, &HealthPolicy)) {
        if let Some(mut state) = self.lock(model) {
            change(&mut state, &self.policy);
        }
    }

    fn lock(&self, model: usize) -> Option<MutexGuard<'_, ModelState>> {
        // Every step leaves a whole state, so a panic elsewhere does not make it wrong.
        Some(self.states.get(model)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn fresh(now: Instant) -> Arc<Mutex<ModelState>> {
    Arc::new(Mutex::new(ModelState::new(now)))
}

impl Turn<'_> {
    /// The attempt was answered.
    pub fn answered(self) {
        self.health.change(self.model, |state, _| state.answered());
    }

    /// It failed, in a way that tells of the model.
    pub fn failed(self, failure: &Failure, now: Instant) {
        self.health.change(self.model, |state, policy| state.failed(failure, now, policy));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.health.change(self.model, |state, _| state.ended(self.probe));
    }
}

#[cfg(test)]
mod tests;
