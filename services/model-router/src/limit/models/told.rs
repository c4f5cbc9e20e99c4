//! Hears what a server says of its limits when it says it: at the beginning of an answer, which may go on for minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::HeaderMap;
use jiff::Timestamp;

use super::Model;
use crate::limit::quota::Quota;

/// Where an attempt leaves what its server's headers say. Cheap to clone; the first word counts. The default is heeded by
/// nobody.
#[derive(Debug, Clone, Default)]
pub struct Told(Option<Arc<Ear>>);

#[derive(Debug)]
struct Ear {
    model: Arc<Model>,
    prompt_tokens: u64,
    has_heard: AtomicBool,
}

impl Told {
    pub(super) fn new(model: Arc<Model>, prompt_tokens: u64) -> Self {
        Self(Some(Arc::new(Ear { model, prompt_tokens, has_heard: AtomicBool::new(false) })))
    }

    /// The headers of an answer. From now on they hold for every request to the model.
    pub fn hear(&self, headers: &HeaderMap, now: Timestamp) {
        self.quota(Quota::read(headers, now));
    }

    /// The request is over; if no headers have come, none will. `is_sent`: there was something that a server could count.
    pub(super) fn over(&self, is_sent: bool) {
        let Some(ear) = self.first_word() else { return };
        let mut state = ear.model.lock();
        state.answered(ear.prompt_tokens, Quota::default(), Instant::now());
        if !is_sent {
            state.unsent(ear.prompt_tokens);
        }
    }

    pub(super) fn quota(&self, quota: Quota) {
        let Some(ear) = self.first_word() else { return };
        ear.model.lock().answered(ear.prompt_tokens, quota, Instant::now());
    }

    fn first_word(&self) -> Option<&Ear> {
        self.0.as_deref().filter(|ear| !ear.has_heard.swap(true, Ordering::Relaxed))
    }
}
