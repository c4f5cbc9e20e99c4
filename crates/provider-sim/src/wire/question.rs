//! What the simulator understands of a request, whoever it was meant for.

use serde_json::Value;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    pub(crate) model: String,
    /// The last text that the user said, or a tool answered.
    pub(crate) last_text: String,
    pub(crate) turns: usize,
    /// Characters of the whole prompt.
    pub(crate) prompt_chars: usize,
    pub(crate) tools: Vec<Offered>,
    pub(crate) choice: Choice,
    pub(crate) shape: Shape,
    /// Texts before which the answer ends.
    pub(crate) stop: Vec<String>,
    /// Whether the model is to show how it thinks.
    pub(crate) thinks: bool,
    pub(crate) delivery: Delivery,
}

/// A tool that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Offered {
    pub(crate) name: String,
    /// JSON Schema of its arguments.
    pub(crate) schema: Value,
}

/// What the model is told about tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// It may call some.
    #[default]
    Free,
    /// It may call none.
    Barred,
    /// It has to call one.
    Forced,
    /// It has to call this one.
    Named(String),
}

/// What the text of the answer has to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Shape {
    #[default]
    Text,
    /// A JSON object.
    Object,
    /// JSON that this schema allows.
    Schema(Value),
}

/// How the answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// In one piece.
    Plain,
    /// As it comes, with or without an account of the tokens at its end.
    Stream { has_usage: bool },
}

/// A request that the provider would refuse, with the status it would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl Question {
    /// The tool that has to be called, if any.
    pub(super) fn forced(&self) -> Option<&Offered> {
        match &self.choice {
            Choice::Free | Choice::Barred => None,
            Choice::Forced => self.tools.first(),
            Choice::Named(name) => self.tools.iter().find(|tool| tool.name == *name),
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;
    use serde_json::json;

    /// A model `m` that heard `hello` and may call `fs_read` and `web.get`.
    pub(crate) fn question() -> Question {
        let offered = |name: &str| Offered { name: name.into(), schema: json!({ "type": "object" }) };
        Question {
            model: "m".into(),
            last_text: "hello".into(),
            turns: 1,
            prompt_chars: 40,
            tools: vec![offered("fs_read"), offered("web.get")],
            choice: Choice::Free,
            shape: Shape::Text,
            stop: vec![],
            thinks: false,
            delivery: Delivery::Stream { has_usage: true },
        }
    }
}
