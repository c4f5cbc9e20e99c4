//! After healing, everything pending came to its end within the bound.

use super::Verdicts;
use crate::chaos::claim::Standing;
use crate::chaos::evidence::Evidence;
use crate::chaos::record::OPEN;

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for claim in &evidence.claims {
        for call in claim.all_calls() {
            verdicts.check(call.standing.is_settled(), || {
                let so_far = if call.standing == Standing::Unheard { "unheard of" } else { "open" };
                format!("request {} about {} is still {so_far}", call.request_id, claim.path)
            });
        }
    }
    for (execution_id, journalled) in &evidence.records.journal {
        verdicts.check(!OPEN.contains(&journalled.state.as_str()), || {
            format!("execution {execution_id} is still {} in the journal", journalled.state)
        });
    }
    for (service, waiting) in &evidence.records.undelivered {
        verdicts.check(*waiting == 0, || format!("{waiting} events are still in the outbox of {service}"));
    }
    for what in &evidence.restless {
        verdicts.breach(what.clone());
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::record::Journalled;

    #[test]
    fn what_is_still_open_is_named() {
        let mut evidence = Evidence::default();
        let journalled = |state: &str| Journalled { state: state.into(), approval_id: None };
        evidence.records.journal.insert("e1".into(), journalled("SUCCEEDED"));
        evidence.records.undelivered.insert("audit", 0);
        assert_eq!(judge(&evidence).breaches.len(), 0);
        evidence.records.journal.insert("e2".into(), journalled("UNKNOWN"));
        evidence.records.undelivered.insert("approval", 3);
        evidence.restless.push("audit is not ready".into());
        assert_eq!(judge(&evidence).breaches.len(), 3);
    }
}
