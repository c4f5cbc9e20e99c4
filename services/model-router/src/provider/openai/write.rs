//! A conversation as the format has it.

use serde_json::{Value, json};

use super::body::{
    Call, CalledFunction, Content, File, ImageUrl, Message, OfferedFunction, Part, Request, Tool,
};
use crate::chat::{self, Block, Media, Prompt, ResponseFormat, Role, ToolChoiceMode, ToolUse, Turn};
use crate::provider::names::ToolNames;
use crate::provider::{Parameters, ask_for_json, base64, instructions, plain_text, result_text};

pub(super) fn request_to_openai(prompt: &Prompt, parameters: &Parameters<'_>) -> serde_json::Result<Vec<u8>> {
    let limit = Some(parameters.max_output_tokens);
    serde_json::to_vec(&Request { max_completion_tokens: limit, ..request(prompt, parameters)? })
}

pub(super) fn request_to_others(prompt: &Prompt, parameters: &Parameters<'_>) -> serde_json::Result<Vec<u8>> {
    let limit = Some(parameters.max_output_tokens);
    serde_json::to_vec(&Request { max_tokens: limit, ..request(prompt, parameters)? })
}

/// Without the limit of the answer's tokens, which has two names.
fn request<'p>(prompt: &'p Prompt, parameters: &Parameters<'p>) -> serde_json::Result<Request<'p>> {
    let names = ToolNames::of(prompt);
    let offers = !prompt.tools.is_empty();
    Ok(Request {
        model: parameters.provider_model,
        messages: messages(prompt, &names)?,
        max_completion_tokens: None,
        max_tokens: None,
        temperature: prompt.temperature,
        top_p: prompt.top_p,
        seed: prompt.seed,
        stop: &prompt.stop_sequences,
        response_format: format_of(&prompt.response_format),
        tools: prompt.tools.iter().map(|tool| tool_of(tool, &names)).collect(),
        tool_choice: if offers { choice_of(&prompt.tool_choice.mode, &names) } else { None },
        parallel_tool_calls: (offers && prompt.tool_choice.single_call).then_some(false),
        stream: parameters.stream.then_some(true),
        // With the counts, which a stream else lacks.
        stream_options: parameters.stream.then(|| json!({ "include_usage": true })),
    })
}

fn messages<'p>(prompt: &'p Prompt, names: &ToolNames) -> serde_json::Result<Vec<Message<'p>>> {
    // Of a schema the server learns by itself; JSON mode wants the word.
    let words = matches!(prompt.response_format, ResponseFormat::JsonObject)
        .then(|| ask_for_json(&prompt.response_format));
    let system = instructions(prompt, words.flatten()).map(|system| Message {
        role: "system",
        content: Content::Text(system),
        tool_calls: Vec::new(),
        tool_call_id: None,
    });
    let mut messages: Vec<_> = system.into_iter().collect();
    for turn in &prompt.turns {
        messages.extend(results_of(turn));
        messages.extend(spoken(turn, names)?);
    }
    Ok(messages)
}

/// Not `strict`: that takes only a part of JSON Schema, and the answer is validated in any case.
fn format_of(format: &ResponseFormat) -> Option<Value> {
    match format {
        ResponseFormat::Text => None,
        ResponseFormat::JsonObject => Some(json!({ "type": "json_object" })),
        ResponseFormat::JsonSchema { name, schema } => {
            Some(json!({ "type": "json_schema", "json_schema": { "name": name, "schema": schema } }))
        }
    }
}

/// None: what the server does by itself.
fn choice_of(mode: &ToolChoiceMode, names: &ToolNames) -> Option<Value> {
    match mode {
        ToolChoiceMode::Auto => None,
        ToolChoiceMode::Never => Some(json!("none")),
        ToolChoiceMode::Required => Some(json!("required")),
        ToolChoiceMode::Named(name) => {
            Some(json!({ "type": "function", "function": { "name": names.wire(name) } }))
        }
    }
}

/// One turn may become several messages: each tool result is one of its own, and they come first, because they have to
/// follow the calls that they answer.
fn results_of(turn: &Turn) -> impl Iterator<Item = Message<'_>> {
    turn.blocks.iter().filter_map(|block| match block {
        Block::ToolResult(result) => Some(Message {
            role: "tool",
            content: Content::Text(result_text(result)),
            tool_calls: Vec::new(),
            tool_call_id: Some(&result.id),
        }),
        Block::Text(_) | Block::ToolUse(_) | Block::Thinking(_) | Block::Media(_) => None,
    })
}

fn spoken<'p>(turn: &'p Turn, names: &ToolNames) -> serde_json::Result<Option<Message<'p>>> {
    let (mut parts, mut tool_calls) = (Vec::new(), Vec::new());
    for block in &turn.blocks {
        match block {
            Block::Text(text) => parts.push(Part::Text { text: text.into() }),
            Block::Media(media) => parts.push(media_of(media)),
            Block::ToolUse(call) => tool_calls.push(call_of(call, names)?),
            // The format has no place for thinking.
            Block::ToolResult(_) | Block::Thinking(_) => {}
        }
    }
    if parts.is_empty() && tool_calls.is_empty() {
        return Ok(None);
    }
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    Ok(Some(Message { role, content: content_of(parts), tool_calls, tool_call_id: None }))
}

fn content_of(mut parts: Vec<Part<'_>>) -> Content<'_> {
    if let [Part::Text { text }] = parts.as_mut_slice() {
        return Content::Text(std::mem::take(text));
    }
    match parts.iter().map(Part::as_text).collect::<Option<Vec<_>>>() {
        Some(texts) if texts.is_empty() => Content::Nothing,
        Some(texts) => Content::Text(texts.join("\n\n").into()),
        None => Content::Parts(parts),
    }
}

fn media_of(media: &Media) -> Part<'_> {
    match media {
        Media::Image { media_type, content } => {
            Part::ImageUrl { image_url: ImageUrl { url: data_url(media_type, content) } }
        }
        Media::Pdf { title, content } => {
            let filename = if title.is_empty() { "document.pdf" } else { title };
            Part::File { file: File { filename, file_data: data_url("application/pdf", content) } }
        }
        Media::PlainText { .. } => Part::Text { text: plain_text(media).unwrap_or_default() },
    }
}

/// RFC 2397.
fn data_url(media_type: &str, content: &[u8]) -> String {
    format!("data:{media_type};base64,{}", base64(content))
}

fn call_of<'p>(call: &'p ToolUse, names: &ToolNames) -> serde_json::Result<Call<'p>> {
    let arguments = serde_json::to_string(&call.input)?;
    let function = CalledFunction { name: names.wire(&call.name), arguments };
    Ok(Call { id: &call.id, r#type: "function", function })
}

fn tool_of<'p>(tool: &'p chat::Tool, names: &ToolNames) -> Tool<'p> {
    let function = OfferedFunction {
        name: names.wire(&tool.name),
        description: &tool.description,
        parameters: &tool.input_schema,
    };
    Tool { r#type: "function", function }
}
