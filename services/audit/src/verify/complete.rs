//! Whether the record tells whole stories (docs/audit-events.md). Pure.
//!
//! Events of two services reach the log through two outboxes, so an approval may stand behind the effect
//! that rests on it. The events' own times say which came first; the log's order does only within what one
//! service sent.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::report::{FindingCode as Code, Findings, Where};
use crate::event::{Entry, Event};

/// How far the clocks of two services may be apart.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);

/// Tenant and subject.
type Key = (String, String);

/// Stories that have begun.
#[derive(Debug, Default)]
pub(super) struct Completeness {
    open: HashMap<Key, Begun>,
    requested: HashMap<Key, String>,
    approved: HashMap<Key, Approved>,
    /// Gated effects whose approval has not been seen yet.
    awaiting: Vec<(Key, Begun)>,
    /// Which effect an approval was used for.
    used: HashMap<Key, String>,
}

#[derive(Debug, Clone)]
struct Begun {
    at: Where,
    subject_id: String,
    plan_digest: String,
    time: Timestamp,
    logged_time: Timestamp,
}

#[derive(Debug)]
struct Approved {
    plan_digest: String,
    time: Timestamp,
}

impl Completeness {
    /// The next line.
    pub(super) fn take(&mut self, entry: &Entry, at: &Where, findings: &mut Findings) {
        match entry.event.kind.as_str() {
            "tool.intent" => self.intent(entry, at, findings),
            "tool.outcome" => drop(self.open.remove(&key(&entry.event))),
            "approval.requested" => {
                self.requested.insert(key(&entry.event), digest(&entry.event));
            }
            "approval.settled" => self.settled(&entry.event, at, findings),
            _ => {}
        }
    }

    fn intent(&mut self, entry: &Entry, at: &Where, findings: &mut Findings) {
        let event = &entry.event;
        let begun = Begun {
            at: at.clone(),
            subject_id: event.subject_id.clone(),
            plan_digest: digest(event),
            time: event.time,
            logged_time: entry.logged_time,
        };
        let approval_id = text(&event.attributes, "approval_id");
        if !approval_id.is_empty() {
            let approval = (event.principal.tenant.clone(), approval_id);
            self.gated(approval, begun.clone(), findings);
        }
        self.open.entry(key(event)).or_insert(begun);
    }

    fn gated(&mut self, approval: Key, begun: Begun, findings: &mut Findings) {
        let used = self.used.entry(approval.clone()).or_insert_with(|| begun.subject_id.clone());
        if *used != begun.subject_id {
            let text = format!("approval {} was used for {used} before", approval.1);
            findings.add(Code::ApprovalReused, Some(&begun.at), text);
        }
        match self.approved.get(&approval) {
            Some(approved) => compare(&approval, approved, &begun, findings),
            None => self.awaiting.push((approval, begun)),
        }
    }

    fn settled(&mut self, event: &Event, at: &Where, findings: &mut Findings) {
        let (approval, plan_digest) = (key(event), digest(event));
        if self.requested.get(&approval) != Some(&plan_digest) {
            let text = format!("approval {} was settled for a plan that was never shown", approval.1);
            findings.add(Code::RequestMissing, Some(at), text);
        }
        if event.outcome == "approved" {
            self.approved.insert(approval, Approved { plan_digest, time: event.time });
        }
    }

    /// The end of the log: what is still open must be young.
    pub(super) fn finish(self, end: Option<Timestamp>, open_for: SignedDuration, findings: &mut Findings) {
        let young = |begun: &Begun| end.is_none_or(|end| end.duration_since(begun.logged_time) <= open_for);
        for (approval, begun) in &self.awaiting {
            match self.approved.get(approval) {
                Some(approved) => compare(approval, approved, begun, findings),
                None => {
                    let code = if young(begun) { Code::ApprovalAwaited } else { Code::ApprovalMissing };
                    let text = format!("nothing in the log approves {}: {}", begun.subject_id, approval.1);
                    findings.add(code, Some(&begun.at), text);
                }
            }
        }
        let mut open: Vec<&Begun> = self.open.values().collect();
        open.sort_by_key(|begun| begun.at.sequence);
        for begun in open {
            let code = if young(begun) { Code::OpenIntent } else { Code::OutcomeMissing };
            findings.add(code, Some(&begun.at), format!("{} has no outcome", begun.subject_id));
        }
    }
}

fn compare(approval: &Key, approved: &Approved, begun: &Begun, findings: &mut Findings) {
    let Begun { at, subject_id, .. } = begun;
    if approved.plan_digest != begun.plan_digest {
        let text = format!("approval {} is for another plan than {subject_id}", approval.1);
        findings.add(Code::ApprovalMismatch, Some(at), text);
    } else if approved.time.duration_since(begun.time) > SKEW_MAX {
        let text = format!("approval {} was given after {subject_id} began", approval.1);
        findings.add(Code::ApprovalMissing, Some(at), text);
    }
}

