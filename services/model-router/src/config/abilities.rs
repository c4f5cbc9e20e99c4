//! What a model is said to be able to do.

use bulkhead_edge::settings::Table;

use crate::provider::{Abilities, Adapter};

impl Abilities {
    /// Reads the keys of a model's table.
    pub(super) fn read(table: &mut Table<'_>, adapter: Option<&'static Adapter>) -> Self {
        let structured_outputs = table.or(
            "structured_outputs",
            false,
            "Anthropic only: the model is given the schema of a response format by its provider's own structured outputs, \
             where it is one that they take; any other in words. Off: models before Claude Opus 4.5 and Sonnet 4.5 refuse them.",
        );
        belongs_to(table, adapter, "structured_outputs", "anthropic");
        Self { structured_outputs }
    }
}

/// A key that says nothing to the provider is a mistake, and not passed over.
fn belongs_to(table: &mut Table<'_>, adapter: Option<&'static Adapter>, key: &'static str, provider: &str) {
    if table.has(key) && adapter.is_some_and(|adapter| adapter.name != provider) {
        table.mistake(key, format!("belongs to models with provider = \"{provider}\""));
    }
}
