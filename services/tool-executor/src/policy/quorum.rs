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

/// People whose agreement is not there.
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

/// Whether enough distinct people of each role agreed. The requester and its owner do not count, whatever
/// the approval service says.
pub(super) fn check(needed: &[Approver], votes: &[Voted], requester: &Principal) -> Result<(), Missing> {
    let missing: Vec<Approver> =
        needed.iter().filter(|needed| !agreed(needed, votes, requester)).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(Missing(missing)) }
}

fn agreed(needed: &Approver, votes: &[Voted], requester: &Principal) -> bool {
    let people: BTreeSet<&str> = votes
        .iter()
        .filter(|vote| vote.roles.contains(&needed.role) && !is_self_approval(vote, requester))
        .map(|vote| vote.name.as_str())
        .collect();
    u32::try_from(people.len()).unwrap_or(u32::MAX) >= needed.count
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
