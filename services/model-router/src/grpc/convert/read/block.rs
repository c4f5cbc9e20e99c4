//! One block of a turn, checked.

use std::collections::HashSet;

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use serde_json::Value;

use super::{TOOL_NAME, is_tool_name};
use crate::chat::{Block, Object, Role, Thinking, ToolResult, ToolUse};
use crate::grpc::convert::media;

/// One block of one turn, with what its checks need.
pub(super) struct BlockReader<'a> {
    /// Of its turn.
    pub(super) at: usize,
    /// Within its turn.
    pub(super) place: usize,
    pub(super) role: Option<Role>,
    /// Ids of the tool calls so far.
    pub(super) calls: &'a mut HashSet<String>,
    pub(super) violations: &'a mut Violations,
}

impl BlockReader<'_> {
    pub(super) fn read(&mut self, content: pb::ContentBlock) -> Option<Block> {
        use pb::content_block::Block as Wire;
        match content.block {
            Some(Wire::Text(text)) => {
                self.require(!text.is_empty(), "text", "must not be empty");
                Some(Block::Text(text))
            }
            Some(Wire::ToolUse(call)) => self.tool_use(call),
            Some(Wire::ToolResult(result)) => self.tool_result(result),
            Some(Wire::Thinking(thinking)) => Some(Block::Thinking(self.thinking(thinking))),
            Some(Wire::Image(image)) => {
                self.require(self.role != Some(Role::Assistant), "image", "belongs into a user's turn");
                media::image(image, &self.field(), self.violations).map(Block::Media)
            }
            Some(Wire::Document(document)) => {
                self.require(self.role != Some(Role::Assistant), "document", "belongs into a user's turn");
                media::document(document, &self.field(), self.violations).map(Block::Media)
            }
            None => {
                let right = "must be text, tool_use, tool_result, image, document or thinking";
                self.violations.add(self.field(), right);
                None
            }
        }
    }

    fn thinking(&mut self, thinking: pb::Thinking) -> Thinking {
        self.require(self.role != Some(Role::User), "thinking", "belongs into an assistant's turn");
        let pb::Thinking { text, signature } = thinking;
        self.require(!text.is_empty() || !signature.is_empty(), "thinking", "must not be empty");
        Thinking { text, signature }
    }

    fn tool_use(&mut self, call: pb::ToolUse) -> Option<Block> {
        self.require(self.role != Some(Role::User), "tool_use", "belongs into an assistant's turn");
        let id_fits = (1..=128).contains(&call.tool_use_id.len());
        self.require(id_fits, "tool_use.tool_use_id", "must be 1 to 128 bytes");
        self.require(is_tool_name(&call.name), "tool_use.name", TOOL_NAME);
        let is_new = self.calls.insert(call.tool_use_id.clone());
        self.require(is_new, "tool_use.tool_use_id", "must be unique in the conversation");
        let input = object(&call.input_json);
        self.require(input.is_some(), "tool_use.input_json", "must be a JSON object");
        Some(Block::ToolUse(ToolUse { id: call.tool_use_id, name: call.name, input: input? }))
    }

    fn tool_result(&mut self, result: pb::ToolResultBlock) -> Option<Block> {
        self.require(self.role != Some(Role::Assistant), "tool_result", "belongs into a user's turn");
        let answers = self.calls.contains(&result.tool_use_id);
        self.require(answers, "tool_result.tool_use_id", "must be the id of a tool_use before it");
        let pb::ToolResultBlock { tool_use_id: id, content, is_error, parts } = result;
        let parts = media::parts(parts, &format!("{}.tool_result", self.field()), self.violations)?;
        Some(Block::ToolResult(ToolResult { id, content, is_error, parts }))
    }

    fn require(&mut self, holds: bool, part: &str, description: &str) {
        let Self { at, place, .. } = *self;
        let field = || format!("{}.{part}", field(at, place));
        self.violations.require_at(holds, field, description);
    }

    fn field(&self) -> String {
        field(self.at, self.place)
    }
}

/// The name of a block.
fn field(at: usize, place: usize) -> String {
    format!("messages[{at}].content[{place}]")
}

/// Leniently: the text was written by a model, and an answer that the router gave must be welcome in the next
/// request. Whoever acts on it reads it strictly.
fn object(text: &str) -> Option<Object> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Some(object),
        Ok(_) | Err(_) => None,
    }
}
