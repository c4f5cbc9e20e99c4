//! A conversation as the format has it.

use serde_json::{Value, json};

use super::{REDACTED, schema};
use crate::chat::{
    Block, Media, Prompt, ResponseFormat, Role, Thinking, Tool, ToolChoice, ToolChoiceMode, ToolResult, Turn,
};
use crate::provider::names::ToolNames;
use crate::provider::{Parameters, ask_for_json, base64, instructions};

/// Marks for the cache that the provider takes in one request.
const BREAKPOINTS_MAX: usize = 4;

pub(super) fn request(prompt: &Prompt, parameters: &Parameters<'_>) -> serde_json::Result<Vec<u8>> {
    let names = ToolNames::of(prompt);
    let cached = cached(&prompt.turns);
    let turns = prompt.turns.iter().enumerate();
    let messages =
        turns.filter_map(|(at, turn)| message_of(turn, &names, |place| cached.contains(&(at, place))));
    let mut body = json!({
        "model": parameters.provider_model,
        "max_tokens": parameters.max_output_tokens,
        "messages": messages.collect::<Vec<_>>(),
    });
    // Not all models know structured outputs, which take no schema whatever, and there is no JSON mode.
    let format = format_of(&prompt.response_format, parameters);
    let words = if format.is_some() { None } else { ask_for_json(&prompt.response_format) };
    if let Some(system) = instructions(prompt, words) {
        body["system"] = json!(system);
    }
    if let Some(format) = format {
        body["output_config"] = json!({ "format": format });
    }
    if let Some(temperature) = prompt.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(tokens) = prompt.thinking_tokens_max {
        body["thinking"] = json!({ "type": "enabled", "budget_tokens": tokens });
    }
    if let Some(top_p) = prompt.top_p {
        body["top_p"] = json!(top_p);
    }
    if !prompt.stop_sequences.is_empty() {
        body["stop_sequences"] = json!(prompt.stop_sequences);
    }
    if !prompt.tools.is_empty() {
        body["tools"] = prompt.tools.iter().map(|tool| tool_of(tool, &names)).collect();
        if let Some(choice) = choice_of(&prompt.tool_choice, &names) {
            body["tool_choice"] = choice;
        }
    }
    if parameters.stream {
        body["stream"] = json!(true);
    }
    serde_json::to_vec(&body)
}

/// A schema that the provider itself holds the model to.
fn format_of(format: &ResponseFormat, parameters: &Parameters<'_>) -> Option<Value> {
    match format {
        ResponseFormat::JsonSchema { schema, .. } if parameters.abilities.structured_outputs => {
            schema::is_taken(schema).then(|| json!({ "type": "json_schema", "schema": schema }))
        }
        ResponseFormat::Text | ResponseFormat::JsonObject | ResponseFormat::JsonSchema { .. } => None,
    }
}

/// None: what the provider does by itself.
fn choice_of(choice: &ToolChoice, names: &ToolNames) -> Option<Value> {
    let mut said = match &choice.mode {
        ToolChoiceMode::Auto if !choice.single_call => return None,
        ToolChoiceMode::Never => return Some(json!({ "type": "none" })),
        ToolChoiceMode::Auto => json!({ "type": "auto" }),
        ToolChoiceMode::Required => json!({ "type": "any" }),
        ToolChoiceMode::Named(name) => json!({ "type": "tool", "name": names.wire(name) }),
    };
    if choice.single_call {
        said["disable_parallel_tool_use"] = json!(true);
    }
    Some(said)
}

/// None: nothing of the turn can be read by this provider.
fn message_of(turn: &Turn, names: &ToolNames, is_cached: impl Fn(usize) -> bool) -> Option<Value> {
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let blocks = turn.blocks.iter().enumerate().filter_map(|(place, block)| {
        let mut block = block_of(block, names)?;
        if is_cached(place) {
            block["cache_control"] = json!({ "type": "ephemeral" });
        }
        Some(block)
    });
    let content: Vec<Value> = blocks.collect();
    (!content.is_empty()).then(|| json!({ "role": role, "content": content }))
}

/// The blocks up to which the provider is to keep the prompt, by turn and place: the last of those that are marked. It takes
/// no mark on what was thought.
fn cached(turns: &[Turn]) -> Vec<(usize, usize)> {
    let marked = turns.iter().enumerate().rev().flat_map(|(at, turn)| {
        let places = turn.breakpoints.iter().rev();
        places.filter(move |place| can_be_marked(turn.blocks.get(**place))).map(move |place| (at, *place))
    });
    marked.take(BREAKPOINTS_MAX).collect()
}

fn can_be_marked(block: Option<&Block>) -> bool {
    match block {
        Some(Block::Text(_) | Block::ToolUse(_) | Block::ToolResult(_) | Block::Media(_)) => true,
        Some(Block::Thinking(_)) | None => false,
    }
}

fn block_of(block: &Block, names: &ToolNames) -> Option<Value> {
    match block {
        Block::Text(text) => Some(json!({ "type": "text", "text": text })),
        Block::ToolUse(call) => {
            let name = names.wire(&call.name);
            Some(json!({ "type": "tool_use", "id": call.id, "name": name, "input": call.input }))
        }
        Block::ToolResult(result) => Some(json!({
            "type": "tool_result",
            "tool_use_id": result.id,
            "content": result_of(result, names),
            "is_error": result.is_error,
        })),
        Block::Media(media) => Some(media_of(media)),
        // Thinking without a signature is another provider's.
        Block::Thinking(thinking) => (!thinking.signature.is_empty()).then(|| thinking_of(thinking)),
    }
}

/// Text, or a list where there is more than text.
fn result_of(result: &ToolResult, names: &ToolNames) -> Value {
    if result.parts.is_empty() {
        return json!(result.content);
    }
    let text = Some(json!({ "type": "text", "text": result.content })).filter(|_| !result.content.is_empty());
    let parts = result.parts.iter().filter_map(|part| block_of(part, names));
    text.into_iter().chain(parts).collect()
}

fn media_of(media: &Media) -> Value {
    let of_bytes = |media_type: &str, content: &[u8]| json!({ "type": "base64", "media_type": media_type, "data": base64(content) });
    let (kind, title, source) = match media {
        Media::Image { media_type, content } => ("image", "", of_bytes(media_type, content)),
        Media::Pdf { title, content } => ("document", title.as_str(), of_bytes("application/pdf", content)),
        Media::PlainText { title, text } => {
            let source = json!({ "type": "text", "media_type": "text/plain", "data": text });
            ("document", title.as_str(), source)
        }
    };
    let mut block = json!({ "type": kind, "source": source });
    if !title.is_empty() {
        block["title"] = json!(title);
    }
    block
}

fn thinking_of(thinking: &Thinking) -> Value {
    match thinking.signature.strip_prefix(REDACTED) {
        Some(encrypted) => json!({ "type": "redacted_thinking", "data": encrypted }),
        None => {
            json!({ "type": "thinking", "thinking": thinking.text, "signature": thinking.signature })
        }
    }
}

fn tool_of(tool: &Tool, names: &ToolNames) -> Value {
    let name = names.wire(&tool.name);
    json!({ "name": name, "description": tool.description, "input_schema": tool.input_schema })
}
