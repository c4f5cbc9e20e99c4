//! What happened when, counted from the start of the run.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::up::say;

/// Notes, in order. Each is also said at once, so that a person sees a run go on.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    began: Instant,
    notes: Arc<Mutex<Vec<Note>>>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Note {
    /// Since the start of the run.
    pub(super) seconds: f64,
    /// What.
    pub(super) what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:7.2} s  {}", self.seconds, self.what)
    }
}

impl Timeline {
    /// An empty one, from now.
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), notes: Arc::default() }
    }

    /// The time since the start.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When a moment of the plan comes.
    pub(super) fn at(&self, moment: Duration) -> Instant {
        self.began + moment
    }

    /// Something happened.
    pub(super) fn note(&self, what: &str) {
        let note = Note { seconds: self.now().as_secs_f64(), what: what.to_owned() };
        say(&format!("  {note}"));
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
    }

    /// Everything so far.
    pub(super) fn notes(&self) -> Vec<Note> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
