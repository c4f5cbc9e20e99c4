//! Where plan, policy, permit, journal and tools meet.
//!
//! Promises that nothing is applied without a permit for exactly that plan, that the intent is in the
//! journal before the effect, that each execution has one worker at a time, and that a caller who goes away
//! changes nothing about what was begun.

mod act;
mod follow;
mod gate;
mod prepare;
mod recover;
mod resolve;
mod spans;
mod submit;
mod sweep;
mod waiting;

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_edge::Tasks;
use bulkhead_grant::PinnedKeys;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::approvals::{ApprovalError, Approvals};
use crate::events::Events;
use crate::execution::{Execution, IllegalTransition};
use crate::policy::Policy;
use crate::store::{Journal, StoreError};
use crate::toolbox::Toolbox;

pub use follow::Patience;
pub use submit::{Command, Preview, Work, may_show_plan};

/// Everything the engine works with.
#[derive(Debug)]
pub struct Parts {
    /// The tools.
    pub toolbox: Toolbox,
    /// The policy.
    pub policy: Policy,
    /// The keys that grants must be signed with.
    pub keys: PinnedKeys,
    /// What was asked, intended and done.
    pub journal: Journal,
    /// The way to people.
    pub approvals: Approvals,
    /// Where its work runs.
    pub tasks: Tasks,
    /// Its knobs.
    pub settings: EngineSettings,
}

/// The engine's knobs.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// Between looks at approvals that wait, beside being told.
    pub recheck_interval: Duration,
    /// How long an irreversible call waits for the audit service to confirm its intent.
    pub acknowledge_timeout: Duration,
}

/// The engine. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    events: Events,
    /// Something may be decided.
    wake: Notify,
    /// The newest revision of an approval that was seen; 0: none yet.
    seen: watch::Sender<u64>,
    in_hand: InHand,
}

/// Why a call got no execution. What a tool or a person refuses is an execution, and none of these.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal failed, or refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// People could not be asked, or are not known to have been; nothing happened. The plan is recorded, and
    /// they will be asked.
    #[error("people are not known to have been asked about {id}")]
    NotAsked {
        /// What is recorded.
        id: Uuid,
        /// Why.
        #[source]
        source: ApprovalError,
    },
    /// There is none that this caller may see.
    #[error("there is no execution {id}")]
    NotFound {
        /// As asked for.
        id: Uuid,
    },
    /// There is nothing to take back.
    #[error("execution {id} cannot be taken back: {why}")]
    NotUndoable {
        /// Which.
        id: Uuid,
        /// Why not.
        why: String,
    },
    /// The caller's time is up and nothing is recorded yet.
    #[error("not recorded within the deadline")]
    DeadlineExceeded,
    /// A bug: the state machine refused.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// A bug: the work ended without an answer.
    #[error("the call's task ended without an answer")]
    TaskLost,
}

impl Engine {
    /// Over its parts. Nothing runs before [`Engine::recover`] and [`Engine::start`].
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let events = Events::new(parts.toolbox.clone());
        let seen = watch::Sender::new(0);
        Self(Arc::new(Inner { parts, events, wake: Notify::new(), seen, in_hand: InHand::default() }))
    }

    /// The tools.
    #[must_use]
    pub fn toolbox(&self) -> &Toolbox {
        &self.0.parts.toolbox
    }

    /// The journal.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.parts.journal
    }

    /// An execution that is known to exist.
    async fn recorded(&self, id: Uuid) -> Result<Execution, EngineError> {
        self.journal().find(id).await?.ok_or(EngineError::NotFound { id })
    }
}

/// Executions that a worker of this process has in hand. The journal's compare and set keeps a second
/// worker from doing harm; this keeps it from trying.
#[derive(Debug, Clone, Default)]
struct InHand(Arc<Hands>);

#[derive(Debug, Default)]
struct Hands {
    held: Mutex<HashSet<Uuid>>,
    /// One was let go.
    freed: Notify,
}

/// One execution in hand, until dropped.
#[derive(Debug)]
struct Held {
    id: Uuid,
    among: InHand,
}

impl InHand {
    /// Takes an execution, unless another worker has it.
    fn take(&self, id: Uuid) -> Option<Held> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.insert(id).then(|| Held { id, among: self.clone() })
    }

    /// Takes an execution once no other worker has it.
    async fn wait_for(&self, id: Uuid) -> Held {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(held) = self.take(id) {
                return held;
            }
            freed.await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.among.0.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        self.among.0.freed.notify_waiters();
    }
}
