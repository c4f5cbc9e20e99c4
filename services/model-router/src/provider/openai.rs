//! OpenAI Chat Completions (<https://platform.openai.com/docs/api-reference/chat>), and the many servers that speak
//! it: vLLM, llama.cpp, OpenRouter. Their base URL ends where OpenAI's does, with `/v1`.

mod stream;

use bulkhead_edge::Secret;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::draft::Draft;
use super::names::ToolNames;
use super::stream::Framing;
use super::{
    Adapter, Malformed, Parameters, ask_for_json, base64, count, field, has_media_in_results, has_pdf,
    instructions, list, named, object, plain_text, result_text, text,
};
use crate::chat::{
    Answer, Block, Media, Object, Prompt, ResponseFormat, Role, StopReason, Tool, ToolChoiceMode, ToolUse,
    Turn, Usage,
};
use crate::failure::Kind;

/// OpenAI itself. Its newer models refuse `max_tokens`.
pub(super) static OPENAI: Adapter = Adapter {
    name: "openai",
    needs_key: true,
    inexpressible: |prompt| {
        named([
            (prompt.stop_sequences.len() > STOP_SEQUENCES_MAX, field::STOP_SEQUENCES),
            (prompt.thinking_tokens_max.is_some(), field::THINKING_TOKENS_MAX),
            (has_media_in_results(prompt), field::RESULT_PARTS),
        ])
    },
    request: request_to_openai,
    ..OF_OTHERS
};

/// Servers with the same interface, some of which know only the older `max_tokens` and ask for no key.
pub(super) static COMPATIBLE: Adapter = OF_OTHERS;

const OF_OTHERS: Adapter = Adapter {
    name: "openai-compatible",
    needs_key: false,
    path: "/chat/completions",
    headers,
    // How much a model reasons is a word here and no number, where there is one at all.
    inexpressible: |prompt| {
        named([
            (prompt.thinking_tokens_max.is_some(), field::THINKING_TOKENS_MAX),
            (has_pdf(prompt), field::DOCUMENT),
            (has_media_in_results(prompt), field::RESULT_PARTS),
        ])
    },
    request: request_to_others,
    answer,
    ask_for_stream,
    framing: Framing::Sse,
    reader: stream::reader,
    failure,
    message,
};

/// Stop sequences that OpenAI takes; other servers have no such limit.
const STOP_SEQUENCES_MAX: usize = 4;

/// Codes and types that decide what a failure is, whatever its sentence says. The third is llama.cpp's.
const TELLING: [&str; 4] =
    ["insufficient_quota", "context_length_exceeded", "exceed_context_size_error", "model_not_found"];

fn headers(key: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Ok(mut value)) = key.map(|key| HeaderValue::try_from(format!("Bearer {}", key.reveal()))) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers
}

fn request_to_openai(prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
    request(prompt, parameters, "max_completion_tokens")
}

fn request_to_others(prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
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
fn ask_for_stream(body: &mut Value) {
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

fn answer(body: &Value, prompt: &Prompt, parameters: &Parameters<'_>) -> Result<Answer, Malformed> {
    let choice =
        body.pointer("/choices/0").ok_or_else(|| Malformed::new("the answer has no first choice"))?;
    let message = choice.get("message").filter(|message| message.is_object());
    let message = message.ok_or_else(|| Malformed::new("the choice has no `message`"))?;
    let word = text(choice, "finish_reason")?;
    let refusal = said(message, "refusal")?;
    let mut draft = Draft::new(prompt, parameters);
    draft.thinking(thought(message).unwrap_or_default(), "")?;
    draft.text(said(message, "content")?.unwrap_or_default())?;
    draft.text(refusal.unwrap_or_default())?;
    read_calls(message, word, &mut draft)?;
    let stop_reason = match refusal {
        Some(_) => StopReason::Refusal,
        None => read_stop_reason(word, draft.has_calls())?,
    };
    // Some servers do not count; that is told as zero.
    let usage = body.get("usage").filter(|usage| !usage.is_null()).map(counted).transpose()?;
    draft.finish(stop_reason, usage.unwrap_or_default(), text(body, "model")?)
}

fn counted(usage: &Value) -> Result<Usage, Malformed> {
    let part = |details: &str, field: &str| usage.get(details).map_or(Ok(0), |details| count(details, field));
    Ok(Usage {
        input_tokens: count(usage, "prompt_tokens")?,
        output_tokens: count(usage, "completion_tokens")?,
        cache_read_input_tokens: part("prompt_tokens_details", "cached_tokens")?,
        cache_creation_input_tokens: 0,
        reasoning_output_tokens: part("completion_tokens_details", "reasoning_tokens")?,
    })
}

/// What compatible servers show of a model's thinking; each has one of the two names for it. The format does not know
/// them, so that anything but text is none of it.
fn thought(message: &Value) -> Option<&str> {
    let text = |field| message.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    text("reasoning_content").or_else(|| text("reasoning"))
}

/// Text that may be absent, null or empty, which all mean that nothing was said.
fn said<'m>(message: &'m Value, field: &str) -> Result<Option<&'m str>, Malformed> {
    match message.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(words)) => Ok(Some(words.as_str()).filter(|words| !words.is_empty())),
        Some(_) => Err(Malformed::new(format!("the field `{field}` is no text"))),
    }
}

