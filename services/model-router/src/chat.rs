//! A conversation as the router sees it, whatever the provider calls its parts.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// What a model is asked. Its `Debug` shows sizes only: prompts are never logged.
#[derive(Clone, PartialEq)]
pub struct Prompt {
    /// Instructions before the conversation; may be empty.
    pub system: String,
    /// At least one, the last by the user.
    pub turns: Vec<Turn>,
    /// What the model may ask for.
    pub tools: Vec<Tool>,
    /// None: the model's configured default.
    pub max_output_tokens: Option<u32>,
    /// 0 to 2; none: the provider's default.
    pub temperature: Option<f64>,
    /// Above 0 to 1; none: the provider's default.
    pub top_p: Option<f64>,
    /// 0 to 2^53 - 1; none: no answer has to come again.
    pub seed: Option<u64>,
    /// Texts at which the model stops, without giving them.
    pub stop_sequences: Vec<String>,
    /// Which tools to call.
    pub tool_choice: ToolChoice,
    /// What the answer's text has to be.
    pub response_format: ResponseFormat,
    /// Tokens the model may think, part of the answer's; none: it does not, unless it always does.
    pub thinking_tokens_max: Option<u32>,
}

impl fmt::Debug for Prompt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Prompt({} turns, {} tools)", self.turns.len(), self.tools.len())
    }
}

/// One turn.
#[derive(Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What, in order.
    pub blocks: Vec<Block>,
    /// Places of the blocks up to which a provider may keep the prompt in its cache: hints.
    pub breakpoints: Vec<usize>,
}

impl Turn {
    /// One without hints.
    #[must_use]
    pub fn new(role: Role, blocks: Vec<Block>) -> Self {
        Self { role, blocks, breakpoints: Vec::new() }
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person or agent; tool results too.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// Plain text.
    Text(String),
    /// The model wants a tool.
    ToolUse(ToolUse),
    /// What a tool answered.
    ToolResult(ToolResult),
    /// What the model thought before it answered.
    Thinking(Thinking),
    /// A picture or a document.
    Media(Media),
}

/// A picture or a document, by value. Its `Debug` shows sizes only.
#[derive(Clone, PartialEq, Eq)]
pub enum Media {
    /// A picture.
    Image {
        /// Such as `image/png`.
        media_type: &'static str,
        /// Its bytes.
        content: Bytes,
    },
    /// A document that is laid out.
    Pdf {
        /// For the model; may be empty.
        title: String,
        /// Its bytes.
        content: Bytes,
    },
    /// A document that is text.
    PlainText {
        /// For the model; may be empty.
        title: String,
        /// The text.
        text: String,
    },
}

impl fmt::Debug for Media {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Self::Image { media_type, content } => (*media_type, content.len()),
            Self::Pdf { content, .. } => ("application/pdf", content.len()),
            Self::PlainText { text, .. } => ("text/plain", text.len()),
        };
        write!(formatter, "Media({what}, {bytes} bytes)")
    }
}

/// What a model thought. Carried as it came: only its provider can read it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Thinking {
    /// What the provider shows of it; may be empty.
    pub text: String,
    /// The provider's proof that it is its own, or its encrypted form; empty where it gives none.
    pub signature: String,
}

impl fmt::Debug for Thinking {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Thinking({} bytes, signed: {})", self.text.len(), !self.signature.is_empty())
    }
}

/// A piece of an answer, as it comes. [`append`] puts pieces together.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// The next piece of the text.
    Text(String),
    /// The next piece of what the model thinks, or the signature that ends it.
    Thinking(Thinking),
    /// A tool call, whole and checked.
    ToolUse(ToolUse),
}

impl Delta {
    /// A block of an answer as one piece; none for a block that is no part of answers.
    #[must_use]
    pub fn of(block: Block) -> Option<Self> {
        match block {
            Block::Text(text) => Some(Self::Text(text)),
            Block::Thinking(thinking) => Some(Self::Thinking(thinking)),
            Block::ToolUse(call) => Some(Self::ToolUse(call)),
            Block::ToolResult(_) | Block::Media(_) => None,
        }
    }
}

