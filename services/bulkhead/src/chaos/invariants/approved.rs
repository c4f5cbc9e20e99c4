//! Nothing gated happened without a matching, unexpired, unused approval.

use bulkhead_audit::verify::{Finding, FindingCode};

use super::Verdicts;
use crate::chaos::evidence::Evidence;
use crate::chaos::plan::acts::{Deed, Verdict};

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for claim in &evidence.claims {
        let asked = match claim.deed {
            Deed::Delete(asked) => asked,
            Deed::Twins => Verdict::Approve,
            Deed::Append | Deed::Create | Deed::Move | Deed::Ask => continue,
        };
        if evidence.seen.left(&claim.path) == 0 {
            continue;
        }
        let agreed =
            evidence.decided.iter().any(|decided| decided.path == claim.path && decided.verdict == asked);
        verdicts.check(asked == Verdict::Approve && agreed, || {
            format!("{} is gone, and the person did not agree to that", claim.path)
        });
    }
    for decided in evidence.decided.iter().filter(|decided| decided.counted) {
        let outcome = if decided.verdict == Verdict::Approve { "approved" } else { "denied" };
        let told = evidence.records.log.get(&decided.approval_id);
        verdicts.check(told.is_some_and(|told| told.has("approval.settled", outcome)), || {
            format!("approval {} counted as {outcome}, and the log does not say so", decided.approval_id)
        });
    }
    for finding in evidence.records.findings.iter().filter(|finding| is_about_approvals(finding)) {
        verdicts.breach(format!("{}: {}", finding.code, finding.message));
    }
    verdicts
}

/// Which of the verifier's findings speak of approvals; the others speak of the record.
pub(super) fn is_about_approvals(finding: &Finding) -> bool {
    matches!(
        finding.code,
        FindingCode::ApprovalMissing
            | FindingCode::ApprovalMismatch
            | FindingCode::ApprovalExpired
            | FindingCode::ApprovalReused
            | FindingCode::ApprovalBypassed
            | FindingCode::SettledTwice
            | FindingCode::RequestMissing
            | FindingCode::DigestMissing
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::claim::{Claim, Decided};
    use crate::chaos::observer::Seen;

    fn gone(asked: Verdict, decided: Option<Verdict>) -> usize {
        let path = format!("old/t-{}.txt", asked.word());
        let claim = Claim {
            deed: Deed::Delete(asked),
            path: path.clone(),
            content: String::new(),
            calls: vec![],
            undo: None,
        };
        let decision =
            |verdict| Decided { approval_id: "a1".into(), path: path.clone(), verdict, counted: false };
        let evidence = Evidence {
            claims: vec![claim],
            decided: decided.map(decision).into_iter().collect(),
            seen: Seen { departures: [(path.clone(), 1)].into(), ..Seen::default() },
            ..Evidence::default()
        };
        judge(&evidence).breaches.len()
    }

    #[test]
    fn what_is_gone_was_agreed_to() {
        assert_eq!(gone(Verdict::Approve, Some(Verdict::Approve)), 0);
        assert_eq!(gone(Verdict::Approve, None), 1);
        assert_eq!(gone(Verdict::Deny, Some(Verdict::Deny)), 1);
        assert_eq!(gone(Verdict::Ignore, None), 1);
    }

    #[test]
    fn a_decision_that_counted_is_on_record() {
        let decided = Decided {
            approval_id: "a1".into(),
            path: "old/t-deny.txt".into(),
            verdict: Verdict::Deny,
            counted: true,
        };
        let mut evidence = Evidence { decided: vec![decided], ..Evidence::default() };
        assert_eq!(judge(&evidence).breaches.len(), 1);
        evidence
            .records
            .log
            .entry("a1".into())
            .or_default()
            .lines
            .insert("approval.settled denied".into(), 1);
        assert_eq!(judge(&evidence).breaches.len(), 0);
    }
}
