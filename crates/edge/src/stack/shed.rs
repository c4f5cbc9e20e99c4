//! Places for calls: given fairly, waited for briefly, refused with advice. What is decided stands in [`fair`].

mod fair;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tonic::Code;

use self::fair::{Bounds, Fair, Ticket, Verdict};
use super::deadline::Deadline;
use crate::{Fault, Identity, Limits, PrincipalKind};

/// How soon somebody who was refused should call again when nobody else was.
pub(super) const RETRY_DELAY_MIN: Duration = Duration::from_millis(250);
/// And at most, however many were refused: places may be free again long before.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// The places of a service. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    places: usize,
    queue_timeout: Duration,
}

#[derive(Debug)]
struct State {
    fair: Fair,
    waiting: HashMap<Ticket, oneshot::Sender<Place>>,
    /// Calls that were refused and that no place has become free for since: those who will come again.
    turned_away: usize,
}

/// The right to run one call. Dropping it gives the place to whoever is next.
#[derive(Debug)]
#[must_use = "dropping it gives the place away"]
pub(super) struct Place {
    of: Arc<Shared>,
    share: Arc<str>,
}

/// A call in the queue. Dropping it leaves the queue.
struct Waiting<'a> {
    of: &'a Shared,
    share: &'a str,
    ticket: Ticket,
    answer: oneshot::Receiver<Place>,
}

impl Places {
    /// For unary calls.
    #[must_use]
    pub fn of_calls(limits: &Limits) -> Self {
        Self::new(Bounds::queueing(limits.calls_max, limits.queue_max), limits.queue_timeout)
    }

    /// For streams, which stay: nobody waits for one to end, and nobody gets the last ones.
    #[must_use]
    pub fn of_streams(limits: &Limits) -> Self {
        Self::new(Bounds::leaving_room(limits.streams_max), Duration::ZERO)
    }

    fn new(bounds: Bounds, queue_timeout: Duration) -> Self {
        let state = State { fair: Fair::new(bounds), waiting: HashMap::new(), turned_away: 0 };
        Self(Arc::new(Shared { state: Mutex::new(state), places: bounds.places, queue_timeout }))
    }

    /// A place for a call, at once or after a short wait.
    pub(super) async fn take(&self, identity: &Identity, deadline: &Deadline) -> Result<Place, Fault> {
        let share = share(identity);
        let (ticket, share, answer) = match self.ask(&share)? {
            Asked::Given(place) => return Ok(place),
            Asked::Wait { ticket, share, answer } => (ticket, share, answer),
        };
        let mut waiting = Waiting { of: &self.0, share: &share, ticket, answer };
        let until = deadline.at.min(Instant::now() + self.0.queue_timeout);
        match tokio::time::timeout_at(until.into(), &mut waiting.answer).await {
            Ok(Ok(place)) => Ok(place),
            // Put out by a call of a share that waits for less.
            Ok(Err(_closed)) => Err(self.0.refusal(&share)),
            Err(_elapsed) => match waiting.answer.try_recv() {
                Ok(place) => Ok(place),
                Err(_empty) if Instant::now() >= deadline.at => Err(deadline.exceeded()),
                Err(_empty) => Err(self.0.refusal(&share)),
            },
        }
    }

    fn ask(&self, share: &str) -> Result<Asked, Fault> {
        let mut state = self.0.state();
        let share = state.fair.name(share);
        match state.fair.arrive(&share) {
            Verdict::Admit => Ok(Asked::Given(Place { of: Arc::clone(&self.0), share })),
            Verdict::Queue { ticket, instead_of } => {
                let (sender, answer) = oneshot::channel();
                state.waiting.insert(ticket, sender);
                if let Some(put_out) = instead_of {
                    state.waiting.remove(&put_out);
                }
                Ok(Asked::Wait { ticket, share, answer })
            }
            Verdict::Shed => {
                drop(state);
                Err(self.0.refusal(&share))
            }
        }
    }
}

enum Asked {
    Given(Place),
    Wait { ticket: Ticket, share: Arc<str>, answer: oneshot::Receiver<Place> },
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says who has too much to do, the tenant or the service, and when to come again.
    fn refusal(&self, share: &str) -> Fault {
        let mut state = self.state();
        let over = state.fair.is_over_its_part(share);
        let delay = retry_delay(state.turned_away, self.places, rand::random());
        state.turned_away = state.turned_away.saturating_add(1);
        drop(state);
        if !over {
            return overloaded(self.places, delay);
        }
        let fault = Fault::new(Code::ResourceExhausted, "TENANT_OVER_SHARE").saying(
            "your tenant holds its share of the calls that this service takes at once; nothing was done",
        );
        fault.with("places", self.places).retry_after(delay)
    }
}

/// There is no place left for anybody.
pub(super) fn overloaded(places: usize, delay: Duration) -> Fault {
    let fault = Fault::new(Code::Unavailable, "OVERLOADED")
        .saying("the service has as much to do as it can take; nothing was done");
    fault.with("places", places).retry_after(delay)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.of.state();
        state.turned_away = state.turned_away.saturating_sub(1);
        let Some((ticket, share)) = state.fair.leave(&self.share) else { return };
        let next = state.waiting.remove(&ticket);
        drop(state);
        let place = Self { of: Arc::clone(&self.of), share };
        // Where nobody waits any more, the place comes back here and goes to the one after.
        if let Some(next) = next {
            drop(next.send(place));
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.of.state();
        if state.fair.give_up(self.share, self.ticket) {
            state.waiting.remove(&self.ticket);
        }
    }
}

/// Among whom places are divided: tenants. Services of Bulkhead itself are a share of their own, so that the calls
/// that carry out or record what was admitted elsewhere are not crowded out by those that ask for more.
fn share(identity: &Identity) -> Cow<'_, str> {
    let principal = &identity.principal;
    match principal.kind {
        PrincipalKind::Agent | PrincipalKind::Person => Cow::Borrowed(&principal.tenant),
        PrincipalKind::Service => Cow::Owned(format!("{} services", principal.tenant)),
    }
}

/// Grows with the number of rounds that those who were turned away would fill; half of it is chance, so that they
/// do not come back together. `chance` is from 0 to 1.
fn retry_delay(turned_away: usize, places: usize, chance: f64) -> Duration {
    let rounds = u32::try_from(turned_away / places.max(1)).unwrap_or(u32::MAX);
    let whole = RETRY_DELAY_MIN.saturating_mul(rounds.saturating_add(1)).min(RETRY_DELAY_MAX);
    whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
