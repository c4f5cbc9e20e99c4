//! Looking at executions, and waiting for them.

use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::time::Instant;
use uuid::Uuid;

use super::prepare::may_see;
use super::{Engine, EngineError};
use crate::execution::{Execution, State};
use crate::policy::Caller;
use crate::store::Changes;

/// How long a caller waits.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    for_people: Instant,
    for_all: Instant,
}

impl Patience {
    /// At most `for_people` for an approval, and at most `for_all` for everything.
    #[must_use]
    pub fn new(for_people: Duration, for_all: Duration) -> Self {
        let now = Instant::now();
        Self { for_people: now + for_people.min(for_all), for_all: now + for_all }
    }

    pub(super) fn total(self) -> Duration {
        self.for_all.saturating_duration_since(Instant::now())
    }

    /// Until when to wait for an execution in this state; none: not at all.
    fn until(self, state: State) -> Option<Instant> {
        match state {
            State::Running => Some(self.for_all),
            State::Planned | State::AwaitingApproval => Some(self.for_people),
            _ => None,
        }
    }
}

impl Engine {
    /// One execution that this caller may see.
    ///
    /// # Errors
    /// [`EngineError::NotFound`] also for those that it may not see.
    pub async fn get(&self, id: Uuid, caller: &Caller, sees_tenant: bool) -> Result<Execution, EngineError> {
        let found = self.journal().find(id).await?;
        found.filter(|found| may_see(found, caller, sees_tenant)).ok_or(EngineError::NotFound { id })
    }

    /// An execution once it has settled, or as it is when the patience or the service ends.
    pub(super) async fn settled(&self, id: Uuid, patience: Patience) -> Result<Execution, EngineError> {
        let stopping = self.0.parts.tasks.stopping();
        let mut changes = self.journal().changes();
        loop {
            changes.borrow_and_update();
            let execution = self.recorded(id).await?;
            let Some(until) = patience.until(execution.state) else { return Ok(execution) };
            if until <= Instant::now() || stopping.is_cancelled() {
                return Ok(execution);
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return Ok(execution) },
                () = tokio::time::sleep_until(until) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// An execution as it is, then after each change, until it is final or the service stops.
    pub fn follow(&self, first: Execution) -> impl Stream<Item = Result<Execution, EngineError>> + use<> {
        let changes = self.journal().changes();
        let follower = Follower { engine: self.clone(), changes, id: first.id, told: None };
        stream::unfold(follower, Follower::next)
    }
}

/// Where a watcher stands.
struct Follower {
    engine: Engine,
    changes: Changes,
    id: Uuid,
    /// What was told last.
    told: Option<(u64, State)>,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Execution, EngineError>, Self)> {
        let stopping = self.engine.0.parts.tasks.stopping();
        loop {
            if self.told.is_some_and(|(_, state)| state.is_final()) || stopping.is_cancelled() {
                return None;
            }
            self.changes.borrow_and_update();
            match self.engine.recorded(self.id).await {
                Ok(now) if self.told.is_some_and(|(revision, _)| revision == now.revision) => {}
                Ok(now) => {
                    self.told = Some((now.revision, now.state));
                    return Some((Ok(now), self));
                }
                Err(error) => return Some((Err(error), self)),
            }
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return None },
                () = stopping.cancelled() => return None,
            }
        }
    }
}
