//! The audit event of a model call, written whatever becomes of the call.
//!
//! Promises that no model is called while there is no room for the event, that an answer is only given
//! once its event is stored, and that a call whose caller went away leaves one too, as does one whose router was killed
//! ([`crate::open_calls`]). The event holds
//! counts, names and times, never a prompt or an answer.

mod attributes;
mod call;
mod telling;
mod unstored;
mod upkeep;

use std::io;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_edge::{Readiness, Tasks};
use bulkhead_outbox::{AppendError, EventDraft, FileOutbox};
use bulkhead_sqlite::{Store, WriteError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::ledger::{self, Savings};
use crate::meter::{Closing, Meter};
use crate::open_calls::{Mark, OpenCalls};
use crate::reload::Catalogs;
use call::Open;
use unstored::Unstored;
use upkeep::Conditions;

pub(crate) use call::{CallRecord, Ending, Facts};

/// Calls at a time. Each has a place in the outbox reserved, so that none is answered and then refused for
/// lack of room.
pub(crate) const CALLS_MAX: usize = 256;

/// Why a call was not begun, or its answer withheld.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Too many events wait for the audit service.
    #[error("{waiting} events wait for the audit service")]
    Full { waiting: i64 },
    /// Too many calls are open.
    #[error("{CALLS_MAX} model calls are open already")]
    Busy,
    /// The store failed a moment ago, and has not been seen to work since.
    #[error("the store is known not to work")]
    Troubled,
    /// The outbox could not be written.
    #[error("the outbox failed")]
    Outbox(#[from] io::Error),
    /// What was spent could not be written.
    #[error("the store failed")]
    Write(#[from] WriteError),
    /// What was spent could not be read.
    #[error("the store could not be read")]
    Read(#[from] sqlx::Error),
    /// The task that writes ended early.
    #[error("the event was not written")]
    Lost(#[source] oneshot::error::RecvError),
}

impl From<AppendError> for RecordError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Full { waiting } => Self::Full { waiting },
            AppendError::File(error) => Self::Outbox(error),
        }
    }
}

/// Opens records.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    store: Store,
    outbox: FileOutbox,
    unstored: Unstored,
    tasks: Tasks,
    waiting_max: i64,
    conditions: Conditions,
    calls: Arc<Semaphore>,
    open_calls: OpenCalls,
}

impl Recorder {
    /// Takes calls while the store works and fewer than `waiting_max` events wait, and keeps the readiness
    /// true about both.
    pub(crate) fn start(
        store: Store,
        outbox: FileOutbox,
        waiting_max: i64,
        catalogs: Catalogs,
        readiness: Readiness,
        tasks: Tasks,
        open_calls: OpenCalls,
    ) -> Self {
        let conditions = Conditions::new(readiness);
        let unstored = Unstored::new(outbox.clone());
        let upkeep =
            upkeep::run(store.clone(), unstored.clone(), catalogs, conditions.clone(), tasks.stopping());
        tasks.spawn("upkeep", upkeep);
        tasks.spawn(
            "events-on-disk",
            upkeep::keep_on_disk(outbox.clone(), conditions.clone(), tasks.stopping()),
        );
        let calls = Arc::new(Semaphore::new(CALLS_MAX));
        Self { store, outbox, unstored, tasks, waiting_max, conditions, calls, open_calls }
    }

    /// Reserves room for a call's event.
    pub(crate) fn open(
        &self,
        draft: EventDraft,
        facts: Facts,
        meter: Meter,
    ) -> Result<CallRecord, RecordError> {
        let permit = self.reserve().inspect_err(|error| self.conditions.failed(error))?;
        self.conditions.has_room();
        let open = Open { draft, facts, permit, began: Instant::now() };
        Ok(CallRecord::open(open, self.clone(), meter, self.open_calls.mark()))
    }

    /// What a store that cannot be written would only find out after the model was called is known here, once one
    /// call or proof has found it: no model is called for an answer that could not be given.
    fn reserve(&self) -> Result<OwnedSemaphorePermit, RecordError> {
        if self.conditions.is_troubled() {
            return Err(RecordError::Troubled);
        }
        let permit =
            Arc::clone(&self.calls).try_acquire_owned().map_err(|_closed_or_none| RecordError::Busy)?;
        let waiting = self.outbox.waiting();
        if waiting >= self.waiting_max {
            return Err(RecordError::Full { waiting });
        }
        self.outbox.make_room()?;
        Ok(permit)
    }

