//! What each agent does, from the seed. Pure. None of it may be done twice without being seen: a token is moved to
//! a name where it can arrive only once, a line of a ledger carries the hash of the one before.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

/// What the person will say to a gated call. It is written in the name of the file, so that the person needs to know
/// nothing but what the approval shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::chaos) enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Deny,
    /// Nothing, until it expires.
    Ignore,
}

impl Verdict {
    const ALL: [Self; 3] = [Self::Approve, Self::Deny, Self::Ignore];

    /// The word in the file's name.
    pub(in crate::chaos) fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
            Self::Ignore => "ignore",
        }
    }

    /// What the name of a file asks for.
    pub(in crate::chaos) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| name.ends_with(&format!("-{}.txt", verdict.word())))
    }
}

/// What an agent wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::chaos) enum Deed {
    /// A line that carries the hash of the one before it, added to the agent's own ledger.
    Append,
    /// A file that was not there.
    Create,
    /// A token, from one folder to another.
    Move,
    /// A token, gated.
    Delete(Verdict),
    /// The same token by two calls at once: they join one approval, and one of them may run.
    Twins,
    /// A token, gated, that somebody else writes to between the look of the person and the vote: what was agreed to
    /// is not there any more.
    Changed,
    /// A question to a model.
    Ask,
}

/// How often a request is sent. It is one request all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum Sent {
    /// Until there is an answer.
    Once,
    /// By two callers at the same time.
    TwiceAtOnce,
    /// Again after the answer.
    Again,
}

/// The next thing that an agent does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) struct Act {
    /// From 0, for this agent.
    pub(in crate::chaos) number: u32,
    /// What.
    pub(in crate::chaos) deed: Deed,
    /// How often.
    pub(in crate::chaos) sent: Sent,
    /// Whether it is taken back afterwards.
    pub(in crate::chaos) undone: bool,
}

/// Everything that one agent will ever do; it ends with the run.
pub(in crate::chaos) fn acts(seed: u64, agent: u32) -> impl Iterator<Item = Act> {
    // Far from the seeds of other agents and of the faults.
    let mut random = StdRng::seed_from_u64(seed ^ (u64::from(agent) + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    (0..).map(move |number| {
        let deed = deed(&mut random);
        let sent = match random.random_range(0..10) {
            0 => Sent::TwiceAtOnce,
            1 => Sent::Again,
            _ => Sent::Once,
        };
        let may_be_undone = !matches!(deed, Deed::Ask | Deed::Twins | Deed::Changed);
        Act { number, deed, sent, undone: may_be_undone && random.random_ratio(1, 5) }
    })
}

fn deed(random: &mut StdRng) -> Deed {
    match random.random_range(0..100) {
        0..36 => Deed::Append,
        36..62 => Deed::Move,
        62..72 => Deed::Create,
        72..80 => Deed::Delete(Verdict::Approve),
        80..83 => Deed::Delete(Verdict::Deny),
        83..84 => Deed::Delete(Verdict::Ignore),
        84..88 => Deed::Twins,
        88..90 => Deed::Changed,
        _ => Deed::Ask,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn agents_differ_and_repeat_themselves() {
        let of = |seed, agent| acts(seed, agent).take(100).collect::<Vec<_>>();
        assert_eq!(of(3, 0), of(3, 0));
        assert_ne!(of(3, 0), of(3, 1));
        assert_ne!(of(3, 0), of(4, 0));
    }

    #[test]
    fn every_deed_comes() {
        let seen: BTreeSet<Deed> = acts(1, 0).take(2_000).map(|act| act.deed).collect();
        assert_eq!(seen.len(), 9, "{seen:?}");
    }

    #[test]
    fn a_name_says_what_the_person_will_do() {
        for verdict in Verdict::ALL {
            assert_eq!(Verdict::of(&format!("old/a1-2-{}.txt", verdict.word())), Some(verdict));
        }
        assert_eq!(Verdict::of("old/a1-2.txt"), None);
    }
}
