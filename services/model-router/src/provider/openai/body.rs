//! The body of a request, as the format has it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

use crate::chat::Object;

/// A request. Texts are borrowed from the prompt: they are written once, into the body.
#[derive(Debug, Serialize)]
pub(super) struct Request<'p> {
    pub(super) model: &'p str,
    pub(super) messages: Vec<Message<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) stop: &'p [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) response_format: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tools: Vec<Tool<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stream_options: Option<Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'p> {
    pub(super) role: &'static str,
    pub(super) content: Content<'p>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<Call<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<&'p str>,
}

/// Text alone travels as text, which every server takes.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Content<'p> {
    /// As null.
    Nothing,
    Text(Cow<'p, str>),
    Parts(Vec<Part<'p>>),
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Part<'p> {
    Text { text: Cow<'p, str> },
    ImageUrl { image_url: ImageUrl },
    File { file: File<'p> },
}

impl Part<'_> {
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text { text } = self { Some(text) } else { None }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ImageUrl {
    pub(super) url: String,
}

#[derive(Debug, Serialize)]
pub(super) struct File<'p> {
    pub(super) filename: &'p str,
    pub(super) file_data: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Call<'p> {
    pub(super) id: &'p str,
    pub(super) r#type: &'static str,
    pub(super) function: CalledFunction,
}

#[derive(Debug, Serialize)]
pub(super) struct CalledFunction {
    pub(super) name: String,
    /// They travel as text.
    pub(super) arguments: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Tool<'p> {
    pub(super) r#type: &'static str,
    pub(super) function: OfferedFunction<'p>,
}

#[derive(Debug, Serialize)]
pub(super) struct OfferedFunction<'p> {
    pub(super) name: String,
    pub(super) description: &'p str,
    pub(super) parameters: &'p Object,
}
