//! Who has to agree, and whether they did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bulkhead_edge::{Principal, PrincipalKind};
use serde::{Deserialize, Serialize};

/// So many distinct people of a role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approver {
    /// The role.
    pub role: String,
    /// How many, 1 to 16.
    pub count: u32,
}

/// A person who agreed, from a verified grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voted {
    /// Name within the tenant.
    pub name: String,
    /// The roles held when voting.
    pub roles: Vec<String>,
}

/// How many more people of each role have to agree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", List(.0))]
pub struct Missing(pub Vec<Approver>);

/// Every role once, with the highest count that anything asks for.
pub(super) fn union(approvers: impl IntoIterator<Item = Approver>) -> Vec<Approver> {
    let mut counts = BTreeMap::new();
    for approver in approvers {
        let count = counts.entry(approver.role).or_insert(0);
        *count = approver.count.max(*count);
    }
    counts.into_iter().map(|(role, count)| Approver { role, count }).collect()
}

/// Whether enough people agreed when each of them counts for one role only, as the approval service counts
/// them: two required people are two people, even if one of them holds both roles. The requester and its
/// owner do not count, whatever the approval service says.
pub(super) fn check(needed: &[Approver], votes: &[Voted], requester: &Principal) -> Result<(), Missing> {
    let people = people(votes, requester);
    let mut places = vec![None; people.len()];
    let missing = needed.iter().filter_map(|needed| {
        let wanted = 0..needed.count;
        let filled =
            wanted.filter(|_| fill(&needed.role, &people, &mut places, &mut BTreeSet::new())).count();
        let count = needed.count.saturating_sub(u32::try_from(filled).unwrap_or(u32::MAX));
        (count > 0).then(|| Approver { role: needed.role.clone(), count })
    });
    let missing: Vec<Approver> = missing.collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

/// The roles of each person who counts.
fn people<'a>(votes: &'a [Voted], requester: &Principal) -> Vec<BTreeSet<&'a str>> {
    let mut people: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for vote in votes.iter().filter(|vote| !is_self_approval(vote, requester)) {
        people.entry(&vote.name).or_default().extend(vote.roles.iter().map(String::as_str));
    }
    people.into_values().collect()
}

/// Gives one more place of a role to somebody, moving others to their other roles where that helps (the
/// augmenting path of Kuhn's matching). `asked` are those who were tried already.
fn fill<'a>(
    role: &'a str,
    people: &[BTreeSet<&str>],
    places: &mut [Option<&'a str>],
    asked: &mut BTreeSet<usize>,
) -> bool {
    (0..people.len()).any(|person| {
        let able = people.get(person).is_some_and(|roles| roles.contains(role));
        if !able || !asked.insert(person) {
            return false;
        }
        let free = match places.get(person).copied().flatten() {
            None => true,
            Some(other) => fill(other, people, places, asked),
        };
        if let Some(place) = places.get_mut(person).filter(|_| free) {
            *place = Some(role);
        }
        free
    })
}

fn is_self_approval(vote: &Voted, requester: &Principal) -> bool {
    let voter = Principal {
        tenant: requester.tenant.clone(),
        kind: PrincipalKind::Person,
        name: vote.name.clone(),
        owner: None,
    };
    requester.is_or_belongs_to(&voter)
}

struct List<'a>(&'a [Approver]);

impl fmt::Display for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Approver { role, count }) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(formatter, "{comma}{count} × {role}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needed(role: &str, count: u32) -> Approver {
        Approver { role: role.into(), count }
    }

    fn vote(name: &str, roles: &[&str]) -> Voted {
        Voted { name: name.into(), roles: roles.iter().map(|role| (*role).to_owned()).collect() }
    }

    fn agent() -> Principal {
        Principal {
            tenant: "t".into(),
            kind: PrincipalKind::Agent,
            name: "scribe".into(),
            owner: Some("ada".into()),
        }
    }

    #[test]
    fn the_strictest_count_of_each_role_wins() {
        let all = [needed("dba", 1), needed("approver", 1), needed("dba", 2), needed("dba", 1)];
        assert_eq!(union(all), [needed("approver", 1), needed("dba", 2)]);
    }

    #[test]
    fn each_person_fills_one_place() {
        let both = [needed("dba", 1), needed("payments", 1)];
        let (dba, two) = (&["dba"][..], &["dba", "payments"][..]);
        let cases: [(&[Voted], bool); 6] = [
            (&[vote("bob", two)], false),
            (&[vote("bob", dba), vote("eve", dba)], false),
            (&[vote("bob", two), vote("eve", dba)], true),
            (&[vote("bob", dba), vote("eve", two)], true),
            (&[vote("bob", dba), vote("bob", &["payments"])], false),
            (&[vote("ada", two), vote("bob", dba)], false),
        ];
        for (votes, enough) in cases {
            assert_eq!(check(&both, votes, &agent()).is_ok(), enough, "{votes:?}");
        }
        let told = check(&both, &[vote("bob", two)], &agent()).expect_err("one person");
        assert_eq!(told.0.iter().map(|missing| missing.count).sum::<u32>(), 1);
    }

    #[test]
    fn quorums() {
        let bob = vote("bob", &["approver"]);
        let eve = vote("eve", &["approver", "dba"]);
        let owner = vote("ada", &["approver"]);
        let cases: [(&[Approver], &[Voted], bool); 7] = [
            (&[needed("approver", 1)], std::slice::from_ref(&bob), true),
            (&[needed("approver", 1)], &[], false),
            (&[needed("approver", 2)], &[bob.clone(), bob.clone()], false),
            (&[needed("approver", 2)], &[bob.clone(), eve.clone()], true),
            (&[needed("approver", 1), needed("dba", 1)], std::slice::from_ref(&bob), false),
            (&[needed("approver", 1), needed("dba", 1)], &[bob.clone(), eve], true),
            (&[needed("approver", 1)], &[owner], false),
        ];
        for (needed, votes, enough) in cases {
            assert_eq!(check(needed, votes, &agent()).is_ok(), enough, "{needed:?} {votes:?}");
        }
    }
}