fn read_calls(message: &Value, word: &str, draft: &mut Draft) -> Result<(), Malformed> {
    let calls = list(message, "tool_calls")?;
    for (at, call) in calls.iter().enumerate() {
        let function = call.get("function").ok_or_else(|| Malformed::new("a tool call has no `function`"))?;
        let said_arguments = function.get("arguments");
        if is_cut_off(word, at + 1 == calls.len(), said_arguments) {
            break;
        }
        // Some servers leave the id out.
        draft.call(said(call, "id")?, text(function, "name")?, arguments(said_arguments)?)?;
    }
    Ok(())
}

/// Whether the limit of tokens cut a call off: then it is no call, and that the limit was reached is told.
fn is_cut_off(word: &str, is_last: bool, said_arguments: Option<&Value>) -> bool {
    let whole = match said_arguments {
        Some(Value::String(text)) => serde_json::from_str::<Object>(text).is_ok(),
        other => other.is_some_and(Value::is_object),
    };
    word == "length" && is_last && !whole
}

/// Text that holds a JSON object. Nothing at all is how some models call a tool without arguments, and some servers
/// give the object itself.
fn arguments(value: Option<&Value>) -> Result<Object, Malformed> {
    match value {
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Object::new()),
        Some(Value::String(text)) => object(serde_json::from_str(text).ok().as_ref()),
        other => object(other),
    }
}

fn read_stop_reason(word: &str, has_calls: bool) -> Result<StopReason, Malformed> {
    match word {
        "length" => Ok(StopReason::MaxTokens),
        "content_filter" => Ok(StopReason::Refusal),
        // A call that was asked for by name ends with `stop`.
        "stop" | "tool_calls" if has_calls => Ok(StopReason::ToolUse),
        "stop" => Ok(StopReason::EndTurn),
        "tool_calls" => Err(Malformed::new("the model stopped for tools and called none")),
        _ => Err(Malformed::unfit("the answer has a finish reason that is not known")),
    }
}

fn failure(kind: Kind, message: &str) -> Kind {
    let message = message.to_lowercase();
    let says = |words: &str| message.contains(words);
    let too_long = says("context_length_exceeded")
        || says("exceed_context_size_error")
        || says("maximum context length")
        || says("exceeds the available context size");
    match kind {
        Kind::InvalidRequest | Kind::ServerError if too_long => Kind::ContextLength,
        Kind::InvalidRequest if says("model_not_found") => Kind::ModelNotFound,
        Kind::RateLimited | Kind::Forbidden if says("insufficient_quota") => Kind::Quota,
        // OpenRouter's word about one prompt, which is no reason to leave the model alone.
        Kind::Forbidden if says("flagged") || says("moderation") => Kind::InvalidRequest,
        kind => kind,
    }
}

