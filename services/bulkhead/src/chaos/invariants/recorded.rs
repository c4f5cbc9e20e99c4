//! Every effect has its intent and its outcome in the audit log, and the log verifies.

use super::Verdicts;
use super::approved::is_about_approvals;
use crate::chaos::claim::{Call, Claim, Standing};
use crate::chaos::evidence::Evidence;
use crate::chaos::record::{Journalled, Records};

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for claim in &evidence.claims {
        for call in claim.all_calls() {
            journalled(claim, call, &evidence.records, &mut verdicts);
        }
    }
    for (execution_id, journalled) in &evidence.records.journal {
        told(execution_id, journalled, &evidence.records, &mut verdicts);
    }
    for asked in evidence.asked.iter().filter(|asked| asked.answered) {
        verdicts.check(evidence.records.model_calls.contains(&asked.request_id), || {
            format!("model call {} was answered and is not in the log", asked.request_id)
        });
    }
    for finding in evidence.records.findings.iter().filter(|finding| !is_about_approvals(finding)) {
        verdicts.breach(format!("{}: {}", finding.code, finding.message));
    }
    verdicts
}

/// What an agent was told is what the journal has.
fn journalled(claim: &Claim, call: &Call, records: &Records, verdicts: &mut Verdicts) {
    if !matches!(call.standing, Standing::Succeeded | Standing::Undone) {
        return;
    }
    let states: Vec<&str> = call
        .execution_ids
        .iter()
        .filter_map(|id| records.journal.get(id))
        .map(|journalled| journalled.state.as_str())
        .collect();
    // A delete that was reported may have been taken back since.
    verdicts.check(matches!(states[..], ["SUCCEEDED" | "UNDONE"]), || {
        format!("{}: reported as done, and the journal has {states:?}", claim.path)
    });
}

/// What the journal has is in the log: one intent, and the outcome.
fn told(execution_id: &str, journalled: &Journalled, records: &Records, verdicts: &mut Verdicts) {
    let happened = matches!(journalled.state.as_str(), "SUCCEEDED" | "UNDONE" | "UNKNOWN");
    let told = records.log.get(execution_id).cloned().unwrap_or_default();
    let (intents, reads) = (told.count("tool.intent"), told.count("tool.read"));
    if happened {
        verdicts.check(intents + reads == 1, || {
            format!("execution {execution_id} happened and has {intents} intents")
        });
    }
    if matches!(journalled.state.as_str(), "SUCCEEDED" | "UNDONE") {
        verdicts.check(told.has("tool.outcome", "succeeded") || reads == 1, || {
            format!("execution {execution_id} happened and its outcome is not in the log")
        });
    }
    if journalled.approval_id.is_some() {
        verdicts.check(told.count("tool.requested") > 0, || {
            format!("execution {execution_id} asked a person and the log does not say so")
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::claim::Asked;
    use crate::chaos::record::Told;

    fn evidence(state: &str, lines: &[&str]) -> Evidence {
        let mut evidence = Evidence::default();
        let journalled = Journalled { state: state.into(), approval_id: None };
        evidence.records.journal.insert("e1".into(), journalled);
        let lines = lines.iter().map(|line| ((*line).to_owned(), 1)).collect();
        evidence.records.log.insert("e1".into(), Told { lines });
        evidence
    }

    #[test]
    fn what_happened_has_an_intent_and_an_outcome() {
        let breaches = |lines: &[&str]| judge(&evidence("SUCCEEDED", lines)).breaches.len();
        assert_eq!(breaches(&["tool.intent ", "tool.outcome succeeded"]), 0);
        assert_eq!(breaches(&["tool.outcome succeeded"]), 1);
        assert_eq!(breaches(&["tool.intent "]), 1);
        assert_eq!(breaches(&[]), 2);
        assert_eq!(judge(&evidence("DENIED", &[])).breaches.len(), 0);
    }

    #[test]
    fn a_model_call_that_was_answered_is_in_the_log() {
        let asked = Asked { request_id: "r1".into(), answered: true };
        let mut evidence = Evidence { asked: vec![asked], ..Evidence::default() };
        assert_eq!(judge(&evidence).breaches.len(), 1);
        evidence.records.model_calls.insert("r1".into());
        assert_eq!(judge(&evidence).breaches.len(), 0);
    }
}
