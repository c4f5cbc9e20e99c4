//! Every effect happened at most once, and exactly once if it was reported as done.

use std::collections::BTreeSet;

use bulkhead_canonical_json::sha256_hex;

use super::Verdicts;
use crate::chaos::agent::{GENESIS, arrives_at};
use crate::chaos::claim::{Call, Claim, Standing};
use crate::chaos::evidence::Evidence;
use crate::chaos::observer::Seen;
use crate::chaos::plan::acts::Deed;

pub(super) fn judge(evidence: &Evidence) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for claim in &evidence.claims {
        for call in claim.all_calls() {
            one_request(claim, call, &mut verdicts);
        }
        match claim.deed {
            Deed::Append => lines(claim, &evidence.seen, &mut verdicts),
            Deed::Create | Deed::Move | Deed::Delete(_) | Deed::Twins | Deed::Changed => {
                files(claim, &evidence.seen, &mut verdicts)
            }
            Deed::Ask => {}
        }
    }
    for (path, content) in evidence.seen.files.iter().filter(|(path, _)| path.starts_with("ledgers/")) {
        chain(path, content, &mut verdicts);
    }
    irreversible(&evidence.records.fragile, &mut verdicts);
    verdicts
}

/// Whoever looks writes each line once.
fn irreversible(content: &str, verdicts: &mut Verdicts) {
    let mut seen = BTreeSet::new();
    for line in content.lines() {
        verdicts.check(seen.insert(line), || format!("what cannot be taken back happened twice: {line}"));
    }
}

/// However often it was sent, a request is one execution and has one ending.
fn one_request(claim: &Claim, call: &Call, verdicts: &mut Verdicts) {
    let Call { request_id, execution_ids, endings, .. } = call;
    verdicts.check(execution_ids.len() <= 1, || {
        format!("request {request_id} about {} became {} executions", claim.path, execution_ids.len())
    });
    verdicts.check(endings.len() <= 1, || {
        format!("request {request_id} about {} was told different endings: {endings:?}", claim.path)
    });
}

/// How often something was done, against how often it was reported. While a call is open either may be.
fn tally(claim: &Claim, what: &str, times: usize, verdicts: &mut Verdicts) {
    let reported = claim.times_done();
    let may = if claim.is_settled() { reported } else { claim.calls.len() };
    verdicts.check(times <= may && (times >= reported || !claim.is_settled()), || {
        format!("{} {what} {times} time(s), and {reported} of its calls reported it", claim.path)
    });
}

/// A line is in its ledger exactly if it was added and not taken back.
fn lines(claim: &Claim, seen: &Seen, verdicts: &mut Verdicts) {
    let line = claim.content.trim_end();
    let content = seen.files.get(&claim.path).map_or("", String::as_str);
    let times = content.lines().filter(|found| *found == line).count();
    if claim.is_undone() {
        verdicts.check(times == 0, || format!("{}: a line is there although it was taken back", claim.path));
    } else {
        tally(claim, "holds a line", times, verdicts);
    }
}

/// A token leaves one name and arrives at another, and where it lies in the end it is whole.
fn files(claim: &Claim, seen: &Seen, verdicts: &mut Verdicts) {
    let target = arrives_at(&claim.path);
    let (before, after) = match claim.deed {
        Deed::Create => (None, Some(claim.path.as_str())),
        Deed::Move => (Some(claim.path.as_str()), Some(target.as_str())),
        Deed::Delete(_) | Deed::Twins | Deed::Changed | Deed::Append | Deed::Ask => {
            (Some(claim.path.as_str()), None)
        }
    };
    let times = match after {
        // An undo that was cut short has taken it away and brought it back.
        Some(after) => seen.arrived(after).saturating_sub(brought_back(claim, after, seen)),
        // What left and came back without having been taken back never was away.
        None => {
            seen.left(&claim.path).saturating_sub(seen.arrived(&claim.path)) + usize::from(claim.is_undone())
        }
    };
    tally(claim, if after.is_some() { "arrived" } else { "was deleted" }, times, verdicts);
    if !claim.is_settled() {
        return;
    }
    let is_done = claim.times_done() > 0 && !claim.is_undone();
    let (here, gone) = if is_done { (after, before) } else { (before, after) };
    if let Some(here) = here {
        let content = seen.files.get(here);
        verdicts.check(content == Some(&claim.content), || {
            format!("{here} should hold its token and holds {content:?}")
        });
    }
    if let Some(gone) = gone {
        verdicts.check(!seen.files.contains_key(gone), || format!("{gone} should not be there"));
    }
}

/// How often an undo that did not come about left a name and gave it back.
fn brought_back(claim: &Claim, after: &str, seen: &Seen) -> usize {
    let tried = claim.undo.as_ref().is_some_and(|undo| undo.standing != Standing::Succeeded);
    usize::from(tried).min(seen.left(after))
}

