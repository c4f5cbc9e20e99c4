//! In which order the models of one tier are asked. Pure: the dice are an argument.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// How the models of a tier share its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// By chance, as often as their weights say.
    Weighted,
    /// Of two that chance picks, the one with fewer requests under way for its weight (Mitzenmacher, "The Power of Two
    /// Choices in Randomized Load Balancing").
    LeastInFlight,
    /// Each session has its model while that can be asked (Thaler and Ravishankar, "Using Name-Based Mappings to Increase
    /// Hit Rates"), so that a provider's cache is of use; without a session by weight.
    Sticky,
}

/// What the order depends on beside the models.
#[derive(Debug, Clone, Copy)]
pub struct Draw<'s> {
    /// The dice.
    pub seed: u64,
    /// The session that a request belongs to; empty: none.
    pub session: &'s str,
}

impl Draw<'_> {
    /// New dice.
    #[must_use]
    pub fn new(session: &str) -> Draw<'_> {
        Draw { seed: rand::random(), session }
    }
}

/// A model of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'m> {
    /// Name in the configuration.
    pub name: &'m str,
    /// Its share; at least 1.
    pub weight: u32,
    /// Requests that are under way.
    pub in_flight: u32,
}

/// The places of the members, first choice first.
#[must_use]
pub fn order(members: &[Member<'_>], balance: Balance, draw: Draw<'_>) -> Vec<usize> {
    // Most tiers are one model, and dice are dear.
    if members.len() < 2 {
        return (0..members.len()).collect();
    }
    let mut dice = StdRng::seed_from_u64(draw.seed);
    let mut places = by_weight(members, |_| dice.random());
    match balance {
        Balance::Weighted => places,
        Balance::Sticky if draw.session.is_empty() => places,
        Balance::Sticky => by_weight(members, |member| affinity(draw.session, member.name)),
        Balance::LeastInFlight => {
            if let [first, second, ..] = places.as_mut_slice()
                && is_busier(members, *first, *second)
            {
                std::mem::swap(first, second);
            }
            places
        }
    }
}

/// A permutation in which each place goes to a member with the odds of its weight, given uniform numbers in (0, 1)
/// (Efraimidis and Spirakis, "Weighted random sampling with a reservoir").
fn by_weight(members: &[Member<'_>], mut uniform: impl FnMut(&Member<'_>) -> f64) -> Vec<usize> {
    let keys: Vec<f64> = members
        .iter()
        .map(|member| uniform(member).max(f64::MIN_POSITIVE).ln() / f64::from(member.weight.max(1)))
        .collect();
    let mut places: Vec<usize> = (0..members.len()).collect();
    let key = |place: &usize| keys.get(*place).copied().unwrap_or(f64::NEG_INFINITY);
    places.sort_by(|left, right| key(right).total_cmp(&key(left)));
    places
}

fn is_busier(members: &[Member<'_>], left: usize, right: usize) -> bool {
    let load = |place: usize, other: usize| {
        let load = members.get(place).map_or(0, |member| u64::from(member.in_flight) + 1);
        // Compared over the other's weight, so that nothing is divided.
        load * members.get(other).map_or(1, |member| u64::from(member.weight.max(1)))
    };
    load(left, right) > load(right, left)
}

/// The same number in (0, 1) for the same session and model, in every process.
fn affinity(session: &str, model: &str) -> f64 {
    let mut hash = Sha256::new();
    hash.update(session.as_bytes());
    hash.update([0]);
    hash.update(model.as_bytes());
    let mut seed = [0; 32];
    seed.copy_from_slice(&hash.finalize());
    StdRng::from_seed(seed).random()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u32]) -> Vec<Member<'static>> {
        const NAMES: [&str; 4] = ["a", "b", "c", "d"];
        let of = |(name, weight): (&&'static str, &u32)| Member { name, weight: *weight, in_flight: 0 };
        NAMES.iter().zip(weights).map(of).collect()
    }

    fn firsts(members: &[Member<'_>], balance: Balance) -> Vec<u32> {
        let mut firsts = vec![0; members.len()];
        for seed in 0..8_000 {
            firsts[order(members, balance, Draw { seed, session: "" })[0]] += 1;
        }
        firsts
    }

    #[test]
    fn weights_are_odds() {
        let firsts = firsts(&members(&[1, 3, 4]), Balance::Weighted);
        for (count, expected) in firsts.into_iter().zip([1_000_u32, 3_000, 4_000]) {
            assert!(count.abs_diff(expected) < 250, "{count} of {expected}");
        }
    }

    #[test]
    fn nobody_is_left_out_and_nobody_comes_twice() {
        for balance in [Balance::Weighted, Balance::LeastInFlight, Balance::Sticky] {
            for seed in 0..50 {
                let mut places = order(&members(&[1, 9, 5, 2]), balance, Draw { seed, session: "s" });
                places.sort_unstable();
                assert_eq!(places, [0, 1, 2, 3], "{balance:?}");
            }
        }
        assert_eq!(order(&[], Balance::Weighted, Draw { seed: 1, session: "" }), [0; 0]);
    }

    #[test]
    fn the_busier_of_two_is_passed_over() {
        let mut pair = members(&[1, 1]);
        pair[0].in_flight = 3;
        assert_eq!(firsts(&pair, Balance::LeastInFlight), [0, 8_000]);
        pair[0].weight = 8;
        assert_eq!(
            firsts(&pair, Balance::LeastInFlight),
            [8_000, 0],
            "four of eight is less than one of one"
        );
    }

    #[test]
    fn a_session_keeps_its_model_also_when_another_one_goes() {
        let all = members(&[1, 1, 1]);
        let mut moved = 0;
        let mut seen = [0; 3];
        for session in (0..300).map(|number| format!("session-{number}")) {
            let draw = |seed| Draw { seed, session: &session };
            let first = order(&all, Balance::Sticky, draw(1))[0];
            assert_eq!(order(&all, Balance::Sticky, draw(2))[0], first, "whatever the dice");
            seen[first] += 1;
            moved += u32::from(first != 2 && order(&all[..2], Balance::Sticky, draw(3))[0] != first);
        }
        assert_eq!(moved, 0, "only the sessions of the one that went move");
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
    }
}
