//! Approvals: shown, settled once, used once, for the plan that was shown.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;

use jiff::{SignedDuration, Timestamp};

use super::{Begun, Key, digest, key};
use crate::event::Event;
use crate::verify::report::{FindingCode as Code, Findings, Where};

/// How far the clocks of two services may be apart.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(1);

/// What the approval service has told, and which effects rest on it.
#[derive(Debug, Default)]
pub(super) struct Approvals {
    /// The plan that was shown.
    requested: HashMap<Key, String>,
    /// The first decision: it is the one that counts.
    settled: HashMap<Key, Settled>,
    /// Gated effects whose approval has not been seen yet.
    awaiting: Vec<(Key, Begun)>,
    /// Which effect an approval was used for.
    used: HashMap<Key, String>,
}

#[derive(Debug)]
struct Settled {
    outcome: String,
    plan_digest: String,
    time: Timestamp,
    /// When the grant runs out, where the line says so: lines of earlier versions do not.
    not_after: Option<Timestamp>,
}

impl Approvals {
    /// A decision is asked for.
    pub(super) fn requested(&mut self, event: &Event) {
        self.requested.insert(key(event), digest(event));
    }

    /// It is decided.
    pub(super) fn settled(&mut self, event: &Event, at: &Where, findings: &mut Findings) {
        let (approval, plan_digest) = (key(event), digest(event));
        if self.requested.get(&approval) != Some(&plan_digest) {
            let text = format!("approval {} was settled for a plan that was never shown", approval.1);
            findings.add(Code::RequestMissing, Some(at), text);
        }
        match self.settled.entry(approval) {
            Place::Vacant(place) => {
                let (outcome, not_after) = (event.outcome.clone(), not_after(event));
                place.insert(Settled { outcome, plan_digest, time: event.time, not_after });
            }
            Place::Occupied(first) => {
                let (id, was) = (&first.key().1, &first.get().outcome);
                let text = format!("approval {id} is {} here and was {was} before", event.outcome);
                findings.add(Code::SettledTwice, Some(at), text);
            }
        }
    }

    /// An effect begins that says it was approved.
    pub(super) fn used(&mut self, approval: Key, begun: Begun, findings: &mut Findings) {
        match self.used.entry(approval.clone()) {
            Place::Vacant(place) => drop(place.insert(begun.subject_id.clone())),
            Place::Occupied(first) => {
                let text = format!("approval {} was used for {} before", approval.1, first.get());
                findings.add(Code::ApprovalReused, Some(&begun.at), text);
            }
        }
        match self.settled.get(&approval) {
            Some(settled) => settled.covers(&approval.1, &begun, findings),
            None => self.awaiting.push((approval, begun)),
        }
    }

    /// The end of the log: effects whose approval did not come after all.
    pub(super) fn finish(self, young: impl Fn(&Begun) -> bool, findings: &mut Findings) {
        for (approval, begun) in &self.awaiting {
            match self.settled.get(approval) {
                Some(settled) => settled.covers(&approval.1, begun, findings),
                None => {
                    let code = if young(begun) { Code::ApprovalAwaited } else { Code::ApprovalMissing };
                    let text = format!("nothing in the log approves {}: {}", begun.subject_id, approval.1);
                    findings.add(code, Some(&begun.at), text);
                }
            }
        }
    }
}

impl Settled {
    /// Whether the effect may rest on this decision.
    fn covers(&self, approval_id: &str, begun: &Begun, findings: &mut Findings) {
        let Begun { at, subject_id, .. } = begun;
        if self.outcome != "approved" {
            let text = format!("approval {approval_id} of {subject_id} was {}", self.outcome);
            findings.add(Code::ApprovalMissing, Some(at), text);
        } else if self.plan_digest != begun.plan_digest {
            let text = format!("approval {approval_id} is for another plan than {subject_id}");
            findings.add(Code::ApprovalMismatch, Some(at), text);
        } else if self.time.duration_since(begun.time) > SKEW_MAX {
            let text = format!("approval {approval_id} was given after {subject_id} began");
            findings.add(Code::ApprovalMissing, Some(at), text);
        } else if self.not_after.is_some_and(|end| begun.time.duration_since(end) > SKEW_MAX) {
            let text = format!("approval {approval_id} had run out when {subject_id} began");
            findings.add(Code::ApprovalExpired, Some(at), text);
        }
    }
}

/// When the grant runs out. What stands there and is no time has passed.
fn not_after(event: &Event) -> Option<Timestamp> {
    let attributes = event.attributes.object();
    let said = attributes.get("grant_not_after").filter(|said| !said.is_null())?;
    let time = said.as_str().and_then(|text| text.parse().ok());
    Some(time.unwrap_or(Timestamp::MIN))
}
