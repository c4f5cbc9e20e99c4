//! What a configured model can do that not every model of its provider can.

/// By default nothing: a provider refuses a request with a field that its model does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Its provider holds it to a schema (Anthropic).
    pub structured_outputs: bool,
    /// Its server ends streams without a last word, once it gave a reason to stop (OpenAI-compatible).
    pub ends_at_finish_reason: bool,
    /// How it is told to think (Ollama).
    pub thinking: ThinkingSwitch,
}

/// How a model without a measure of its thinking is told to think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ThinkingSwitch {
    /// It is not: it cannot, or nobody said that it can.
    #[default]
    None,
    /// It does or does not.
    OnOff,
    /// A little, more, or much.
    Level,
}
