//! What a model is said to be able to do.

use bulkhead_edge::settings::Table;

use crate::provider::{Abilities, Adapter, ThinkingSwitch};

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
        let ends_at_finish_reason = table.choice_or(
            "stream_end",
            ("done", false),
            [("finish_reason", true)],
            "OpenAI-compatible only: what says that a stream is over, `[DONE]`, or a finish reason before a connection that \
             ends well, for servers that send no `[DONE]`. The last word: without it a cut may look like an end, and \
             the counts, which come between the two, may be lost.",
        );
        belongs_to(table, adapter, "stream_end", "openai-compatible");
        let thinking = table.choice_or(
            "thinking",
            ("none", ThinkingSwitch::None),
            [("on-off", ThinkingSwitch::OnOff), ("level", ThinkingSwitch::Level)],
            "Ollama only: how the model is told to think, where a request lets it: not, by a switch, or in a word that follows \
             thinking_tokens_max (low, medium, high). Not, and such a request is not sent to it: a model that cannot think \
             refuses to be told.",
        );
        belongs_to(table, adapter, "thinking", "ollama");
        Self {
            structured_outputs,
            ends_at_finish_reason: ends_at_finish_reason.unwrap_or_default(),
            thinking: thinking.unwrap_or_default(),
        }
    }
}

/// A key that says nothing to the provider is a mistake, and not passed over.
fn belongs_to(table: &mut Table<'_>, adapter: Option<&'static Adapter>, key: &'static str, provider: &str) {
    if table.has(key) && adapter.is_some_and(|adapter| adapter.name != provider) {
        table.mistake(key, format!("belongs to models with provider = \"{provider}\""));
    }
}
