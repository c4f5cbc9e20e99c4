//! One module a kind of page.

pub(crate) mod errors;

/// What stands under each heading that nobody should edit by hand.
const WRITTEN: &str = "*Written from the contract by `cargo run -p bulkhead-contract-pages`; do not edit.*\n";