    /// Writes what a call leaves. With something spent that is done in a task of its own, so that it is finished whoever
    /// stops waiting for it.
    fn write(
        &self,
        draft: EventDraft,
        permit: OwnedSemaphorePermit,
        closing: Closing,
        mark: Option<Mark>,
    ) -> Written {
        if closing.savings.entries().is_empty() && closing.events.is_empty() {
            let appended = self.append(Some(draft), closing, mark);
            let result = appended.map(drop).map_err(|error| self.told(error));
            drop(permit);
            return Written::Now(result);
        }
        let (reply, written) = oneshot::channel();
        let recorder = self.clone();
        self.tasks.spawn("model-call-event", async move {
            let result = recorder.save(draft, closing, mark).await;
            drop(permit);
            // Whoever went away has nobody to tell it to; it is in the log.
            drop(reply.send(result));
        });
        Written::Soon(written)
    }

    /// What was spent first, then the event and what has to be told of budgets. A call that was made has its event even
    /// where the former fails, and says that its answer was held back.
    async fn save(&self, draft: EventDraft, closing: Closing, mark: Option<Mark>) -> Result<(), RecordError> {
        if let Err(error) = self.spend(&closing.savings).await {
            let error = self.told(error);
            let event = unstored::withheld(draft.into_event());
            match self.outbox.append_events(std::slice::from_ref(&event)) {
                Ok(()) => mark.into_iter().for_each(Mark::recorded),
                Err(_like_the_store) => self.unstored.keep(event, mark),
            }
            return Err(error);
        }
        let told = self.append(Some(draft), closing, mark).map_err(|error| self.told(error))?;
        self.commit(told).await;
        Ok(())
    }

    /// Commits what has to be there because events are kept. Where that fails it goes with the next write.
    async fn commit(&self, told: Savings) {
        match self.spend(&told).await {
            Ok(()) => drop(told.saved()),
            Err(error) => {
                let error_chain = bulkhead_edge::fault::chain(&error, ": ");
                tracing::warn!(error = error_chain, "that a budget's stop was told is not on disk yet");
                self.conditions.failed(&error);
            }
        }
    }

    /// Commits what was spent, if anything was.
    async fn spend(&self, savings: &Savings) -> Result<(), RecordError> {
        let entries = savings.entries().to_vec();
        if entries.is_empty() {
            return Ok(());
        }
        let write = self.store.writer().write(move |connection| {
            Box::pin(async move {
                ledger::write(connection, &entries).await.map_err(WriteError::NotWritten)?;
                Ok::<_, WriteError>(())
            })
        });
        Ok(write.await?)
    }

    /// Stores the event of a call and what has to be told of budgets, once what was spent is written. Returns what has to be
    /// committed after that.
    fn append(
        &self,
        draft: Option<EventDraft>,
        closing: Closing,
        mark: Option<Mark>,
    ) -> Result<Savings, RecordError> {
        let Closing { savings, events, .. } = closing;
        let is_call = draft.is_some();
        let mut events: Vec<_> = draft.into_iter().chain(events).map(EventDraft::into_event).collect();
        if let Err(error) = self.outbox.append_events(&events) {
            // What has to be told of budgets goes with the next write; of the call nobody else knows.
            if is_call {
                self.unstored.keep(unstored::withheld(events.swap_remove(0)), mark);
            }
            return Err(error.into());
        }
        mark.into_iter().for_each(Mark::recorded);
        Ok(savings.saved())
    }

    /// Tries once more, at the end, to store what could not be stored: what stays is told by the next router here, as far
    /// as its mark does.
    pub(crate) fn store_kept(&self) {
        if let Err(error) = self.unstored.store() {
            self.told(error.into());
        }
    }

    /// Says it in the log and to whoever asks for readiness.
    fn told(&self, error: RecordError) -> RecordError {
        tracing::error!(error = bulkhead_edge::fault::chain(&error, ": "), "a model call was not recorded");
        self.conditions.failed(&error);
        error
    }
}

/// What becomes of a record that was given to be written.
enum Written {
    Now(Result<(), RecordError>),
    Soon(oneshot::Receiver<Result<(), RecordError>>),
}

impl Written {
    async fn result(self) -> Result<(), RecordError> {
        match self {
            Self::Now(result) => result,
            Self::Soon(written) => written.await.map_err(RecordError::Lost)?,
        }
    }
}
