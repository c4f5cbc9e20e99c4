//! A conversation as the format has it.

use serde_json::{Value, json};

use crate::chat::{Block, Media, Prompt, ResponseFormat, Role, Tool, ToolChoiceMode, ToolUse, Turn};
use crate::provider::names::ToolNames;
use crate::provider::{Parameters, ask_for_json, base64, instructions, plain_text, result_text};

pub(super) fn request_to_openai(prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
    request(prompt, parameters, "max_completion_tokens")
}

pub(super) fn request_to_others(prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
    request(prompt, parameters, "max_tokens")
}

fn request(prompt: &Prompt, parameters: &Parameters<'_>, limit: &str) -> Value {
    let names = ToolNames::of(prompt);
    // Of a schema the server learns by itself; JSON mode wants the word.
    let words = matches!(prompt.response_format, ResponseFormat::JsonObject)
        .then(|| ask_for_json(&prompt.response_format));
    let system =
        instructions(prompt, words.flatten()).map(|system| json!({ "role": "system", "content": system }));
    let turns = prompt.turns.iter().flat_map(|turn| messages_of(turn, &names));
    let mut body = json!({
        "model": parameters.provider_model,
        "messages": system.into_iter().chain(turns).collect::<Vec<_>>(),
    });
    body[limit] = json!(parameters.max_output_tokens);
    if let Some(temperature) = prompt.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(top_p) = prompt.top_p {
        body["top_p"] = json!(top_p);
    }
    if let Some(seed) = prompt.seed {
        body["seed"] = json!(seed);
    }
    if !prompt.stop_sequences.is_empty() {
        body["stop"] = json!(prompt.stop_sequences);
    }
    if let Some(format) = format_of(&prompt.response_format) {
        body["response_format"] = format;
    }
    if !prompt.tools.is_empty() {
        body["tools"] = prompt.tools.iter().map(|tool| tool_of(tool, &names)).collect();
        if let Some(choice) = choice_of(&prompt.tool_choice.mode, &names) {
            body["tool_choice"] = choice;
        }
        if prompt.tool_choice.single_call {
            body["parallel_tool_calls"] = json!(false);
        }
    }
    body
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

/// With the counts, which a stream else lacks.
pub(super) fn ask_for_stream(body: &mut Value) {
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
}

/// One turn may become several messages: each tool result is one of its own, and they come first, because they have to
/// follow the calls that they answer.
fn messages_of(turn: &Turn, names: &ToolNames) -> Vec<Value> {
    let results = turn.blocks.iter().filter_map(|block| match block {
        Block::ToolResult(result) => {
            Some(json!({ "role": "tool", "tool_call_id": result.id, "content": result_text(result) }))
        }
        Block::Text(_) | Block::ToolUse(_) | Block::Thinking(_) | Block::Media(_) => None,
    });
    results.chain(spoken(turn, names)).collect()
}

fn spoken(turn: &Turn, names: &ToolNames) -> Option<Value> {
    let (mut parts, mut calls) = (Vec::new(), Vec::new());
    for block in &turn.blocks {
        match block {
            Block::Text(text) => parts.push(json!({ "type": "text", "text": text })),
            Block::Media(media) => parts.push(media_of(media)),
            Block::ToolUse(call) => calls.push(call_of(call, names)),
            // The format has no place for thinking.
            Block::ToolResult(_) | Block::Thinking(_) => {}
        }
    }
    if parts.is_empty() && calls.is_empty() {
        return None;
    }
    let content = content_of(parts);
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut message = json!({ "role": role, "content": content });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    Some(message)
}

/// Text alone travels as text, which every server takes.
fn content_of(parts: Vec<Value>) -> Value {
    let texts: Option<Vec<&str>> =
        parts.iter().map(|part| part.get("text").and_then(Value::as_str)).collect();
    match texts {
        Some(texts) if texts.is_empty() => Value::Null,
        Some(texts) => json!(texts.join("\n\n")),
        None => Value::Array(parts),
    }
}

fn media_of(media: &Media) -> Value {
    match media {
        Media::Image { media_type, content } => {
            json!({ "type": "image_url", "image_url": { "url": data_url(media_type, content) } })
        }
        Media::Pdf { title, content } => {
            let name = if title.is_empty() { "document.pdf" } else { title };
            let file = json!({ "filename": name, "file_data": data_url("application/pdf", content) });
            json!({ "type": "file", "file": file })
        }
        Media::PlainText { .. } => json!({ "type": "text", "text": plain_text(media) }),
    }
}

/// RFC 2397.
fn data_url(media_type: &str, content: &[u8]) -> String {
    format!("data:{media_type};base64,{}", base64(content))
}

/// Arguments travel as text.
fn call_of(call: &ToolUse, names: &ToolNames) -> Value {
    let arguments = Value::Object(call.input.clone()).to_string();
    let function = json!({ "name": names.wire(&call.name), "arguments": arguments });
    json!({ "id": call.id, "type": "function", "function": function })
}

fn tool_of(tool: &Tool, names: &ToolNames) -> Value {
    let function = json!({
        "name": names.wire(&tool.name), "description": tool.description, "parameters": tool.input_schema,
    });
    json!({ "type": "function", "function": function })
}
