//! Events of calls that could not be stored when their calls ended, until they can.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_canonical_json as canonical;
use bulkhead_outbox::{AppendError, FileOutbox};
use bulkhead_proto::audit::v1 as audit;
use serde_json::Value;

use crate::open_calls::Mark;

/// Each with the mark that stands for it meanwhile.
type Kept = Vec<(audit::Event, Option<Mark>)>;

/// As many as calls were open at a time when the trouble came: none is begun while it is known. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Unstored {
    outbox: FileOutbox,
    kept: Arc<Mutex<Kept>>,
}

impl Unstored {
    pub(super) fn new(outbox: FileOutbox) -> Self {
        Self { outbox, kept: Arc::default() }
    }

    /// Where they go.
    pub(super) fn outbox(&self) -> &FileOutbox {
        &self.outbox
    }

    pub(super) fn keep(&self, event: audit::Event, mark: Option<Mark>) {
        self.lock().push((event, mark));
    }

    /// Stores them, now that the outbox works again.
    ///
    /// # Errors
    /// [`AppendError`]; what is not stored then stays here.
    pub(super) fn store(&self) -> Result<(), AppendError> {
        let mut kept = self.lock();
        while let Some((event, mark)) = kept.pop() {
            if let Err(error) = self.outbox.append_events(std::slice::from_ref(&event)) {
                kept.push((event, mark));
                return Err(error);
            }
            mark.into_iter().for_each(Mark::recorded);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event of a call whose answer is not given, because this or what was spent could not be stored.
pub(super) fn withheld(event: audit::Event) -> audit::Event {
    if event.outcome != "answered" {
        return event;
    }
    let mut attributes: Value = serde_json::from_str(&event.attributes_json).unwrap_or_default();
    attributes["error"] = "ANSWER_WITHHELD".into();
    // What has no canonical form came as its size and hash, which has one.
    let attributes_json = canonical::of_value(&attributes).unwrap_or(event.attributes_json);
    audit::Event { outcome: "failed".to_owned(), attributes_json, ..event }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_is_withheld() {
        let event = |outcome: &str, error: &str| audit::Event {
            outcome: outcome.to_owned(),
            attributes_json: format!(r#"{{"error":"{error}","model":"m"}}"#),
            ..audit::Event::default()
        };
        assert_eq!(withheld(event("answered", "")), event("failed", "ANSWER_WITHHELD"));
        let gone = event("failed", "CALLER_GONE");
        assert_eq!(withheld(gone.clone()), gone);
    }
}
