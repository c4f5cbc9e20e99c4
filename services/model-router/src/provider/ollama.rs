//! Ollama chat (<https://github.com/ollama/ollama/blob/main/docs/api.md>).

mod stream;

use bulkhead_edge::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::draft::{Draft, Input};
use super::json::Json;
use super::stream::Framing;
use super::{
    Abilities, Adapter, Malformed, Parameters, ThinkingSwitch, ask_for_json, base64, count, field,
    has_media_in_results, has_pdf, instructions, list, named, plain_text, result_text, text,
};
use crate::chat::{
    Answer, Block, Media, Prompt, ResponseFormat, Role, StopReason, Tool, ToolChoiceMode, Turn, Usage,
};
use crate::failure::Kind;

/// The row of the table.
pub(super) static ADAPTER: Adapter = Adapter {
    name: "ollama",
    needs_key: false,
    path: "/api/chat",
    headers,
    inexpressible,
    request,
    answer,
    framing: Framing::Ndjson,
    reader: stream::reader,
    failure,
    told,
    message,
};

/// A key is only needed behind a proxy that asks for one.
fn headers(key: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Ok(mut value)) = key.map(|key| HeaderValue::try_from(format!("Bearer {}", key.reveal()))) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

/// Tokens of thinking that are still a little, and still no more than more than that.
const LITTLE_THINKING_TOKENS: u32 = 2_048;
const MORE_THINKING_TOKENS: u32 = 8_192;

/// Tools are offered or they are not; that is all the format can say of them. A model that cannot think refuses a request
/// that asks for it.
fn inexpressible(
    prompt: &Prompt,
    abilities: Abilities,
    _max_output_tokens_default: u32,
) -> Vec<&'static str> {
    let thinks = prompt.thinking_tokens_max.is_some();
    let forced = matches!(prompt.tool_choice.mode, ToolChoiceMode::Required | ToolChoiceMode::Named(_));
    named([
        (forced, field::TOOL_CHOICE_MODE),
        (prompt.tool_choice.single_call, field::TOOL_CHOICE_SINGLE_CALL),
        (has_pdf(prompt), field::DOCUMENT),
        (has_media_in_results(prompt), field::RESULT_PARTS),
        (thinks && abilities.thinking == ThinkingSwitch::None, field::THINKING_TOKENS_MAX),
    ])
}

fn request(prompt: &Prompt, parameters: &Parameters<'_>) -> serde_json::Result<Vec<u8>> {
    // The server holds the model to the format, but tells it nothing of it.
    let system = instructions(prompt, ask_for_json(&prompt.response_format));
    let system = system.map(|system| json!({ "role": "system", "content": system }));
    let turns = prompt.turns.iter().flat_map(|turn| messages_of(turn, prompt));
    let mut body = json!({
        "model": parameters.provider_model,
        "stream": parameters.stream,
        "think": thinking_of(prompt, parameters.abilities),
        "messages": system.into_iter().chain(turns).collect::<Vec<_>>(),
        "options": { "num_predict": parameters.max_output_tokens },
    });
    if let Some(temperature) = prompt.temperature {
        body["options"]["temperature"] = json!(temperature);
    }
    if let Some(top_p) = prompt.top_p {
        body["options"]["top_p"] = json!(top_p);
    }
    if let Some(seed) = prompt.seed {
        body["options"]["seed"] = json!(seed);
    }
    if !prompt.stop_sequences.is_empty() {
        body["options"]["stop"] = json!(prompt.stop_sequences);
    }
    match &prompt.response_format {
        ResponseFormat::Text => {}
        ResponseFormat::JsonObject => body["format"] = json!("json"),
        ResponseFormat::JsonSchema { schema, .. } => body["format"] = json!(schema),
    }
    if !prompt.tools.is_empty() && prompt.tool_choice.mode != ToolChoiceMode::Never {
        body["tools"] = prompt.tools.iter().map(tool_of).collect();
    }
    serde_json::to_vec(&body)
}

/// Models that can think do so unless they are told. There is no measure but a word, and the limit of the answer's tokens,
/// which thinking is part of.
fn thinking_of(prompt: &Prompt, abilities: Abilities) -> Value {
    match (prompt.thinking_tokens_max, abilities.thinking) {
        (None, _) | (Some(_), ThinkingSwitch::None) => json!(false),
        (Some(_), ThinkingSwitch::OnOff) => json!(true),
        (Some(tokens), ThinkingSwitch::Level) if tokens <= LITTLE_THINKING_TOKENS => json!("low"),
        (Some(tokens), ThinkingSwitch::Level) if tokens <= MORE_THINKING_TOKENS => json!("medium"),
        (Some(_), ThinkingSwitch::Level) => json!("high"),
    }
}