/// Adds a piece to the blocks of an answer: text to text, thinking to thinking that is not signed yet.
pub fn append(blocks: &mut Vec<Block>, delta: Delta) {
    match (blocks.last_mut(), delta) {
        (Some(Block::Text(text)), Delta::Text(piece)) => text.push_str(&piece),
        (Some(Block::Thinking(thinking)), Delta::Thinking(piece)) if thinking.signature.is_empty() => {
            thinking.text.push_str(&piece.text);
            thinking.signature = piece.signature;
        }
        (_, Delta::Text(text)) => blocks.push(Block::Text(text)),
        (_, Delta::Thinking(thinking)) => blocks.push(Block::Thinking(thinking)),
        (_, Delta::ToolUse(call)) => blocks.push(Block::ToolUse(call)),
    }
}

/// A call that the model wants.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolUse {
    /// The model's id for it.
    pub id: String,
    /// Name of an offered tool.
    pub name: String,
    /// Its arguments.
    pub input: Object,
}

/// A call that nobody can run, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscall {
    /// What the model called.
    pub name: String,
    /// What with, as text.
    pub arguments: String,
    /// What is wrong with it.
    pub fault: CallFault,
}

/// Why a call cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFault {
    /// The tool is not on offer.
    NotOffered,
    /// The arguments are no JSON object.
    NoObject,
    /// Another call of the answer has its id.
    SameId,
}

/// The answer to a [`ToolUse`].
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// From the call.
    pub id: String,
    /// What the model reads.
    pub content: String,
    /// The tool failed and the content says why.
    pub is_error: bool,
    /// What the model reads beside it: texts and media.
    pub parts: Vec<Block>,
}

/// A tool on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Name as the agent knows it.
    pub name: String,
    /// For the model.
    pub description: String,
    /// JSON Schema of its input.
    pub input_schema: Object,
}

/// Which tools a model is to call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolChoice {
    /// How freely it chooses.
    pub mode: ToolChoiceMode,
    /// At most one call in a turn.
    pub single_call: bool,
}

/// How freely a model chooses among the tools.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ToolChoiceMode {
    /// It decides.
    #[default]
    Auto,
    /// It calls none.
    Never,
    /// It calls at least one.
    Required,
    /// It calls this one.
    Named(String),
}

/// What the text of an answer has to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum ResponseFormat {
    /// Anything.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that a schema accepts.
    JsonSchema {
        /// For the provider.
        name: String,
        /// JSON Schema.
        schema: Object,
    },
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Text, thinking and tool calls, in order.
    pub blocks: Vec<Block>,
    /// Calls that nobody can run, which are in none of the blocks. An answer that has one will not do.
    pub miscalls: Vec<Miscall>,
    /// Why it stopped.
    pub stop_reason: StopReason,
    /// As the provider counted.
    pub usage: Usage,
    /// The model that the provider says answered.
    pub provider_model: String,
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// It wants tools called.
    ToolUse,
    /// The limit was reached.
    MaxTokens,
    /// It declined: an answer, not an outage.
    Refusal,
    /// A stop sequence.
    StopSequence,
}

impl StopReason {
    /// The word used in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EndTurn => "end_turn",
            Self::ToolUse => "tool_use",
            Self::MaxTokens => "max_tokens",
            Self::Refusal => "refusal",
            Self::StopSequence => "stop_sequence",
        }
    }
}

/// Tokens as the provider counted; 0 where it does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, those read from and written to a cache included.
    pub input_tokens: u64,
    /// Of the answer, those of thinking included.
    pub output_tokens: u64,
    /// The part of the prompt that came from the provider's cache.
    pub cache_read_input_tokens: u64,
    /// The part of the prompt that was written to the provider's cache.
    pub cache_creation_input_tokens: u64,
    /// The part of the answer that was thinking.
    pub reasoning_output_tokens: u64,
}

impl Prompt {
    /// The name of the tool that a result answers.
    pub(crate) fn tool_of(&self, id: &str) -> Option<&str> {
        self.turns.iter().flat_map(|turn| &turn.blocks).find_map(|block| match block {
            Block::ToolUse(call) if call.id == id => Some(call.name.as_str()),
            Block::ToolUse(_)
            | Block::Text(_)
            | Block::ToolResult(_)
            | Block::Thinking(_)
            | Block::Media(_) => None,
        })
    }
}
