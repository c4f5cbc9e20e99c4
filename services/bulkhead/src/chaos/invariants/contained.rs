//! What should have gone on went on, and what should have stopped stopped with the stated error.

use super::Verdicts;
use crate::chaos::claim::{Call, Claim, Standing};
use crate::chaos::evidence::Evidence;
use crate::chaos::plan::acts::{Deed, Verdict};
use crate::chaos::voice::is_stated;

/// Fewer calls of a kind than this say nothing about the kind.
const CALLS_MIN: usize = 4;
/// It was cut short, and is known not to have happened.
const INTERRUPTED: &str = "FAILED IO_ERROR";

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for look in &evidence.looks {
        verdicts.check(look.holds, || {
            format!(
                "{}: {} was to be {}, and was {}",
                look.fault,
                look.want.name(),
                look.expected,
                look.answer
            )
        });
    }
    for (answer, times) in &evidence.errors {
        verdicts.check(is_stated(answer), || {
            format!("{answer}, {times} time(s): the contract has no such answer")
        });
    }
    for claim in &evidence.claims {
        for call in claim.calls.iter().filter(|call| call.standing == Standing::NotDone) {
            ended_as_stated(claim, call, may_end(claim.deed, &call.words), &mut verdicts);
        }
        if let Some(undo) = claim.undo.as_ref().filter(|undo| undo.standing == Standing::NotDone) {
            ended_as_stated(claim, undo, undo.words == INTERRUPTED, &mut verdicts);
        }
    }
    for (deed, what) in [(Deed::Append, "appends"), (Deed::Move, "moves"), (Deed::Create, "creations")] {
        mostly_done(evidence, deed, what, &mut verdicts);
    }
    verdicts
}

/// How something may end that is not done. Nobody but its agent touches a file, so that nothing else can be in the way.
fn may_end(deed: Deed, words: &str) -> bool {
    match words {
        INTERRUPTED => true,
        "DENIED APPROVAL_DENIED" => deed == Deed::Delete(Verdict::Deny),
        "EXPIRED APPROVAL_EXPIRED" => matches!(deed, Deed::Delete(_) | Deed::Twins | Deed::Changed),
        "STALE STALE" => matches!(deed, Deed::Twins | Deed::Changed),
        _ => false,
    }
}

fn ended_as_stated(claim: &Claim, call: &Call, holds: bool, verdicts: &mut Verdicts) {
    verdicts.check(holds, || format!("{}: {} is no way for it to end", claim.path, call.words));
}

/// Calls that need no person are done, except those that a fault has met. A tool that always fails would break nothing
/// else: what never happens, never happens twice.
fn mostly_done(evidence: &Evidence, deed: Deed, what: &str, verdicts: &mut Verdicts) {
    let calls = || evidence.claims.iter().filter(|claim| claim.deed == deed).flat_map(|claim| &claim.calls);
    let ended = calls().filter(|call| call.standing.is_settled()).count();
    let failed = calls().filter(|call| call.standing == Standing::NotDone).count();
    if ended >= CALLS_MIN {
        verdicts.check(failed * 2 <= ended, || format!("{failed} of {ended} {what} failed"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(deed: Deed, words: &str) -> Claim {
        let mut call = Call::new("r1".into());
        let standing = if words == "SUCCEEDED" { Standing::Succeeded } else { Standing::NotDone };
        call.heard("e1", standing, words.into());
        Claim { deed, path: "inbox/t.txt".into(), content: String::new(), calls: vec![call], undo: None }
    }

    fn breaches(claims: Vec<Claim>) -> usize {
        judge(&Evidence { claims, ..Evidence::default() }).breaches.len()
    }

    #[test]
    fn what_is_not_done_ends_in_a_way_that_belongs_to_it() {
        for (deed, words, breached) in [
            (Deed::Move, INTERRUPTED, 0),
            (Deed::Move, "FAILED NOT_FOUND", 1),
            (Deed::Append, "STALE STALE", 1),
            (Deed::Twins, "STALE STALE", 0),
            (Deed::Delete(Verdict::Approve), "EXPIRED APPROVAL_EXPIRED", 0),
            (Deed::Delete(Verdict::Approve), "DENIED APPROVAL_DENIED", 1),
            (Deed::Delete(Verdict::Deny), "DENIED APPROVAL_DENIED", 0),
            (Deed::Create, "REFUSED POLICY_DENIED", 1),
            (Deed::Create, "SUCCEEDED", 0),
        ] {
            assert_eq!(breaches(vec![claim(deed, words)]), breached, "{deed:?} {words}");
        }
    }

    #[test]
    fn a_tool_that_always_fails_is_a_breach() {
        let ended = |failed: usize, done: usize| {
            let all = vec![claim(Deed::Move, INTERRUPTED); failed].into_iter();
            all.chain(vec![claim(Deed::Move, "SUCCEEDED"); done]).collect()
        };
        assert_eq!(breaches(ended(4, 0)), 1);
        assert_eq!(breaches(ended(3, 3)), 0);
        // Too few to tell.
        assert_eq!(breaches(ended(3, 0)), 0);
    }
}
