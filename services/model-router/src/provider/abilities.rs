//! What a configured model can do that not every model of its provider can.

/// By default nothing: a provider refuses a request with a field that its model does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Its provider holds it to a schema (Anthropic).
    pub structured_outputs: bool,
    /// Its server ends streams without a last word, once it gave a reason to stop (OpenAI-compatible).
    pub ends_at_finish_reason: bool,
}