/// One turn may become several messages: each tool result is one of its own, and they come first, because
/// they answer the turn before.
fn messages_of(turn: &Turn, prompt: &Prompt) -> Vec<Value> {
    let results = turn.blocks.iter().filter_map(|block| match block {
        Block::ToolResult(result) => {
            let tool = prompt.tool_of(&result.id).unwrap_or_default();
            Some(json!({ "role": "tool", "tool_name": tool, "content": result_text(result) }))
        }
        Block::Text(_) | Block::ToolUse(_) | Block::Thinking(_) | Block::Media(_) => None,
    });
    results.chain(spoken(turn)).collect()
}

fn spoken(turn: &Turn) -> Option<Value> {
    let (mut texts, mut thoughts, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    let mut images = Vec::new();
    for block in &turn.blocks {
        match block {
            Block::Text(text) => texts.push(text.into()),
            Block::Media(Media::Image { content, .. }) => images.push(base64(content)),
            // A PDF has no words here, and is not sent here.
            Block::Media(media) => texts.extend(plain_text(media)),
            // What is signed is another provider's.
            Block::Thinking(thinking) if thinking.signature.is_empty() => {
                thoughts.push(thinking.text.as_str());
            }
            Block::ToolUse(call) => {
                calls.push(json!({ "function": { "name": call.name, "arguments": call.input } }));
            }
            Block::ToolResult(_) | Block::Thinking(_) => {}
        }
    }
    if texts.is_empty() && images.is_empty() && thoughts.is_empty() && calls.is_empty() {
        return None;
    }
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let mut message = json!({ "role": role, "content": texts.join("\n\n") });
    if !images.is_empty() {
        message["images"] = json!(images);
    }
    if !thoughts.is_empty() {
        message["thinking"] = json!(thoughts.join("\n\n"));
    }
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    Some(message)
}

fn tool_of(tool: &Tool) -> Value {
    let function = json!({
        "name": tool.name, "description": tool.description, "parameters": tool.input_schema,
    });
    json!({ "type": "function", "function": function })
}

fn answer(body: &Json<'_>, prompt: &Prompt, parameters: &Parameters<'_>) -> Result<Answer, Malformed> {
    if body.get("done").and_then(Json::as_bool) != Some(true) {
        return Err(Malformed::new("the answer does not say that it is done"));
    }
    let mut draft = Draft::new(prompt, parameters);
    Said::read(body)?.add_to(&mut draft)?;
    let word = body.get("done_reason").and_then(Json::as_str);
    let stop_reason = read_stop_reason(word, draft.has_calls())?;
    draft.finish(stop_reason, counted(body)?, text(body, "model")?)
}

/// What one message says: all of an answer, or the next piece of it.
struct Said<'b> {
    thinking: &'b str,
    content: &'b str,
    calls: &'b [Json<'b>],
}

impl<'b> Said<'b> {
    fn read(body: &'b Json<'b>) -> Result<Self, Malformed> {
        let message = body.get("message").ok_or_else(|| Malformed::new("the answer has no `message`"))?;
        let thinking = match message.get("thinking") {
            None | Some(Json::Null) => "",
            Some(_) => text(message, "thinking")?,
        };
        Ok(Self { thinking, content: text(message, "content")?, calls: list(message, "tool_calls")? })
    }

    fn is_empty(&self) -> bool {
        self.thinking.is_empty() && self.content.is_empty() && self.calls.is_empty()
    }

    fn add_to(&self, draft: &mut Draft) -> Result<(), Malformed> {
        draft.thinking(self.thinking, "")?;
        draft.text(self.content)?;
        for call in self.calls {
            let function =
                call.get("function").ok_or_else(|| Malformed::new("a tool call has no `function`"))?;
            // The format gives calls no ids, or some that it does not read.
            draft.call(None, text(function, "name")?, Input::of(function.get("arguments")))?;
        }
        Ok(())
    }
}

fn counted(body: &Json<'_>) -> Result<Usage, Malformed> {
    Ok(Usage {
        input_tokens: count(body, "prompt_eval_count")?,
        output_tokens: count(body, "eval_count")?,
        ..Usage::default()
    })
}

fn read_stop_reason(word: Option<&str>, has_calls: bool) -> Result<StopReason, Malformed> {
    match word {
        Some("length") => Ok(StopReason::MaxTokens),
        // Servers before 0.3 send no reason at all.
        Some("stop") | None if has_calls => Ok(StopReason::ToolUse),
        Some("stop") | None => Ok(StopReason::EndTurn),
        Some(_) => Err(Malformed::unfit("the answer has a done reason that is not known")),
    }
}

fn failure(kind: Kind, message: &str) -> Kind {
    let says = |words: &str| message.to_lowercase().contains(words);
    let too_long =
        says("exceeds the context length") || says("exceeds maximum context") || says("context window");
    if matches!(kind, Kind::InvalidRequest | Kind::ServerError) && too_long {
        Kind::ContextLength
    } else {
        kind
    }
}

/// The format tells an error in a stream by words alone.
fn told(body: &Json<'_>) -> Option<u16> {
    body.get("error").is_some_and(|error| !error.is_null()).then_some(500)
}

fn message(body: &Value) -> Option<&str> {
    body.get("error")?.as_str()
}

#[cfg(test)]
mod tests;