/// Each line carries the hash of the one before.
fn chain(path: &str, content: &str, verdicts: &mut Verdicts) {
    let mut last = GENESIS.to_owned();
    for (number, line) in content.lines().enumerate() {
        let carried = line.split(' ').next().unwrap_or_default();
        verdicts
            .check(carried == last, || format!("{path}: line {} does not follow the one before", number + 1));
        last = sha256_hex(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::plan::acts::Verdict;

    fn call(standing: Standing) -> Call {
        let mut call = Call::new("r1".into());
        call.heard("e1", standing, String::new());
        call
    }

    fn claim(deed: Deed, path: &str, standing: Standing) -> Claim {
        Claim { deed, path: path.into(), content: "token\n".into(), calls: vec![call(standing)], undo: None }
    }

    fn seen(arrivals: &[(&str, usize)], departures: &[(&str, usize)], files: &[&str]) -> Seen {
        let counted =
            |counts: &[(&str, usize)]| counts.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect();
        Seen {
            arrivals: counted(arrivals),
            departures: counted(departures),
            files: files.iter().map(|path| ((*path).to_owned(), "token\n".to_owned())).collect(),
        }
    }

    fn breaches(claim: Claim, seen: Seen) -> usize {
        judge(&Evidence { claims: vec![claim], seen, ..Evidence::default() }).breaches.len()
    }

    #[test]
    fn a_move_arrives_once_exactly_if_it_is_reported() {
        let moved = || claim(Deed::Move, "inbox/t.txt", Standing::Succeeded);
        assert_eq!(breaches(moved(), seen(&[("done/t.txt", 1)], &[], &["done/t.txt"])), 0);
        assert_eq!(breaches(moved(), seen(&[("done/t.txt", 2)], &[], &["done/t.txt"])), 1, "twice");
        // Not done, not there, and still where it was.
        assert_eq!(breaches(moved(), seen(&[], &[], &["inbox/t.txt"])), 3);
        let failed = || claim(Deed::Move, "inbox/t.txt", Standing::NotDone);
        assert_eq!(breaches(failed(), seen(&[], &[], &["inbox/t.txt"])), 0);
        assert_eq!(breaches(failed(), seen(&[("done/t.txt", 1)], &[], &["done/t.txt"])), 3);
    }

    #[test]
    fn of_an_open_call_either_may_be_but_not_twice() {
        let open = || claim(Deed::Move, "inbox/t.txt", Standing::Open);
        assert_eq!(breaches(open(), seen(&[], &[], &["inbox/t.txt"])), 0);
        assert_eq!(breaches(open(), seen(&[("done/t.txt", 1)], &[], &["done/t.txt"])), 0);
        assert_eq!(breaches(open(), seen(&[("done/t.txt", 2)], &[], &["done/t.txt"])), 1);
    }

    #[test]
    fn what_was_taken_back_is_where_it_was() {
        let undone = || Claim {
            undo: Some(call(Standing::Succeeded)),
            ..claim(Deed::Delete(Verdict::Approve), "old/t-approve.txt", Standing::Undone)
        };
        let path = "old/t-approve.txt";
        assert_eq!(breaches(undone(), seen(&[(path, 1)], &[(path, 1)], &[path])), 0);
        assert_eq!(breaches(undone(), seen(&[], &[(path, 1)], &[])), 2);
    }

    #[test]
    fn an_undo_that_was_cut_short_gives_back_what_it_took() {
        let tried = |left| {
            let undo = Some(call(Standing::NotDone));
            let claim = Claim { undo, ..claim(Deed::Move, "inbox/t.txt", Standing::Succeeded) };
            breaches(claim, seen(&[("done/t.txt", 2)], &[("done/t.txt", left)], &["done/t.txt"]))
        };
        assert_eq!(tried(1), 0);
        assert_eq!(tried(0), 1, "nothing was taken away in between");
    }

    #[test]
    fn of_twins_one_may_happen() {
        let path = "old/t-twins-approve.txt";
        let twins = |other| Claim {
            calls: vec![call(Standing::Succeeded), call(other)],
            ..claim(Deed::Twins, path, Standing::Succeeded)
        };
        assert_eq!(breaches(twins(Standing::NotDone), seen(&[], &[(path, 1)], &[])), 0);
        assert_eq!(breaches(twins(Standing::Succeeded), seen(&[], &[(path, 1)], &[])), 1);
    }

    #[test]
    fn a_doubled_line_breaks_the_tally_and_the_chain() {
        let line = format!("{GENESIS} 0 x");
        let mut seen = Seen::default();
        let claim = Claim {
            content: format!("{line}\n"),
            ..claim(Deed::Append, "ledgers/a0.txt", Standing::Succeeded)
        };
        seen.files.insert("ledgers/a0.txt".into(), format!("{line}\n"));
        assert_eq!(breaches(claim.clone(), seen.clone()), 0);
        seen.files.insert("ledgers/a0.txt".into(), format!("{line}\n{line}\n"));
        assert_eq!(breaches(claim, seen), 2);
    }

    #[test]
    fn what_cannot_be_taken_back_happens_once() {
        let breaches = |fragile: &str| {
            let mut evidence = Evidence::default();
            evidence.records.fragile = fragile.into();
            judge(&evidence).breaches.len()
        };
        assert_eq!(breaches("here since before\nprobe 1\nprobe 2\n"), 0);
        assert_eq!(breaches("here since before\nprobe 1\nprobe 2\nprobe 1\n"), 1);
    }

    #[test]
    fn a_request_has_one_execution_and_one_ending() {
        let mut twice = call(Standing::Succeeded);
        let mut copy = Call::new("r1".into());
        copy.heard("e2", Standing::NotDone, String::new());
        twice.join(copy);
        let claim = Claim { calls: vec![twice], ..claim(Deed::Create, "made/t.txt", Standing::Succeeded) };
        assert!(breaches(claim, seen(&[("made/t.txt", 1)], &[], &["made/t.txt"])) >= 2);
    }
}
