//! One call, from its opening until its event is given to be stored.

use std::time::{Duration, Instant};

use bulkhead_outbox::EventDraft;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::attributes::{Attributes, AttributesOfGone};
use super::{RecordError, Recorder};
use crate::attempt::Attempt;
use crate::chat::{StopReason, Usage};
use crate::meter::{Denied, Meter};
use crate::open_calls::Mark;
use crate::price::Charge;

/// What is known of a call before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) route: String,
    pub(crate) local_only: bool,
    pub(crate) sensitivity: Vec<&'static str>,
    /// When its caller's time is over.
    pub(crate) deadline: Instant,
}

impl Facts {
    /// Why a call ended that nobody waits for any more.
    fn abandoned(&self) -> &'static str {
        if Instant::now() >= self.deadline { "DEADLINE_EXCEEDED" } else { "CALLER_GONE" }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// `answered`, `failed` or `refused`.
    pub(crate) outcome: &'static str,
    /// Who answered.
    pub(crate) model: String,
    pub(crate) usage: Usage,
    pub(crate) stop_reason: Option<StopReason>,
    /// The reason that the caller was given; empty when answered.
    pub(crate) error: &'static str,
}

/// The record of one call, open until [`CallRecord::close`]. Dropped before that, it says that the caller
/// went away, or that its time was over.
#[derive(Debug)]
pub(crate) struct CallRecord {
    open: Option<Open>,
    recorder: Recorder,
    meter: Meter,
    attempts: Vec<Attempt>,
    running: Option<Running>,
    mark: Option<Mark>,
}

/// What makes the event.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) draft: EventDraft,
    pub(super) facts: Facts,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) began: Instant,
}

/// An attempt that is not over.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) model: String,
    pub(super) waited: Duration,
    pub(super) start: Timestamp,
    pub(super) began: Instant,
}

impl CallRecord {
    pub(super) fn open(open: Open, recorder: Recorder, meter: Meter, mark: Mark) -> Self {
        let (open, mark) = (Some(open), Some(mark));
        Self { open, recorder, meter, attempts: Vec::new(), running: None, mark }
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, model: &str, waited: Duration, start: Timestamp) {
        self.running = Some(Running { model: model.to_owned(), waited, start, began: Instant::now() });
        self.meter.sent();
        if let (Some(open), Some(mark)) = (&self.open, &mut self.mark) {
            let asked = self.attempts.iter().map(|attempt| attempt.model.as_str()).chain([model]);
            mark.asked(&open.draft, &AttributesOfGone::new(&open.facts, asked));
        }
    }

    /// When the running attempt began.
    pub(crate) fn started(&self) -> Timestamp {
        self.running.as_ref().map_or(Timestamp::UNIX_EPOCH, |running| running.start)
    }

    /// It is over.
    pub(crate) fn end(&mut self, mut attempt: Attempt) {
        self.running = None;
        attempt.charge = self.meter.ended(&attempt);
        self.attempts.push(attempt);
    }

    /// What the call takes of limits and budgets.
    pub(crate) fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    /// What money stands against now.
    pub(crate) fn against(&self, model: usize) -> Option<Denied> {
        self.meter.against(model)
    }

    /// Every attempt so far.
    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Stores the event; the answer may go out once this returns.
    pub(crate) async fn close(mut self, ending: &Ending) -> Result<Vec<Attempt>, RecordError> {
        let Some(open) = self.open.take() else { return Ok(Vec::new()) };
        let closing = self.meter.close(bulkhead_edge::now());
        let (draft, permit) = self.complete(open, ending, closing.charge);
        self.recorder.write(draft, permit, closing, self.mark.take()).result().await?;
        Ok(std::mem::take(&mut self.attempts))
    }

    /// `charge`: of the attempt that runs.
    fn complete(
        &self,
        open: Open,
        ending: &Ending,
        charge: Option<Charge>,
    ) -> (EventDraft, OwnedSemaphorePermit) {
        let Open { draft, facts, permit, began } = open;
        let (latency, running) = (began.elapsed(), self.running.as_ref());
        let attributes = Attributes::new(&facts, ending, latency, &self.attempts, running, charge);
        (draft.outcome(ending.outcome).attributes_of(&attributes), permit)
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let ending = Ending { outcome: "failed", error: open.facts.abandoned(), ..Ending::default() };
            let closing = self.meter.close(bulkhead_edge::now());
            let (draft, permit) = self.complete(open, &ending, closing.charge);
            // A failure is in the log; nobody else is there to hear of it.
            drop(self.recorder.write(draft, permit, closing, self.mark.take()));
        }
    }
}
