//! An answer as it grows, plain or streamed. The checks that every answer passes, whatever its format, are
//! here and nowhere else.

use std::collections::HashSet;

use serde_json::Value;

use super::json::Json;
use super::names::ToolNames;
use super::{ANSWER_BYTES_MAX, Malformed, Parameters};
use crate::chat::{
    Answer, Block, CallFault, Delta, Miscall, Object, Prompt, StopReason, Thinking, ToolUse, Usage, append,
};

/// Bytes of a tool call's id that the contract takes.
const ID_BYTES_MAX: usize = 128;

/// What an answer is held against.
#[derive(Debug)]
struct Offer {
    names: ToolNames,
    /// Ids of the calls that the conversation holds already.
    ids: HashSet<String>,
    attempt_id: String,
}

/// What a model calls a tool with.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Input {
    /// As it has to be.
    Object(Object),
    /// Anything else, as text.
    Other(String),
}

impl Input {
    /// Of formats that write it as JSON.
    pub(super) fn of(value: Option<&Json<'_>>) -> Self {
        match value.map(Json::to_value) {
            Some(Value::Object(object)) => Self::Object(object),
            Some(Value::String(text)) => Self::Other(text),
            Some(other) => Self::Other(other.to_string()),
            None => Self::Other(String::new()),
        }
    }

    /// Of text that has to hold the JSON.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).map_or_else(|_none| Self::Other(text.to_owned()), Self::Object)
    }
}

/// An answer as it grows.
///
/// Promises that a tool call in its blocks was offered, is whole, and has an id that is unique in the conversation, that any
/// other is told beside them, and that the pieces it gives out, put together, are its blocks.
#[derive(Debug)]
pub(super) struct Draft {
    offer: Offer,
    blocks: Vec<Block>,
    /// Pieces that nobody took yet.
    deltas: Vec<Delta>,
    bytes: usize,
    calls: usize,
    miscalls: Vec<Miscall>,
}

impl Draft {
    pub(super) fn new(prompt: &Prompt, parameters: &Parameters<'_>) -> Self {
        let calls = prompt.turns.iter().flat_map(|turn| &turn.blocks).filter_map(|block| match block {
            Block::ToolUse(call) => Some(call.id.clone()),
            Block::Text(_) | Block::ToolResult(_) | Block::Thinking(_) | Block::Media(_) => None,
        });
        let offer = Offer {
            names: ToolNames::of(prompt),
            ids: calls.collect(),
            attempt_id: parameters.attempt_id.to_owned(),
        };
        Self { offer, blocks: Vec::new(), deltas: Vec::new(), bytes: 0, calls: 0, miscalls: Vec::new() }
    }

    /// The next piece of text; empty ones are passed over.
    pub(super) fn text(&mut self, piece: &str) -> Result<(), Malformed> {
        if piece.is_empty() { Ok(()) } else { self.add(Delta::Text(piece.to_owned()), piece.len()) }
    }

    /// The next piece of thinking, or its signature; empty ones are passed over.
    pub(super) fn thinking(&mut self, text: &str, signature: &str) -> Result<(), Malformed> {
        let bytes = text.len() + signature.len();
        if bytes == 0 {
            return Ok(());
        }
        let thinking = Thinking { text: text.to_owned(), signature: signature.to_owned() };
        self.add(Delta::Thinking(thinking), bytes)
    }

    /// A whole call. An id that the conversation cannot use, because it is missing, too long or taken by an earlier
    /// turn, is replaced by one of ours: the provider reads back whatever we send.
    pub(super) fn call(&mut self, id: Option<&str>, name: &str, input: Input) -> Result<(), Malformed> {
        let offered = self.offer.names.offered(name).map(str::to_owned);
        let (name, input) = match (offered, input) {
            (None, Input::Object(input)) => {
                return self.miscall(name, written(&input)?, CallFault::NotOffered);
            }
            (None, Input::Other(text)) => return self.miscall(name, text, CallFault::NotOffered),
            (Some(name), Input::Other(text)) => return self.miscall(&name, text, CallFault::NoObject),
            (Some(name), Input::Object(input)) => (name, input),
        };
        let written = written(&input)?;
        let usable = |id: &&str| (1..=ID_BYTES_MAX).contains(&id.len()) && !self.offer.ids.contains(*id);
        let id = id
            .filter(usable)
            .map_or_else(|| format!("call_{}_{}", self.offer.attempt_id, self.calls), str::to_owned);
        let taken = self.blocks.iter().any(|block| matches!(block, Block::ToolUse(call) if call.id == id));
        if taken {
            return self.miscall(&name, written, CallFault::SameId);
        }
        self.calls += 1;
        self.add(Delta::ToolUse(ToolUse { id, name, input }), written.len())
    }

    /// The pieces since the last time.
    pub(super) fn take(&mut self) -> Vec<Delta> {
        std::mem::take(&mut self.deltas)
    }

    /// Whether the model called a tool, rightly or not.
    pub(super) fn has_calls(&self) -> bool {
        self.calls > 0 || !self.miscalls.is_empty()
    }

    /// The answer, once the provider said that it is whole.
    pub(super) fn finish(
        self,
        stop_reason: StopReason,
        usage: Usage,
        provider_model: &str,
    ) -> Result<Answer, Malformed> {
        if stop_reason == StopReason::ToolUse && !self.has_calls() {
            return Err(Malformed::new("the model stopped for tools and called none"));
        }
        let provider_model = provider_model.to_owned();
        Ok(Answer { blocks: self.blocks, miscalls: self.miscalls, stop_reason, usage, provider_model })
    }

    /// No piece, so that nobody runs it.
    fn miscall(&mut self, name: &str, arguments: String, fault: CallFault) -> Result<(), Malformed> {
        self.weigh(name.len() + arguments.len())?;
        self.miscalls.push(Miscall { name: name.to_owned(), arguments, fault });
        Ok(())
    }

    fn add(&mut self, delta: Delta, bytes: usize) -> Result<(), Malformed> {
        self.weigh(bytes)?;
        self.deltas.push(delta.clone());
        append(&mut self.blocks, delta);
        Ok(())
    }

    fn weigh(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.bytes += bytes;
        if self.bytes > ANSWER_BYTES_MAX {
            return Err(Malformed::new(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes")));
        }
        Ok(())
    }
}

fn written(input: &Object) -> Result<String, Malformed> {
    serde_json::to_string(input).map_err(|_never| Malformed::new("an input is no JSON"))
}
