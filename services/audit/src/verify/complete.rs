//! Whether the record tells whole stories (docs/audit-events.md). Pure.
//!
//! Events of two services reach the log through two outboxes, so an approval may stand behind the effect
//! that rests on it. The events' own times say which came first; the log's order does only within what one
//! service sent. What another service than its own tells is no part of any story.
//!
//! Memory grows with approvals and effects, not with reads and model calls.

mod approvals;
mod effects;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::report::{FindingCode as Code, Findings, Where};
use super::senders::Senders;
use crate::event::{Attributes, Entry, Event};
use approvals::Approvals;
use effects::Effects;

/// Tenant and subject.
type Key = (String, String);

/// Stories that have begun.
#[derive(Debug)]
pub(super) struct Completeness {
    senders: Senders,
    effects: Effects,
    approvals: Approvals,
}

#[derive(Debug, Clone)]
struct Begun {
    at: Where,
    subject_id: String,
    plan_digest: String,
    time: Timestamp,
    logged_time: Timestamp,
}

impl Completeness {
    pub(super) fn of(senders: Senders) -> Self {
        Self { senders, effects: Effects::default(), approvals: Approvals::default() }
    }

    /// The next line.
    pub(super) fn take(&mut self, entry: &Entry, at: &Where, findings: &mut Findings) {
        let event = &entry.event;
        if let Some(rightful) = self.senders.rightful(&event.kind, &entry.source) {
            let text = format!("{} comes from {}; only {rightful} sends it", event.kind, entry.source.name);
            return findings.add(Code::ForeignSource, Some(at), text);
        }
        check_digest(event, at, findings);
        match event.kind.as_str() {
            "tool.requested" => self.effects.asked(event, &approval_id(event)),
            "tool.intent" => self.intent(entry, at, findings),
            "tool.outcome" => self.effects.ended(event, at, findings),
            "approval.requested" => self.approvals.requested(event),
            "approval.settled" => self.approvals.settled(event, at, findings),
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
        let approval_id = approval_id(event);
        self.effects.began(key(event), &approval_id, begun.clone(), findings);
        if !approval_id.is_empty() {
            let approval = (event.principal.tenant.clone(), approval_id);
            self.approvals.used(approval, begun, findings);
        }
    }

    /// The end of the log: what is still open must be young.
    pub(super) fn finish(self, end: Option<Timestamp>, open_for: SignedDuration, findings: &mut Findings) {
        let young = |begun: &Begun| {
            open_for.is_positive() && end.is_none_or(|end| end.duration_since(begun.logged_time) <= open_for)
        };
        self.approvals.finish(young, findings);
        for begun in self.effects.into_open() {
            let code = if young(&begun) { Code::OpenIntent } else { Code::OutcomeMissing };
            findings.add(code, Some(&begun.at), format!("{} has no outcome", begun.subject_id));
        }
    }
}

/// Every line of a gated story names the plan: two lines that name none would agree with each other.
fn check_digest(event: &Event, at: &Where, findings: &mut Findings) {
    let gated = match event.kind.as_str() {
        "approval.requested" | "approval.voted" | "approval.settled" | "tool.requested" => true,
        "tool.intent" => !approval_id(event).is_empty(),
        _ => false,
    };
    if gated && digest(event).is_empty() {
        let text = format!("{} of {} does not say which plan", event.kind, event.subject_id);
        findings.add(Code::DigestMissing, Some(at), text);
    }
}

fn key(event: &Event) -> Key {
    (event.principal.tenant.clone(), event.subject_id.clone())
}

fn digest(event: &Event) -> String {
    text(&event.attributes, "plan_digest")
}

fn approval_id(event: &Event) -> String {
    text(&event.attributes, "approval_id")
}

/// Empty when the attribute is missing or no text: neither names anything.
fn text(attributes: &Attributes, name: &str) -> String {
    attributes.object().get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::PrincipalKind;
    use serde_json::json;

    use super::*;
    use crate::event::tests::{entry, principal};

    /// Kind, subject, attributes, and the minute in which it happened and was logged.
    type Line<'a> = (&'a str, &'a str, Value, i8);

    /// Reads lines from their rightful senders.
    fn check(lines: &[Line<'_>]) -> (Vec<Code>, Vec<Code>) {
        check_sent(lines, |kind| if kind.starts_with("approval.") { "approval" } else { "tool-executor" })
    }

    /// A kind may carry the outcome after a space; `approval.settled` alone is `approved`.
    fn check_sent<'a>(lines: &[Line<'a>], sender: impl Fn(&'a str) -> &str) -> (Vec<Code>, Vec<Code>) {
        let (mut stories, mut findings) = (Completeness::of(Senders::default()), Findings::default());
        let mut end = None;
        for ((kind, subject, attributes, minute), sequence) in lines.iter().zip(0..) {
            let logged = format!("2026-05-09T12:{minute:02}:00Z");
            let (name, outcome) = kind.split_once(' ').unwrap_or((*kind, ""));
            let mut entry = entry(sequence, name, &logged);
            entry.source = principal(PrincipalKind::Service, sender(kind));
            entry.event.time = entry.logged_time;
            entry.event.subject_id = (*subject).to_owned();
            entry.event.outcome = if *kind == "approval.settled" { "approved" } else { outcome }.to_owned();
            entry.event.attributes = attributes.as_object().expect("an object").clone().into();
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

    #[test]
    fn an_effect_begins_before_its_approval_has_run_out() {
        let story = |not_after: Value, told_late: bool| {
            let settled = json!({ "plan_digest": "d1", "grant_not_after": not_after });
            let mut lines = vec![
                ("approval.requested", "a1", plan("d1"), 0),
                ("approval.settled", "a1", settled, 1),
                ("tool.intent", "e1", gated("d1", "a1"), 5),
                ("tool.outcome succeeded", "e1", plan("d1"), 6),
            ];
            if told_late {
                lines.swap(1, 2);
            }
            check(&lines)
        };
        // In front of the intent and behind it, as two outboxes deliver.
        for told_late in [false, true] {
            for end in [json!("2026-05-09T12:06:00Z"), json!("2026-05-09T12:04:00Z"), Value::Null] {
                assert_eq!(story(end.clone(), told_late), (vec![], vec![]), "{end}");
            }
            for end in [json!("2026-05-09T12:03:59Z"), json!("tomorrow"), json!(1)] {
                assert_eq!(story(end.clone(), told_late), (vec![Code::ApprovalExpired], vec![]), "{end}");
            }
        }
    }

    #[test]
    fn an_undo_and_an_outcome_that_came_late_are_whole() {
        let lines = [
            ("tool.requested", "e1", gated("d1", "a1"), 0),
            ("approval.requested", "a1", plan("d1"), 0),
            ("approval.settled", "a1", plan("d1"), 1),
            ("tool.intent", "e1", gated("d1", "a1"), 2),
            ("tool.outcome unknown", "e1", plan("d1"), 3),
            ("tool.outcome succeeded", "e1", plan("d1"), 4),
            ("tool.intent", "e2", json!({ "plan_digest": "d2", "undo_of": "e1" }), 5),
            ("tool.outcome succeeded", "e2", plan("d2"), 6),
            ("tool.dry_run planned", "e3", json!({}), 7),
        ];
        assert_eq!(check(&lines), (vec![], vec![]));
    }

    #[test]
    fn what_never_happened_needs_no_intent() {
        for outcome in ["failed", "stale", "denied", "expired", "refused", "cancelled"] {
            let kind = format!("tool.outcome {outcome}");
            assert_eq!(check(&[(kind.as_str(), "e1", json!({}), 0)]), (vec![], vec![]), "{outcome}");
        }
        for outcome in ["succeeded", "unknown", "undone"] {
            let kind = format!("tool.outcome {outcome}");
            let lines = [(kind.as_str(), "e1", json!({}), 0)];
            assert_eq!(check(&lines), (vec![Code::IntentMissing], vec![]), "{outcome}");
        }
    }

    #[test]
    fn an_effect_begins_once() {
        let lines = [
            ("tool.intent", "e1", plan("d1"), 0),
            ("tool.outcome succeeded", "e1", plan("d1"), 1),
            ("tool.intent", "e1", plan("d1"), 2),
            ("tool.outcome succeeded", "e1", plan("d1"), 3),
        ];
        assert_eq!(check(&lines), (vec![Code::IntentRepeated], vec![]));
    }

    #[test]
    fn who_was_asked_cannot_be_passed_by() {
        let story = |intent: Value| {
            [
                ("tool.requested", "e1", gated("d1", "a1"), 0),
                ("approval.requested", "a2", plan("d1"), 0),
                ("approval.settled", "a2", plan("d1"), 1),
                ("tool.intent", "e1", intent, 2),
                ("tool.outcome succeeded", "e1", plan("d1"), 3),
            ]
        };
        for intent in [plan("d1"), gated("d1", ""), gated("d1", "a2")] {
            assert_eq!(check(&story(intent.clone())), (vec![Code::ApprovalBypassed], vec![]), "{intent}");
        }
    }

    #[test]
    fn the_first_decision_counts_and_a_second_is_found() {
        let story = |first: &'static str, second: &'static str| {
            [
                ("approval.requested", "a1", plan("d1"), 0),
                (first, "a1", plan("d1"), 1),
                (second, "a1", plan("d1"), 2),
                ("tool.intent", "e1", gated("d1", "a1"), 3),
                ("tool.outcome succeeded", "e1", plan("d1"), 3),
            ]
        };
        let (approved, denied) = ("approval.settled approved", "approval.settled denied");
        let both = vec![Code::SettledTwice, Code::ApprovalMissing];
        assert_eq!(check(&story(denied, approved)), (both, vec![]));
        assert_eq!(check(&story(approved, denied)), (vec![Code::SettledTwice], vec![]));
    }

    #[test]
    fn a_gated_story_names_its_plan_in_every_line() {
        let story = |shown: Value, settled: Value, intent: Value| {
            [
                ("approval.requested", "a1", shown, 0),
                ("approval.settled", "a1", settled, 1),
                ("tool.intent", "e1", intent, 2),
                ("tool.outcome succeeded", "e1", json!({}), 3),
            ]
        };
        let unnamed = || json!({ "plan_digest": null, "approval_id": "a1" });
        for (shown, settled, intent) in
            [(json!({}), json!({}), unnamed()), (plan(""), plan(""), gated("", "a1"))]
        {
            let expected = vec![Code::DigestMissing; 3];
            assert_eq!(check(&story(shown, settled, intent)), (expected, vec![]));
        }
        for kind in ["tool.requested", "approval.voted"] {
            assert_eq!(check(&[(kind, "x1", json!({}), 0)]), (vec![Code::DigestMissing], vec![]), "{kind}");
        }
    }

    #[test]
    fn one_approval_is_for_one_intent_even_of_one_subject() {
        let lines = [
            ("approval.requested", "a1", plan("d1"), 0),
            ("approval.settled", "a1", plan("d1"), 1),
            ("tool.intent", "e1", gated("d1", "a1"), 2),
            ("tool.intent", "e1", gated("d1", "a1"), 3),
            ("tool.outcome succeeded", "e1", plan("d1"), 3),
        ];
        assert_eq!(check(&lines), (vec![Code::IntentRepeated, Code::ApprovalReused], vec![]));
    }

    #[test]
    fn what_another_service_tells_proves_nothing() {
        let lines = [
            ("approval.requested", "a1", plan("d1"), 0),
            ("approval.settled", "a1", plan("d1"), 1),
            ("tool.intent", "e1", gated("d1", "a1"), 2),
            ("tool.outcome succeeded", "e1", plan("d1"), 40),
        ];
        let forged = vec![Code::ForeignSource, Code::ForeignSource, Code::ApprovalMissing];
        assert_eq!(check_sent(&lines, |_| "tool-executor"), (forged, vec![]));
        let forged = vec![Code::ForeignSource, Code::ForeignSource];
        assert_eq!(check_sent(&lines, |_| "approval"), (forged, vec![]));
    }
}
