//! What a `[[model-router.model]]` says of its size and its prices.

use bulkhead_edge::settings::Table;

use crate::price::{PRICE_USD_MICROS_MAX, Price};

/// Sizes and prices of a model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Prompt and answer together; none: not known.
    pub context_window_tokens: Option<u64>,
    /// The longest answer; none: not known.
    pub output_tokens_max: Option<u64>,
    /// None: what it costs is not known.
    pub price: Option<Price>,
}

impl Terms {
    /// Reads the keys of a model's table.
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            context_window_tokens: table.optional_number(
                "context_window_tokens",
                1..=1_000_000_000,
                "Prompt and answer together. With it, a request that surely does not fit is not sent; none: its provider says so.",
            ),
            output_tokens_max: table.optional_number(
                "output_tokens_max",
                1..=1_000_000,
                "The longest answer of the model, for those who ask ListModels.",
            ),
            price: price(table),
        }
    }
}

fn price(table: &mut Table<'_>) -> Option<Price> {
    let mut read = |key, meaning| table.optional_number(key, 0..=PRICE_USD_MICROS_MAX, meaning);
    let input = read(
        "input_price_usd_micros",
        "Price of a million tokens of prompt, in millionths of a US dollar: 3000000 is three dollars. 0: free.",
    );
    let output = read(
        "output_price_usd_micros",
        "Price of a million tokens of answer, in millionths of a US dollar. Goes with the one of the prompt.",
    );
    let cache_read_usd_micros = read(
        "cache_read_price_usd_micros",
        "Price of a million tokens of prompt that came from the provider's cache; none: that of the prompt.",
    );
    let cache_creation_usd_micros = read(
        "cache_creation_price_usd_micros",
        "Price of a million tokens of prompt that were written to the provider's cache; none: that of the prompt.",
    );
    for (key, other) in [
        ("input_price_usd_micros", "output_price_usd_micros"),
        ("output_price_usd_micros", "input_price_usd_micros"),
        ("cache_read_price_usd_micros", "input_price_usd_micros"),
        ("cache_creation_price_usd_micros", "input_price_usd_micros"),
    ] {
        if table.has(key) && !table.has(other) {
            table.mistake(key, format!("needs {other} beside it; a free one is 0"));
        }
    }
    Some(Price {
        input_usd_micros: input?,
        output_usd_micros: output?,
        cache_read_usd_micros,
        cache_creation_usd_micros,
    })
}
