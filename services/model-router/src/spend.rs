//! What one request may take in all, across retries, other models and repairs. Pure.

/// The most attempts that can be asked for: more than any route makes.
pub const ATTEMPTS_MAX: u32 = 100;

/// What a request may take. What is none does not bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Attempts in all.
    pub attempts_max: Option<u32>,
    /// Cost in all, in millionths of a US dollar.
    pub cost_usd_micros_max: Option<u64>,
}

impl Caps {
    /// The closer of these and another's: a request may ask for less than its route allows, and not for more.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self {
            attempts_max: closer(self.attempts_max, other.attempts_max),
            cost_usd_micros_max: closer(self.cost_usd_micros_max, other.cost_usd_micros_max),
        }
    }
}

fn closer<N: Ord>(one: Option<N>, other: Option<N>) -> Option<N> {
    one.into_iter().chain(other).min()
}

/// Why a request may take no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cap {
    /// As many attempts as it may have were made.
    Attempts,
    /// The next attempt may cost more than is left.
    Cost {
        /// What is allowed in all.
        max_usd_micros: u64,
        /// What was spent, by usage and, where that is not known, by estimate.
        spent_usd_micros: u64,
        /// What the next attempt may cost.
        next_usd_micros: u64,
    },
    /// The cost is bounded, and nobody knows what the next attempt costs.
    Unpriced,
}

/// What a request took so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    caps: Caps,
    attempts: u32,
    cost_usd_micros: u64,
}

impl Spend {
    /// Nothing yet.
    #[must_use]
    pub fn new(caps: Caps) -> Self {
        Self { caps, ..Self::default() }
    }

    /// Whether another attempt may be made, which may cost so much; none: nobody knows.
    ///
    /// # Errors
    /// The cap that stands against it.
    pub fn may(&self, next_usd_micros: Option<u64>) -> Result<(), Cap> {
        if self.caps.attempts_max.is_some_and(|max| self.attempts >= max) {
            return Err(Cap::Attempts);
        }
        let Some(max_usd_micros) = self.caps.cost_usd_micros_max else { return Ok(()) };
        let next_usd_micros = next_usd_micros.ok_or(Cap::Unpriced)?;
        if self.cost_usd_micros.saturating_add(next_usd_micros) > max_usd_micros {
            let spent_usd_micros = self.cost_usd_micros;
            return Err(Cap::Cost { max_usd_micros, spent_usd_micros, next_usd_micros });
        }
        Ok(())
    }

    /// An attempt is made.
    pub fn attempt(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    /// It cost so much.
    pub fn cost(&mut self, usd_micros: u64) {
        self.cost_usd_micros = self.cost_usd_micros.saturating_add(usd_micros);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_closer_of_a_requests_and_its_routes_caps_holds() {
        let route = Caps { attempts_max: Some(5), cost_usd_micros_max: Some(1_000) };
        let own = Caps { attempts_max: Some(2), cost_usd_micros_max: None };
        assert_eq!(own.within(route), Caps { attempts_max: Some(2), cost_usd_micros_max: Some(1_000) });
        let greedy = Caps { attempts_max: Some(9), cost_usd_micros_max: Some(u64::MAX) };
        assert_eq!(greedy.within(route), route);
        assert_eq!(Caps::default().within(Caps::default()), Caps::default());
    }

    #[test]
    fn whichever_is_reached_first_ends_it() {
        let mut spend = Spend::new(Caps { attempts_max: Some(2), cost_usd_micros_max: Some(100) });
        assert_eq!(
            spend.may(Some(101)),
            Err(Cap::Cost { max_usd_micros: 100, spent_usd_micros: 0, next_usd_micros: 101 })
        );
        assert_eq!(spend.may(Some(100)), Ok(()));
        assert_eq!(spend.may(None), Err(Cap::Unpriced));
        spend.attempt();
        spend.cost(60);
        assert_eq!(spend.may(Some(40)), Ok(()));
        assert!(matches!(spend.may(Some(41)), Err(Cap::Cost { spent_usd_micros: 60, .. })));
        spend.attempt();
        assert_eq!(spend.may(Some(0)), Err(Cap::Attempts));
    }

    #[test]
    fn without_caps_nothing_ends_it() {
        let mut spend = Spend::default();
        assert_eq!(spend.may(None), Ok(()), "what is not bounded need not be known");
        (0..1_000).for_each(|_| spend.attempt());
        spend.cost(u64::MAX);
        assert_eq!(spend.may(Some(u64::MAX)), Ok(()));
    }

    proptest! {
        #[test]
        fn no_request_makes_more_attempts_or_is_estimated_to_cost_more(
            costs in prop::collection::vec(0_u64..50, 0..100),
            attempts_max in 1_u32..20,
            cost_max in 0_u64..500,
        ) {
            let caps = Caps { attempts_max: Some(attempts_max), cost_usd_micros_max: Some(cost_max) };
            let (mut spend, mut made, mut sum) = (Spend::new(caps), 0, 0);
            for cost in costs {
                if spend.may(Some(cost)).is_ok() {
                    spend.attempt();
                    spend.cost(cost);
                    (made, sum) = (made + 1, sum + cost);
                }
            }
            prop_assert!(made <= attempts_max && sum <= cost_max, "{made} {sum}");
        }
    }
}
