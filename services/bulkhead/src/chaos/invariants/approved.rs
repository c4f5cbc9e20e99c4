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
            Deed::Twins | Deed::Changed => Verdict::Approve,
            Deed::Append | Deed::Create | Deed::Move | Deed::Ask => continue,
        };
        if claim.deed == Deed::Changed {
            // A call that was sent again may have been planned after the change: then it was shown.
            let saw_change =
                evidence.decided.iter().any(|decided| decided.path == claim.path && decided.saw_change);
            verdicts.check(claim.times_done() == 0 || saw_change, || {
                format!("{} was deleted with other content than the person had seen", claim.path)
            });
        }
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
    unexpired(evidence, &mut verdicts);
    for finding in evidence.records.findings.iter().filter(|finding| is_about_approvals(finding)) {
        verdicts.breach(format!("{}: {}", finding.code, finding.message));
    }
    verdicts
}

/// An effect begins before its grant runs out. The verifier allows for clocks that are a minute apart; here all services
/// see one clock, unless it was made to step.
fn unexpired(evidence: &Evidence, verdicts: &mut Verdicts) {
    for (approval_id, began) in evidence.records.gated.iter().filter(|_| evidence.clocks_are_right) {
        if let Some(not_after) = evidence.records.not_after.get(approval_id) {
            verdicts.check(began <= not_after, || {
                format!("approval {approval_id} ran out at {not_after}, and its effect began at {began}")
            });
        }
    }
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
    use crate::chaos::claim::{Call, Claim, Decided, Standing};
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
        let decision = |verdict| Decided {
            approval_id: "a1".into(),
            path: path.clone(),
            verdict,
            saw_change: false,
            counted: false,
        };
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
    fn what_began_after_its_approval_had_run_out_is_a_breach() {
        let began = |time: &str, clocks_are_right| {
            let mut evidence = Evidence { clocks_are_right, ..Evidence::default() };
            let not_after = "2026-05-09T12:00:02Z".parse().expect("a time");
            evidence.records.not_after.insert("a1".into(), not_after);
            evidence.records.gated.push(("a1".into(), time.parse().expect("a time")));
            judge(&evidence).breaches.len()
        };
        assert_eq!(began("2026-05-09T12:00:01.9Z", true), 0);
        assert_eq!(began("2026-05-09T12:00:02.1Z", true), 1);
        assert_eq!(began("2026-05-09T12:00:02.1Z", false), 0, "by whose clock?");
    }

    #[test]
    fn what_was_changed_after_it_was_shown_stays() {
        let changed = |standing, words: &str| {
            let mut call = Call::new("r1".into());
            call.heard("e1", standing, words.into());
            let path = "old/t-changed-approve.txt".into();
            let claim =
                Claim { deed: Deed::Changed, path, content: String::new(), calls: vec![call], undo: None };
            judge(&Evidence { claims: vec![claim], ..Evidence::default() }).breaches.len()
        };
        assert_eq!(changed(Standing::NotDone, "STALE STALE"), 0);
        assert_eq!(changed(Standing::Succeeded, "SUCCEEDED"), 1);
    }

    #[test]
    fn whoever_saw_the_change_and_agreed_agreed_to_it() {
        let path = "old/t-changed-approve.txt".to_owned();
        let call = Call { standing: Standing::Succeeded, ..Call::new("r1".into()) };
        let claim = Claim {
            deed: Deed::Changed,
            path: path.clone(),
            content: String::new(),
            calls: vec![call],
            undo: None,
        };
        let decided = |saw_change| Decided {
            approval_id: "a1".into(),
            path: path.clone(),
            verdict: Verdict::Approve,
            saw_change,
            counted: false,
        };
        let breaches = |saw_change| {
            let (claims, decided) = (vec![claim.clone()], vec![decided(saw_change)]);
            judge(&Evidence { claims, decided, ..Evidence::default() }).breaches.len()
        };
        assert_eq!((breaches(true), breaches(false)), (0, 1));
    }

    #[test]
    fn a_decision_that_counted_is_on_record() {
        let decided = Decided {
            approval_id: "a1".into(),
            path: "old/t-deny.txt".into(),
            verdict: Verdict::Deny,
            saw_change: false,
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
