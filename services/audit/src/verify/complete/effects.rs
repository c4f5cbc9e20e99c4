//! Effects: begun once, in the way that was asked for, and ended.

use std::collections::{HashMap, HashSet};

use super::{Begun, Key, key};
use crate::event::Event;
use crate::verify::report::{FindingCode as Code, Findings, Where};

/// What the executor has told.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// The approval that a subject waits for.
    asked: HashMap<Key, String>,
    /// Every effect that ever began: it begins once.
    begun: HashSet<Key>,
    open: HashMap<Key, Begun>,
}

impl Effects {
    /// A person was asked.
    pub(super) fn asked(&mut self, event: &Event, approval_id: &str) {
        self.asked.insert(key(event), approval_id.to_owned());
    }

    /// An effect begins; `approval_id` is what it says it rests on, empty for an ungated one.
    pub(super) fn began(&mut self, key: Key, approval_id: &str, begun: Begun, findings: &mut Findings) {
        if let Some(asked) =
            self.asked.get(&key).filter(|asked| approval_id.is_empty() || **asked != approval_id)
        {
            let text = format!("{} was to wait for approval {asked:?} and did not", begun.subject_id);
            findings.add(Code::ApprovalBypassed, Some(&begun.at), text);
        }
        if !self.begun.insert(key.clone()) {
            let text = format!("{} began before", begun.subject_id);
            findings.add(Code::IntentRepeated, Some(&begun.at), text);
        }
        self.open.entry(key).or_insert(begun);
    }

    /// An effect is over, or will never be.
    pub(super) fn ended(&mut self, event: &Event, at: &Where, findings: &mut Findings) {
        let key = key(event);
        let may_have_happened = matches!(event.outcome.as_str(), "succeeded" | "unknown" | "undone");
        if may_have_happened && !self.begun.contains(&key) {
            let text = format!("{} is {} and never began", event.subject_id, event.outcome);
            findings.add(Code::IntentMissing, Some(at), text);
        }
        self.open.remove(&key);
    }

    /// What has no outcome, in the order of the log.
    pub(super) fn into_open(self) -> Vec<Begun> {
        let mut open: Vec<Begun> = self.open.into_values().collect();
        open.sort_by_key(|begun| begun.at.sequence);
        open
    }
}
