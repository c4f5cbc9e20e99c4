//! What tokens cost. Pure.
//!
//! Amounts are whole millionths of a US dollar, rounded up, so that what is counted is never less than what is
//! owed.

use crate::chat::Usage;

/// Tokens that a price is for.
const TOKENS_PRICED: u128 = 1_000_000;

/// The largest amount: the largest integer that every JSON reader keeps exact (RFC 8259, section 6), and so the
/// largest that an audit event may hold. Nine billion dollars.
pub const COST_USD_MICROS_MAX: u64 = (1 << 53) - 1;

/// The highest price that can be configured: a US dollar a token.
pub const PRICE_USD_MICROS_MAX: u64 = 1_000_000_000_000;

/// A model's prices, each for a million tokens, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of the prompt.
    pub input_usd_micros: u64,
    /// Of the answer.
    pub output_usd_micros: u64,
    /// Of the part of a prompt that came from the provider's cache; none: as the rest of the prompt.
    pub cache_read_usd_micros: Option<u64>,
    /// Of the part of a prompt that was written to the provider's cache; none: as the rest of the prompt.
    pub cache_creation_usd_micros: Option<u64>,
}

impl Price {
    /// What these tokens cost, at most [`COST_USD_MICROS_MAX`].
    #[must_use]
    pub fn cost_usd_micros(&self, usage: Usage) -> u64 {
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let (read, created) = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens);
        let uncached = usage.input_tokens.saturating_sub(read).saturating_sub(created);
        let parts = [
            part(uncached, self.input_usd_micros),
            part(read, self.cache_read_usd_micros.unwrap_or(self.input_usd_micros)),
            part(created, self.cache_creation_usd_micros.unwrap_or(self.input_usd_micros)),
            part(usage.output_tokens, self.output_usd_micros),
        ];
        let parts = parts.into_iter().fold(0, u128::saturating_add);
        let cost = u64::try_from(parts.div_ceil(TOKENS_PRICED)).unwrap_or(u64::MAX);
        cost.min(COST_USD_MICROS_MAX)
    }
}

/// What budgets were charged for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charge {
    /// In millionths of a US dollar.
    pub usd_micros: u64,
    /// The provider did not count all of it.
    pub is_estimate: bool,
}

impl Charge {
    /// All of them together, which is an estimate as soon as one is; none where nothing has a price.
    #[must_use]
    pub fn sum(charges: &[Option<Self>]) -> Option<Self> {
        let usd_micros = total(charges.iter().map(|charge| charge.map(|charge| charge.usd_micros)))?;
        let is_estimate = charges.iter().flatten().any(|charge| charge.is_estimate);
        Some(Self { usd_micros, is_estimate })
    }
}

/// The sum of what is known, at most [`COST_USD_MICROS_MAX`]; none where nothing is.
#[must_use]
pub fn total(costs: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    let sum = costs.into_iter().flatten().reduce(u64::saturating_add);
    sum.map(|sum| sum.min(COST_USD_MICROS_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(price: [u64; 2], tokens: [u64; 2]) -> u64 {
        let price = Price {
            input_usd_micros: price[0],
            output_usd_micros: price[1],
            cache_read_usd_micros: None,
            cache_creation_usd_micros: None,
        };
        let usage = Usage { input_tokens: tokens[0], output_tokens: tokens[1], ..Usage::default() };
        price.cost_usd_micros(usage)
    }

    #[test]
    fn a_million_tokens_cost_their_price_and_parts_round_up() {
        let sonnet = [3_000_000, 15_000_000];
        let cases = [
            (sonnet, [1_000_000, 0], 3_000_000),
            (sonnet, [0, 1_000_000], 15_000_000),
            (sonnet, [12, 5], 36 + 75),
            // Each token is less than a millionth, and all of them together as well.
            ([100, 400], [1, 1], 1),
            ([100, 400], [10_000, 0], 1),
            ([100, 400], [10_001, 0], 2),
            (sonnet, [0, 0], 0),
            ([0, 0], [1_000, 1_000], 0),
        ];
        for (price, tokens, expected) in cases {
            assert_eq!(cost(price, tokens), expected, "{price:?} {tokens:?}");
        }
    }

    #[test]
    fn cached_parts_of_a_prompt_have_prices_of_their_own() {
        let usage = Usage {
            input_tokens: 1_000,
            cache_read_input_tokens: 600,
            cache_creation_input_tokens: 300,
            ..Usage::default()
        };
        let plain = Price {
            input_usd_micros: 1_000_000,
            output_usd_micros: 0,
            cache_read_usd_micros: None,
            cache_creation_usd_micros: None,
        };
        let cases = [
            (None, None, 1_000),
            (Some(100_000), None, 100 + 60 + 300),
            (Some(100_000), Some(1_250_000), 100 + 60 + 375),
            (Some(0), Some(0), 100),
        ];
        for (cache_read_usd_micros, cache_creation_usd_micros, expected) in cases {
            let price = Price { cache_read_usd_micros, cache_creation_usd_micros, ..plain };
            assert_eq!(price.cost_usd_micros(usage), expected, "{price:?}");
        }
        let more_cached_than_there_is = Usage { input_tokens: 10, ..usage };
        assert_eq!(plain.cost_usd_micros(more_cached_than_there_is), 900);
    }

    #[test]
    fn nonsense_costs_the_most_that_can_be_written_down_and_never_wraps() {
        assert_eq!(cost([u64::MAX; 2], [u64::MAX; 2]), COST_USD_MICROS_MAX);
        assert_eq!(cost([PRICE_USD_MICROS_MAX; 2], [1 << 53; 2]), COST_USD_MICROS_MAX);
        assert_eq!(total([Some(COST_USD_MICROS_MAX), Some(u64::MAX)]), Some(COST_USD_MICROS_MAX));
    }

    #[test]
    fn a_sum_is_known_as_soon_as_a_part_of_it_is() {
        assert_eq!(total([None, None]), None);
        assert_eq!(total([]), None);
        assert_eq!(total([None, Some(3), Some(4)]), Some(7));
        assert_eq!(total([Some(0)]), Some(0), "free is not unknown");
    }

    #[test]
    fn a_sum_is_an_estimate_as_soon_as_a_part_of_it_is() {
        let charge = |usd_micros, is_estimate| Some(Charge { usd_micros, is_estimate });
        assert_eq!(Charge::sum(&[None, None]), None);
        assert_eq!(Charge::sum(&[charge(3, false), None, charge(4, false)]), charge(7, false));
        assert_eq!(Charge::sum(&[charge(3, false), charge(4, true)]), charge(7, true));
    }
}
