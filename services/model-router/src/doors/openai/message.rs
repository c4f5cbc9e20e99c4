//! The conversation of a request. System messages and tool messages are turns of their own in the API and none in
//! the contract, so each turn keeps the place of the message it was made of.

use bulkhead_edge::Violations;
use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use serde_json::Value;

use crate::doors::fields::Fields;
use crate::doors::media::{self, block};

/// A conversation in the contract's terms.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) system: Vec<String>,
    pub(super) turns: Vec<pb::Message>,
    /// Of each turn, the place of its first message.
    pub(super) origins: Vec<usize>,
    /// The last turn is of tool results, and takes more of them.
    takes_results: bool,
}

impl Conversation {
    pub(super) fn read(messages: Vec<Value>, violations: &mut Violations) -> Self {
        let mut conversation = Self::default();
        for (at, message) in messages.into_iter().enumerate() {
            if let Some(fields) = Fields::of(format!("messages[{at}]"), message, violations) {
                conversation.add(at, fields);
            }
        }
        conversation
    }

    fn add(&mut self, at: usize, mut message: Fields<'_>) {
        match message.kind("role").as_str() {
            "system" | "developer" if self.turns.is_empty() => {
                self.system.extend(words(&mut message));
            }
            "system" | "developer" => {
                message.wrong(
                    "role",
                    "must come before the conversation: the instructions of a request are one",
                );
                message.ignore(&["content"]);
            }
            "user" => self.push(at, pb::Role::User, user(&mut message)),
            "assistant" => self.push(at, pb::Role::Assistant, assistant(&mut message)),
            "tool" => self.result(at, &mut message),
            _ => message.wrong("role", "must be system, developer, user, assistant or tool"),
        }
        message.finish();
    }

    fn push(&mut self, at: usize, role: pb::Role, content: Vec<pb::ContentBlock>) {
        self.turns.push(pb::Message { role: role.into(), content });
        self.origins.push(at);
        self.takes_results = false;
    }

    /// The results of one turn's calls belong together.
    fn result(&mut self, at: usize, message: &mut Fields<'_>) {
        message.require("tool_call_id");
        let result = pb::ToolResultBlock {
            tool_use_id: message.text("tool_call_id").unwrap_or_default(),
            content: words(message).join("\n"),
            ..pb::ToolResultBlock::default()
        };
        let result = block(Block::ToolResult(result));
        match self.turns.last_mut().filter(|_| self.takes_results) {
            Some(turn) => turn.content.push(result),
            None => {
                self.push(at, pb::Role::User, vec![result]);
                self.takes_results = true;
            }
        }
    }
}

/// Content that is text alone.
fn words(message: &mut Fields<'_>) -> Vec<String> {
    message.require("content");
    message.parts("content", Some, |part, kind| match kind {
        "text" => Some(part.text("text").unwrap_or_default()),
        _ => {
            part.wrong("type", "must be text");
            None
        }
    })
}

fn user(message: &mut Fields<'_>) -> Vec<pb::ContentBlock> {
    message.require("content");
    message.parts("content", said, |part, kind| match kind {
        "text" => Some(block(Block::Text(part.text("text").unwrap_or_default()))),
        "image_url" => image(part),
        "file" => file(part),
        _ => {
            part.wrong("type", "must be text, image_url or file");
            None
        }
    })
}

/// An empty text is none.
fn said(text: String) -> Option<pb::ContentBlock> {
    (!text.is_empty()).then(|| block(Block::Text(text)))
}

fn image(part: &mut Fields<'_>) -> Option<pb::ContentBlock> {
    part.require("image_url");
    let mut image = part.inner("image_url")?;
    image.neutral("detail", &["auto".into()]);
    let read = image.text("url").as_deref().and_then(media::data_url).map(media::image);
    if read.is_none() {
        image.wrong("url", media::BY_VALUE);
    }
    image.finish();
    read
}

fn file(part: &mut Fields<'_>) -> Option<pb::ContentBlock> {
    part.require("file");
    let mut file = part.inner("file")?;
    let title = file.text("filename").unwrap_or_default();
    let read = file.text("file_data").as_deref().and_then(media::data_url);
    if read.is_none() {
        file.wrong("file_data", media::BY_VALUE);
    }
    file.finish();
    read.map(|content| media::document(content, title))
}

fn assistant(message: &mut Fields<'_>) -> Vec<pb::ContentBlock> {
    let mut blocks = message.parts("content", said, |part, kind| match kind {
        "text" | "refusal" => Some(block(Block::Text(part.text(kind).unwrap_or_default()))),
        _ => {
            part.wrong("type", "must be text or refusal");
            None
        }
    });
    blocks.extend(message.text("refusal").and_then(said));
    let calls = message.list("tool_calls").unwrap_or_default().into_iter().enumerate();
    let path = message.at("tool_calls");
    for (place, wanted) in calls {
        blocks.extend(call(format!("{path}[{place}]"), wanted, message.violations()));
    }
    // Of an answer that is sent back as it came.
    message.neutral("annotations", &[Value::Array(Vec::new())]);
    blocks
}

fn call(path: String, wanted: Value, violations: &mut Violations) -> Option<pb::ContentBlock> {
    let mut wanted = Fields::of(path, wanted, violations)?;
    if wanted.kind("type") != "function" {
        wanted.wrong("type", "must be function");
        return None;
    }
    wanted.require("id");
    wanted.require("function");
    let id = wanted.text("id").unwrap_or_default();
    // The place of a call, of a client that puts a stream together and sends back what it has.
    wanted.ignore(&["index"]);
    let call = wanted.inner("function").map(|mut function| {
        function.require("name");
        let name = function.text("name").unwrap_or_default();
        let arguments = function.text("arguments").filter(|text| !text.trim().is_empty());
        function.finish();
        let input_json = arguments.unwrap_or_else(|| "{}".to_owned());
        block(Block::ToolUse(pb::ToolUse { tool_use_id: id, name, input_json }))
    });
    wanted.finish();
    call
}
