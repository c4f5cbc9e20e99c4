//! What must hold of a Bulkhead whatever happens to it. Pure: each is a function from the evidence to what breaks it.
//!
//! What must hold of the log by itself is stated once, in `bulkhead audit verify`; its findings count here under the
//! invariant that they break.

mod approved;
mod contained;
mod drained;
mod once;
mod recorded;

use serde::Serialize;

use super::evidence::Evidence;

/// One invariant, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Judged {
    /// Short and stable, for programs.
    pub(super) name: &'static str,
    /// What must hold.
    pub(super) claim: &'static str,
    /// How many facts were held against it. Zero proves nothing.
    pub(super) checked: usize,
    /// What breaks it.
    pub(super) breaches: Vec<String>,
}

impl Judged {
    /// Whether nothing breaks it.
    pub(super) fn holds(&self) -> bool {
        self.breaches.is_empty()
    }
}

/// Facts that were looked at, and those of them that must not be.
#[derive(Debug, Default)]
struct Verdicts {
    checked: usize,
    breaches: Vec<String>,
}

impl Verdicts {
    /// One more fact.
    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.checked += 1;
        if !holds {
            self.breaches.push(otherwise());
        }
    }

    /// Something that must not be there at all.
    fn breach(&mut self, what: String) {
        self.check(false, || what);
    }
}

/// Its name, what it claims, and how it is judged.
type Invariant = (&'static str, &'static str, fn(&Evidence) -> Verdicts);

/// All of them, in their order.
pub(super) fn judge(evidence: &Evidence) -> Vec<Judged> {
    let all: [Invariant; 5] = [
        ("once", "every effect happened at most once, and exactly once if it was reported", once::judge),
        (
            "approved",
            "nothing gated happened without a matching, unexpired, unused approval",
            approved::judge,
        ),
        ("recorded", "every effect has its intent and its outcome in a log that verifies", recorded::judge),
        ("contained", "what should have gone on went on, and the rest stopped as it says", contained::judge),
        ("drained", "after healing, everything pending came to its end in time", drained::judge),
    ];
    let judged = all.into_iter().map(|(name, claim, judge)| {
        let Verdicts { checked, breaches } = judge(evidence);
        Judged { name, claim, checked, breaches }
    });
    judged.collect()
}
