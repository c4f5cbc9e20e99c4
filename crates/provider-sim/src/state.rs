//! What the simulator knows: scripts and the record.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::control::{Answered, Requests, Script, Step};
use crate::grammar;
use crate::record::{Arrival, Record};
use crate::script::Progress;

/// Shared by every connection. The lock is held for single steps, never while waiting.
#[derive(Debug, Clone, Default)]
pub(crate) struct State(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    scripts: BTreeMap<String, Progress>,
    named: BTreeMap<String, Progress>,
    record: Record,
}

impl State {
    /// Writes the request down and picks what to do with it, in one step, so that the order of the record
    /// is the order of the script.
    pub(crate) fn receive(&self, arrival: Arrival<'_>) -> (Step, Receipt) {
        let mut inner = self.lock();
        let received_at = arrival.time;
        let step = inner.next_step(arrival.model);
        let sequence = inner.record.add(arrival);
        let receipt = Receipt { state: self.clone(), sequence, received_at, finished: false };
        (step, receipt)
    }

    /// Writes a request down that has no model to act as.
    pub(crate) fn receive_unusable(&self, arrival: Arrival<'_>) -> Receipt {
        let received_at = arrival.time;
        let sequence = self.lock().record.add(arrival);
        Receipt { state: self.clone(), sequence, received_at, finished: false }
    }

    pub(crate) fn set_script(&self, model: String, script: Script) {
        self.lock().scripts.insert(model, Progress::new(script));
    }

    pub(crate) fn clear_scripts(&self, model: Option<&str>) {
        let mut inner = self.lock();
        inner.scripts.retain(|name, _| model.is_some_and(|model| name != model));
        inner.named.retain(|name, _| model.is_some_and(|model| name != model));
    }

    pub(crate) fn scripts(&self) -> BTreeMap<String, Script> {
        let inner = self.lock();
        inner.scripts.iter().map(|(name, progress)| (name.clone(), progress.rest())).collect()
    }

    pub(crate) fn requests(&self, model: Option<&str>) -> Requests {
        self.lock().record.show(model)
    }

    pub(crate) fn clear_requests(&self) {
        self.lock().record = Record::default();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No step can leave the state half changed, so a panic elsewhere does not make it wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn next_step(&mut self, model: &str) -> Step {
        if let Some(step) = self.scripts.get_mut(model).and_then(Progress::advance) {
            return step;
        }
        if !model.starts_with("sim-") {
            return Step::default();
        }
        let named = self.named.entry(model.to_owned());
        named.or_insert_with(|| Progress::new(grammar::script(model))).advance().unwrap_or_default()
    }
}

/// Says what became of a request; when dropped without a word, that it was abandoned.
#[derive(Debug)]
pub(crate) struct Receipt {
    state: State,
    sequence: u64,
    received_at: Timestamp,
    finished: bool,
}

impl Receipt {
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn sent_piece(&self) {
        self.state.lock().record.sent_piece(self.sequence, self.received_at);
    }

    pub(crate) fn finish(mut self, answered: Answered) {
        self.finished = true;
        self.write(answered);
    }

    fn write(&self, answered: Answered) {
        self.state.lock().record.finish(self.sequence, self.received_at, answered, crate::clock::now());
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.finished {
            self.write(Answered::Abandoned);
        }
    }
}