/// The code or type, where that decides; else the sentence. vLLM leaves out the `error` around it.
fn message(body: &Value) -> Option<&str> {
    let word = |pointer| body.pointer(pointer).and_then(Value::as_str);
    let telling = |word: &&str| TELLING.contains(word);
    let code = word("/error/code").filter(telling).or_else(|| word("/error/type").filter(telling));
    code.or_else(|| word("/error/message")).or_else(|| word("/message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Thinking, ToolChoice};
    use crate::provider::samples::{self, PARAMETERS};

    #[test]
    fn pictures_and_documents_travel_as_the_provider_wants_them() {
        let mut prompt = samples::illustrated();
        assert_eq!((OPENAI.inexpressible)(&prompt), ["messages.content.tool_result.parts"]);
        let both = ["messages.content.document", "messages.content.tool_result.parts"];
        assert_eq!((COMPATIBLE.inexpressible)(&prompt), both);
        if let Some(Block::ToolResult(result)) = prompt.turns[2].blocks.first_mut() {
            result.parts.pop();
        }
        assert_eq!((OPENAI.inexpressible)(&prompt), [""; 0]);
        let messages = &request_to_openai(&prompt, &PARAMETERS)["messages"];
        assert_eq!(messages[3]["content"], json!("Error: File not found: a.md\n\nSee:"));
        let file = json!({ "filename": "Minutes", "file_data": "data:application/pdf;base64,UERG" });
        let expected = json!([
            { "type": "image_url", "image_url": { "url": "data:image/png;base64,UE5H" } },
            { "type": "file", "file": file },
            { "type": "text", "text": "Notes\n\nOne." },
        ]);
        assert_eq!(messages[4]["content"], expected);
    }

    #[test]
    fn choices_are_written_as_the_provider_wants_them() {
        let prompt = Prompt { response_format: samples::a_schema(), ..samples::particular() };
        let body = request_to_openai(&prompt, &PARAMETERS);
        let named = json!({ "type": "function", "function": { "name": "fs_read" } });
        let schema = json!({ "type": "object", "required": ["n"] });
        let expected = [
            ("top_p", json!(0.5)),
            ("seed", json!(7)),
            ("stop", json!(["END", "STOP"])),
            ("tool_choice", named),
            ("parallel_tool_calls", json!(false)),
            (
                "response_format",
                json!({ "type": "json_schema", "json_schema": { "name": "count", "schema": schema } }),
            ),
        ];
        for (name, value) in expected {
            assert_eq!(body[name], value, "{name}");
        }
        assert_eq!(body["messages"][0]["content"], json!("Be brief."), "a schema needs no words");
        for (mode, word) in [(ToolChoiceMode::Never, "none"), (ToolChoiceMode::Required, "required")] {
            let tool_choice = ToolChoice { mode, single_call: false };
            let body = request_to_others(&Prompt { tool_choice, ..samples::conversation() }, &PARAMETERS);
            assert_eq!(body["tool_choice"], json!(word));
            assert!(body.get("parallel_tool_calls").is_none());
        }
    }

    #[test]
    fn the_json_mode_is_asked_for_in_words_too() {
        let prompt = Prompt { response_format: ResponseFormat::JsonObject, ..samples::conversation() };
        let body = request_to_openai(&prompt, &PARAMETERS);
        assert_eq!(body["response_format"], json!({ "type": "json_object" }));
        let system = body["messages"][0]["content"].as_str().expect("text");
        assert!(system.contains("JSON"), "{system}");
    }

    #[test]
    fn more_stop_sequences_than_openai_takes_are_told() {
        let prompt = Prompt { stop_sequences: vec!["x".into(); 5], ..samples::particular() };
        assert_eq!((OPENAI.inexpressible)(&prompt), ["stop_sequences"]);
        assert_eq!((OPENAI.inexpressible)(&samples::particular()), [""; 0]);
        assert_eq!((COMPATIBLE.inexpressible)(&prompt), [""; 0]);
    }

    #[test]
    fn a_conversation_is_written_as_the_provider_wants_it() {
        let function = json!({
            "name": "fs_read", "description": "Reads a file.", "parameters": { "type": "object" },
        });
        let expected = json!({
            "model": "model-x",
            "max_completion_tokens": 100,
            "temperature": 0.5,
            "messages": [
                { "role": "system", "content": "Be brief." },
                { "role": "user", "content": "Read a.md" },
                { "role": "assistant", "content": "I look.", "tool_calls": [{
                    "id": "t1", "type": "function",
                    "function": { "name": "fs_read", "arguments": "{\"path\":\"a.md\"}" },
                }] },
                { "role": "tool", "tool_call_id": "t1", "content": "Error: File not found: a.md" },
            ],
            "tools": [{ "type": "function", "function": function }],
        });
        assert_eq!((OPENAI.request)(&samples::conversation(), &PARAMETERS), expected);
        let to_others = (COMPATIBLE.request)(&samples::conversation(), &PARAMETERS);
        assert_eq!(
            (to_others.get("max_tokens"), to_others.get("max_completion_tokens")),
            (Some(&json!(100)), None)
        );
    }

    #[test]
    fn a_stream_is_asked_for_with_its_counts() {
        let mut body = (OPENAI.request)(&samples::conversation(), &PARAMETERS);
        let mut expected = body.clone();
        ask_for_stream(&mut body);
        expected["stream"] = json!(true);
        expected["stream_options"] = json!({ "include_usage": true });
        assert_eq!(body, expected);
    }

    #[test]
    fn a_turn_of_calls_alone_says_nothing() {
        let mut prompt = samples::conversation();
        prompt.turns[1].blocks.remove(0);
        let body = (OPENAI.request)(&prompt, &PARAMETERS);
        assert_eq!(body["messages"][2]["content"], Value::Null);
    }

    fn body() -> Value {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_770_000_000, "model": "model-x-2026",
            "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "Reading.", "refusal": null,
                "tool_calls": [{ "id": "call_1", "type": "function",
                    "function": { "name": "fs_read", "arguments": "{\"path\": \"b.md\"}" } }],
            } }],
            "usage": { "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17 },
        })
    }

    fn read(body: &Value) -> Result<Answer, Malformed> {
        answer(body, &samples::conversation(), &PARAMETERS)
    }

    fn with(pointer: &str, value: Value) -> Value {
        let mut body = body();
        *body.pointer_mut(pointer).expect("a place") = value;
        body
    }

    #[test]
    fn an_answer_is_read_with_its_tools_under_the_agents_names() {
        let answer = read(&body()).expect("reads");
        let input = samples::object(json!({ "path": "b.md" }));
        let call = ToolUse { id: "call_1".into(), name: "fs.read".into(), input };
        assert_eq!(answer.blocks, [Block::Text("Reading.".into()), Block::ToolUse(call)]);
        assert_eq!(
            (answer.stop_reason, answer.provider_model.as_str()),
            (StopReason::ToolUse, "model-x-2026")
        );
        assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
    }

    #[test]
    fn what_other_servers_do_differently_is_read_too() {
        let call = "/choices/0/message/tool_calls/0";
        let cases = [
            (format!("{call}/function/arguments"), json!({ "path": "b.md" }), ("call_1", 1)),
            (format!("{call}/function/arguments"), json!(""), ("call_1", 0)),
            (format!("{call}/id"), json!(""), ("call_a1_0", 1)),
            ("/choices/0/finish_reason".to_owned(), json!("stop"), ("call_1", 1)),
        ];
        for (pointer, value, (id, arguments)) in cases {
            let answer = read(&with(&pointer, value.clone())).expect("reads");
            let Some(Block::ToolUse(call)) = answer.blocks.last() else { panic!("{pointer}: no call") };
            assert_eq!((call.id.as_str(), call.input.len()), (id, arguments), "{pointer} {value}");
            assert_eq!(answer.stop_reason, StopReason::ToolUse);
        }
    }

    #[test]
    fn what_is_counted_apart_is_read_and_what_is_not_counted_is_zero() {
        let mut counted = body();
        counted["usage"]["prompt_tokens_details"] = json!({ "cached_tokens": 8 });
        counted["usage"]["completion_tokens_details"] = json!({ "reasoning_tokens": 3 });
        let usage = Usage {
            input_tokens: 12,
            output_tokens: 5,
            cache_read_input_tokens: 8,
            cache_creation_input_tokens: 0,
            reasoning_output_tokens: 3,
        };
        let none = with("/usage", Value::Null);
        for (body, usage) in [(counted, usage), (none, Usage::default())] {
            assert_eq!(read(&body).expect("reads").usage, usage);
        }
    }

    #[test]
    fn reasoning_is_thinking_and_goes_back_to_nobody() {
        let mut thought = body();
        thought["choices"][0]["message"]["reasoning_content"] = json!("Hm.");
        let answer = read(&thought).expect("reads");
        let thinking = Block::Thinking(Thinking { text: "Hm.".into(), signature: String::new() });
        assert_eq!(answer.blocks[0], thinking);
        let mut prompt = samples::conversation();
        let without = (COMPATIBLE.request)(&prompt, &PARAMETERS);
        prompt.turns[1].blocks.insert(0, thinking);
        assert_eq!((COMPATIBLE.request)(&prompt, &PARAMETERS), without);
    }

    #[test]
    fn a_call_that_the_limit_cut_off_is_left_out() {
        let call = "/choices/0/message/tool_calls/0/function/arguments";
        for (arguments, calls) in
            [(json!("{\"path\":"), 0), (json!(""), 0), (json!("{\"path\": \"b.md\"}"), 1)]
        {
            let mut cut = with(call, arguments.clone());
            cut["choices"][0]["finish_reason"] = json!("length");
            let answer = read(&cut).expect("reads");
            assert_eq!(
                (answer.stop_reason, answer.blocks.len()),
                (StopReason::MaxTokens, 1 + calls),
                "{arguments}"
            );
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let plain = json!({ "role": "assistant", "content": "Half", "refusal": null });
        let mut filtered = with("/choices/0/message", plain);
        filtered["choices"][0]["finish_reason"] = json!("content_filter");
        let refused = json!({ "role": "assistant", "content": null, "refusal": "I cannot help." });
        let mut refused = with("/choices/0/message", refused);
        refused["choices"][0]["finish_reason"] = json!("stop");
        for (body, words) in [(filtered, "Half"), (refused, "I cannot help.")] {
            let answer = read(&body).expect("reads");
            assert_eq!(answer.stop_reason, StopReason::Refusal);
            assert_eq!(answer.blocks, [Block::Text(words.into())]);
        }
    }

    #[test]
    fn answers_that_cannot_be_used_are_told_by_whose_fault_it_is() {
        let call = "/choices/0/message/tool_calls/0/function";
        let cases = [
            ("/choices".to_owned(), json!([]), Kind::Malformed),
            ("/choices/0/message".to_owned(), json!(null), Kind::Malformed),
            ("/choices/0/message/content".to_owned(), json!(7), Kind::Malformed),
            ("/choices/0/message/tool_calls".to_owned(), json!("x"), Kind::Malformed),
            ("/choices/0/message/tool_calls".to_owned(), json!([]), Kind::Malformed),
            ("/usage".to_owned(), json!({ "prompt_tokens": "many" }), Kind::Malformed),
            (format!("{call}/name"), json!("rm"), Kind::Unfit),
            (format!("{call}/arguments"), json!("{\"path\":"), Kind::Unfit),
            (format!("{call}/arguments"), json!("[1]"), Kind::Unfit),
            ("/choices/0/finish_reason".to_owned(), json!("bored"), Kind::Unfit),
        ];
        for (pointer, value, kind) in cases {
            let told = read(&with(&pointer, value.clone())).expect_err(&pointer);
            assert_eq!(told.kind(), kind, "{pointer} {value}");
        }
        let error = json!({ "error": { "code": 502, "message": "upstream" } });
        assert_eq!(read(&error).expect_err("no answer").kind(), Kind::Malformed);
    }

    #[test]
    fn a_code_decides_and_a_sentence_where_there_is_none() {
        let cases = [
            (429, json!({ "error": { "code": "insufficient_quota", "message": "m" } }), Kind::Quota),
            (429, json!({ "error": { "code": "rate_limit_exceeded", "message": "m" } }), Kind::RateLimited),
            (
                400,
                json!({ "error": { "code": "context_length_exceeded", "message": "m" } }),
                Kind::ContextLength,
            ),
            (
                400,
                json!({ "error": { "code": 400, "type": "exceed_context_size_error" } }),
                Kind::ContextLength,
            ),
            (
                400,
                json!({ "object": "error", "message": "This model's maximum context length is 8 tokens." }),
                Kind::ContextLength,
            ),
            (400, json!({ "error": { "code": "model_not_found", "message": "m" } }), Kind::ModelNotFound),
            (400, json!({ "error": { "message": "invalid options" } }), Kind::InvalidRequest),
            (500, json!({ "error": { "message": "boom" } }), Kind::ServerError),
            (
                403,
                json!({ "error": { "code": 403, "message": "Your input was flagged" } }),
                Kind::InvalidRequest,
            ),
            (403, json!({ "error": { "code": 403, "message": "no access" } }), Kind::Forbidden),
        ];
        for (status, body, kind) in cases {
            let said = message(&body).unwrap_or_default();
            assert_eq!(failure(Kind::of_status(status), said), kind, "{status} {body}");
        }
    }
}
