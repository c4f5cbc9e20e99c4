//! Where approvals are opened, decided and closed.
//!
//! Every change is one transaction: the claim on the request id, the approval, its grant and its audit
//! events stand or fall together. A change runs to its end even when its caller has gone, so that whoever
//! watches is always told.

mod change;
mod error;
mod once;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::{Readiness, Tasks};
use bulkhead_failpoint::die;
use bulkhead_grant::SigningKey;
use bulkhead_idempotency::Request;
use bulkhead_outbox::Outbox;
use bulkhead_sqlite::{Store, sweep};
use futures::FutureExt as _;
use jiff::Timestamp;
use sqlx::SqliteConnection;
use tokio::sync::watch;
use tracing::Instrument as _;

use self::once::{claimed, remember};
use crate::approval::{Approval, ApprovalId, Ballot, Event, Question, decide, expire, grant};
use crate::events;
use crate::metrics;
use crate::store::{StoreError, sqlite};

pub(crate) use error::DeskError;

/// Name of the readiness condition.
const CONDITION: &str = "store";

/// Approvals that one sweep closes, so that a stop never waits for a long backlog.
const SWEEP_MAX: u32 = 100;

/// Who sends a request, and what makes two of them the same.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The id under which the call is logged.
    pub(crate) call_id: String,
    /// Its name, and what it says.
    pub(crate) request: Request,
}

/// The parts that every change needs. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Desk {
    store: Store,
    outbox: Outbox,
    signer: Arc<Signer>,
    readiness: Readiness,
    tasks: Tasks,
    changes: watch::Sender<u64>,
}

/// Signs what was approved.
#[derive(Debug)]
pub(crate) struct Signer {
    /// With this.
    pub(crate) key: SigningKey,
    /// For so long after the last vote.
    pub(crate) lifetime: Duration,
}

type Change<T> = Result<T, DeskError>;

impl Desk {
    /// Over an open store and its outbox.
    pub(crate) fn new(
        store: Store,
        outbox: Outbox,
        signer: Signer,
        readiness: Readiness,
        tasks: Tasks,
    ) -> Self {
        Self { store, outbox, signer: Arc::new(signer), readiness, tasks, changes: watch::Sender::new(0) }
    }

    /// Asks people, or joins an equal question that still waits.
    pub(crate) async fn open(&self, question: Question, caller: Caller) -> Change<Approval> {
        let desk = self.clone();
        let now = question.create_time;
        self.change(move |c| {
            async move {
                if let Some(before) = claimed(c, &caller.request).await? {
                    return Ok(before.seen_at(now));
                }
                let approval = match sqlite::find_equal(c, &question).await? {
                    Some(equal) => equal,
                    None => desk.insert(c, question, &caller).await?,
                };
                remember(c, &caller.request, approval.id, now).await?;
                Ok(approval)
            }
            .boxed()
        })
        .await
        .inspect(|_| die("approval.asked"))
    }

    /// Counts a vote, and signs the grant when it was the last that was missing.
    pub(crate) async fn vote(
        &self,
        id: ApprovalId,
        ballot: Ballot,
        caller: Caller,
        now: Timestamp,
    ) -> Change<Approval> {
        let desk = self.clone();
        self.change(move |c| {
            async move {
                if let Some(before) = claimed(c, &caller.request).await? {
                    return Ok(before.seen_at(now));
                }
                let approval = sqlite::load(c, &caller.request.scope.tenant, id)
                    .await?
                    .ok_or(DeskError::NotFound { id })?;
                let events = decide(&approval, &ballot, now)?;
                let approval = desk.happen(c, approval, events, &caller.call_id).await?;
                remember(c, &caller.request, id, now).await?;
                Ok(approval)
            }
            .boxed()
        })
        .await
        .inspect(|_| die("approval.decided"))
    }

    /// Writes down the end of approvals whose time is over and says how many. One that cannot be read does
    /// not keep the others open; that failure is returned once all were tried.
    pub(crate) async fn expire_due(&self, now: Timestamp) -> Change<usize> {
        let due = sqlite::due(&mut *self.snapshot().await?, now, SWEEP_MAX).await?;
        let mut closed = 0;
        let mut unreadable = None;
        for (tenant, id) in due {
            match self.close(tenant, id, now).await {
                Ok(()) => closed += 1,
                Err(error @ DeskError::Store(StoreError::Corrupt(_))) => unreadable = Some(error),
                Err(error) => return Err(error),
            }
        }
        unreadable.map_or(Ok(closed), Err)
    }

    async fn close(&self, tenant: String, id: ApprovalId, now: Timestamp) -> Change<()> {
        let desk = self.clone();
        self.change(move |c| {
            async move {
                let Some(approval) = sqlite::load(c, &tenant, id).await? else { return Ok(()) };
                if let Some(event) = expire(&approval, now) {
                    let span = tracing::info_span!("expire_approval", approval_id = %id);
                    bulkhead_telemetry::adopt_traceparent(&span, &approval.question.traceparent);
                    desk.happen(c, approval, vec![event], "").instrument(span).await?;
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }

    /// Whether a write failed and none has succeeded since.
    pub(crate) fn is_troubled(&self) -> bool {
        self.readiness.problems().contains_key(CONDITION)
    }

    /// Told when the readiness changes.
    pub(crate) fn health(&self) -> watch::Receiver<BTreeMap<&'static str, String>> {
        self.readiness.subscribe()
    }

    /// Proves that the store can be written, and forgets the requests that are older than their
    /// window.
    pub(crate) async fn upkeep(&self, now: Timestamp) -> Change<()> {
        self.write(move |c| {
            async move {
                sqlite::beat(c, now).await?;
                sweep(c, now).await?;
                Ok(())
            }
            .boxed()
        })
        .await?;
        self.readiness.met(CONDITION);
        Ok(())
    }

    async fn insert(
        &self,
        c: &mut SqliteConnection,
        question: Question,
        caller: &Caller,
    ) -> Change<Approval> {
        let approval = sqlite::insert(c, Approval::open(ApprovalId::generate(), question)).await?;
        self.outbox.enqueue(c, events::requested(&approval, &caller.call_id)).await?;
        Ok(approval)
    }

    /// Applies what was decided: the approval, its grant, and an audit event for each thing that happened.
    async fn happen(
        &self,
        c: &mut SqliteConnection,
        before: Approval,
        happened: Vec<Event>,
        call_id: &str,
    ) -> Change<Approval> {
        let votes_before = before.votes.len();
        let mut approval = happened.iter().cloned().fold(before, Approval::after);
        approval.grant = self.signer.sign(&approval)?;
        let approval = sqlite::save(c, approval, votes_before).await?;
        metrics::happened(&approval, &happened);
        for event in &happened {
            self.outbox.enqueue(c, events::happened(&approval, event, call_id)).await?;
        }
        Ok(approval)
    }
}

impl Signer {
    fn sign(&self, approval: &Approval) -> Change<Option<bulkhead_grant::SignedGrant>> {
        let granted = grant::grant(approval, self.lifetime);
        granted.map(|granted| granted.sign(&self.key)).transpose().map_err(DeskError::Unsigned)
    }
}