fn key(event: &Event) -> Key {
    (event.principal.tenant.clone(), event.subject_id.clone())
}

fn digest(event: &Event) -> String {
    text(&event.attributes, "plan_digest")
}

fn text(attributes: &Map<String, Value>, name: &str) -> String {
    attributes.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::tests::entry;

    /// Kind, subject, attributes, and the minute in which it happened and was logged.
    type Line<'a> = (&'a str, &'a str, Value, i8);

    fn check(lines: &[Line<'_>]) -> (Vec<Code>, Vec<Code>) {
        let (mut stories, mut findings) = (Completeness::default(), Findings::default());
        let mut end = None;
        for ((kind, subject, attributes, minute), sequence) in lines.iter().zip(0..) {
            let logged = format!("2026-05-09T12:{minute:02}:00Z");
            let mut entry = entry(sequence, kind, &logged);
            entry.event.time = entry.logged_time;
            entry.event.subject_id = (*subject).to_owned();
            if *kind == "approval.settled" {
                entry.event.outcome = "approved".to_owned();
            }
            entry.event.attributes = attributes.as_object().expect("an object").clone();
            let at = Where { file: "2026-05-09.log".into(), line: sequence + 1, sequence };
            stories.take(&entry, &at, &mut findings);
            end = Some(entry.logged_time);
        }
        stories.finish(end, SignedDuration::from_mins(15), &mut findings);
        findings.codes()
    }

    fn plan(digest: &str) -> Value {
        json!({ "plan_digest": digest })
    }

    fn gated(digest: &str, approval: &str) -> Value {
        json!({ "plan_digest": digest, "approval_id": approval })
    }

    #[test]
    fn whole_stories_pass() {
        let lines = [
            ("approval.requested", "a1", plan("d1"), 0),
            ("approval.settled", "a1", plan("d1"), 1),
            ("tool.intent", "e1", gated("d1", "a1"), 2),
            ("tool.outcome", "e1", plan("d1"), 2),
            ("tool.intent", "e2", plan("d2"), 3),
            ("tool.outcome", "e2", plan("d2"), 50),
        ];
        assert_eq!(check(&lines), (vec![], vec![]));
    }

    #[test]
    fn an_approval_may_reach_the_log_after_its_effect() {
        let lines = [
            ("approval.requested", "a1", plan("d1"), 0),
            ("tool.intent", "e1", gated("d1", "a1"), 2),
            ("approval.settled", "a1", plan("d1"), 3),
            ("tool.outcome", "e1", plan("d1"), 40),
        ];
        assert_eq!(check(&lines), (vec![], vec![]));
    }

    #[test]
    fn an_intent_without_outcome_is_open_at_first_and_missing_later() {
        let lines = [("tool.intent", "e1", plan("d1"), 0), ("tool.read", "e2", plan("d2"), 15)];
        assert_eq!(check(&lines), (vec![], vec![Code::OpenIntent]));
        let lines = [("tool.intent", "e1", plan("d1"), 0), ("tool.read", "e2", plan("d2"), 16)];
        assert_eq!(check(&lines), (vec![Code::OutcomeMissing], vec![]));
    }

    #[test]
    fn every_break_in_a_gated_story_is_found() {
        let outcome = |subject| ("tool.outcome", subject, plan("d1"), 40);
        let requested = ("approval.requested", "a1", plan("d1"), 0);
        let settled = |minute| ("approval.settled", "a1", plan("d1"), minute);
        let intent = |subject, digest| ("tool.intent", subject, gated(digest, "a1"), 2);
        let cases: [(Vec<Line<'_>>, Code); 5] = [
            (vec![requested.clone(), intent("e1", "d1"), outcome("e1")], Code::ApprovalMissing),
            (vec![requested.clone(), intent("e1", "d1"), settled(4), outcome("e1")], Code::ApprovalMissing),
            (vec![requested.clone(), settled(1), intent("e1", "d2"), outcome("e1")], Code::ApprovalMismatch),
            (vec![settled(1), intent("e1", "d1"), outcome("e1")], Code::RequestMissing),
            (
                vec![
                    requested,
                    settled(1),
                    intent("e1", "d1"),
                    intent("e2", "d1"),
                    outcome("e1"),
                    outcome("e2"),
                ],
                Code::ApprovalReused,
            ),
        ];
        for (lines, code) in cases {
            assert_eq!(check(&lines), (vec![code], vec![]));
        }
    }
}
