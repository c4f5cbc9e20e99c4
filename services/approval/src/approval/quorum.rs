//! How many people of which role have to agree, and whether they have.

use serde::{Deserialize, Serialize};

/// Entries in a list of requirements at most. Bounds the subsets that [`Requirements::met_by`] walks.
pub(crate) const REQUIREMENTS_MAX: usize = 8;
/// People that one entry may ask for.
pub(crate) const COUNT_MAX: u32 = 16;

/// So many distinct people of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requirement {
    /// The role.
    pub(crate) role: String,
    /// How many.
    pub(crate) count: u32,
}

/// All that has to hold, sorted by role, so that equal lists are equal however they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Requirements(Vec<Requirement>);

impl Requirements {
    /// Brings the list into its order.
    pub(crate) fn new(mut list: Vec<Requirement>) -> Self {
        list.sort_by(|a, b| a.role.cmp(&b.role));
        Self(list)
    }

    /// Each entry, sorted by role.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }

    /// The roles that may vote.
    pub(crate) fn roles(&self) -> Vec<String> {
        self.0.iter().map(|requirement| requirement.role.clone()).collect()
    }

    /// Whether somebody with these roles may vote at all.
    pub(crate) fn admit(&self, roles: &[String]) -> bool {
        self.0.iter().any(|requirement| roles.contains(&requirement.role))
    }

    /// Whether these people, given by their roles, are enough when each of them fills one place only: two
    /// required people are two people, even if one of them holds both roles.
    ///
    /// Such an assignment exists exactly when no set of places is larger than the set of people who could
    /// fill one of them (Hall's marriage theorem, 1935).
    pub(crate) fn met_by(&self, people: &[&[String]]) -> bool {
        let subsets = 1_u32..1 << self.0.len().min(REQUIREMENTS_MAX);
        !self.0.is_empty() && subsets.into_iter().all(|subset| self.subset_met(subset, people))
    }

    fn subset_met(&self, subset: u32, people: &[&[String]]) -> bool {
        let chosen = || self.0.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1).map(|(_, one)| one);
        let places: usize = chosen().map(|one| usize::try_from(one.count).unwrap_or(usize::MAX)).sum();
        let able = people.iter().filter(|roles| chosen().any(|one| roles.contains(&one.role))).count();
        able >= places
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requirements(list: &[(&str, u32)]) -> Requirements {
        let entry = |(role, count): &(&str, u32)| Requirement { role: (*role).to_owned(), count: *count };
        Requirements::new(list.iter().map(entry).collect())
    }

    fn met(list: &[(&str, u32)], people: &[&[&str]]) -> bool {
        let people: Vec<Vec<String>> =
            people.iter().map(|roles| roles.iter().map(|role| (*role).to_owned()).collect()).collect();
        let people: Vec<&[String]> = people.iter().map(Vec::as_slice).collect();
        requirements(list).met_by(&people)
    }

    /// Requirements, the roles of each person, and whether the people are enough.
    type Case<'a> = (&'a [(&'a str, u32)], &'a [&'a [&'a str]], bool);

    #[test]
    fn each_person_fills_one_place() {
        let dba_and_payments = &[("dba", 1), ("payments", 1)][..];
        let cases: [Case<'_>; 9] = [
            (&[("approver", 1)], &[], false),
            (&[("approver", 1)], &[&["approver"]], true),
            (&[("approver", 1)], &[&["dba"]], false),
            (&[("approver", 2)], &[&["approver"]], false),
            (&[("approver", 2)], &[&["approver"], &["approver", "dba"]], true),
            (dba_and_payments, &[&["dba", "payments"]], false),
            (dba_and_payments, &[&["dba"], &["dba"]], false),
            (dba_and_payments, &[&["dba", "payments"], &["dba"]], true),
            (dba_and_payments, &[&["dba"], &["dba", "payments"]], true),
        ];
        for (list, people, expected) in cases {
            assert_eq!(met(list, people), expected, "{list:?} by {people:?}");
        }
    }

    #[test]
    fn nobody_required_is_never_met() {
        assert!(!met(&[], &[&["approver"]]));
    }

    #[test]
    fn the_order_in_which_requirements_are_sent_does_not_matter() {
        assert_eq!(requirements(&[("b", 1), ("a", 2)]), requirements(&[("a", 2), ("b", 1)]));
    }

    /// Tries every assignment of people to places, one after the other.
    fn assignable(places: &[String], people: &[Vec<String>]) -> bool {
        let Some((place, rest)) = places.split_first() else { return true };
        people.iter().enumerate().any(|(at, roles)| {
            let mut others = people.to_vec();
            others.remove(at);
            roles.contains(place) && assignable(rest, &others)
        })
    }

    proptest! {
        #[test]
        fn agrees_with_trying_every_assignment(
            counts in proptest::collection::vec(1_u32..3, 1..4),
            people in proptest::collection::vec(proptest::collection::vec(0_usize..4, 0..4), 0..6),
        ) {
            let name = |at: usize| format!("role-{at}");
            let list = counts.iter().enumerate().map(|(at, count)| Requirement { role: name(at), count: *count });
            let list = Requirements::new(list.collect());
            let places: Vec<String> =
                list.iter().flat_map(|one| (0..one.count).map(|_| one.role.clone())).collect();
            let people: Vec<Vec<String>> =
                people.into_iter().map(|roles| roles.into_iter().map(name).collect()).collect();
            let slices: Vec<&[String]> = people.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(list.met_by(&slices), assignable(&places, &people));
        }
    }
}
