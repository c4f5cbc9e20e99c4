//! Anthropic Messages, version 2023-06-01 (<https://docs.anthropic.com/en/api/messages>).

mod stream;

use bulkhead_edge::Secret;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::draft::Draft;
use super::names::ToolNames;
use super::stream::Framing;
use super::{
    Adapter, COUNT_MAX, Malformed, Parameters, ask_for_json, base64, count, field, instructions, named,
    object, text,
};
use crate::chat::{
    Answer, Block, Media, Prompt, Role, StopReason, Thinking, Tool, ToolChoice, ToolChoiceMode, ToolResult,
    Turn, Usage,
};
use crate::failure::Kind;

/// The row of the table.
pub(super) static ADAPTER: Adapter = Adapter {
    name: "anthropic",
    needs_key: true,
    path: "/v1/messages",
    headers,
    inexpressible,
    request,
    answer,
    ask_for_stream,
    framing: Framing::Sse,
    reader: stream::reader,
    failure,
    message,
};

/// The provider's temperatures end here; ours go to 2 as those of others do.
const TEMPERATURE_MAX: f64 = 1.0;

/// The least that a model can be told to think, in tokens.
const THINKING_TOKENS_MIN: u32 = 1_024;
/// The least of `top_p` for a model that thinks.
const TOP_P_THINKING_MIN: f64 = 0.95;

/// Marks a signature as the encrypted form of thinking that the provider does not show, which goes back in a block of
/// another type. No signature holds a colon: they are Base64.
pub(crate) const REDACTED: &str = "redacted_thinking:";

fn headers(key: Option<&Secret>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let version = HeaderName::from_static("anthropic-version");
    headers.insert(version, HeaderValue::from_static("2023-06-01"));
    if let Some(Ok(mut value)) = key.map(|key| HeaderValue::try_from(key.reveal())) {
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-api-key"), value);
    }
    headers
}

/// The provider takes no stop sequence of white space alone, repeats no answer, and its temperatures end earlier. A model that thinks, thinks so much at
/// least, chooses its tools itself, and samples as it likes
/// (<https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking>).
fn inexpressible(prompt: &Prompt) -> Vec<&'static str> {
    let blank = prompt.stop_sequences.iter().any(|sequence| sequence.trim().is_empty());
    let thinks = prompt.thinking_tokens_max.is_some();
    let forced = matches!(prompt.tool_choice.mode, ToolChoiceMode::Required | ToolChoiceMode::Named(_));
    let is_hot = prompt.temperature.is_some_and(|temperature| temperature > TEMPERATURE_MAX);
    let little = prompt.thinking_tokens_max.is_some_and(|tokens| tokens < THINKING_TOKENS_MIN);
    named([
        (prompt.seed.is_some(), field::SEED),
        (blank, field::STOP_SEQUENCES),
        (is_hot, field::TEMPERATURE),
        (little, field::THINKING_TOKENS_MAX),
        (thinks && prompt.temperature.is_some_and(|value| value < TEMPERATURE_MAX), field::TEMPERATURE),
        (thinks && prompt.top_p.is_some_and(|value| value < TOP_P_THINKING_MIN), field::TOP_P),
        (thinks && forced, field::TOOL_CHOICE_MODE),
    ])
}

fn request(prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
    let names = ToolNames::of(prompt);
    let mut body = json!({
        "model": parameters.provider_model,
        "max_tokens": parameters.max_output_tokens,
        "messages": prompt.turns.iter().filter_map(|turn| message_of(turn, &names)).collect::<Vec<_>>(),
    });
    // The format has no JSON mode that all of its models know.
    if let Some(system) = instructions(prompt, ask_for_json(&prompt.response_format)) {
        body["system"] = json!(system);
    }
    if let Some(temperature) = prompt.temperature {
        body["temperature"] = json!(temperature);
    }
    if let Some(tokens) = prompt.thinking_tokens_max {
        // Less than the whole answer. What then is too little, the provider says.
        let tokens = tokens.min(parameters.max_output_tokens.saturating_sub(1));
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
    body
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

fn ask_for_stream(body: &mut Value) {
    body["stream"] = json!(true);
}

/// None: nothing of the turn can be read by this provider.
fn message_of(turn: &Turn, names: &ToolNames) -> Option<Value> {
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    let content: Vec<Value> = turn.blocks.iter().filter_map(|block| block_of(block, names)).collect();
    (!content.is_empty()).then(|| json!({ "role": role, "content": content }))
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

/// The signature under which encrypted thinking is carried.
fn redacted(encrypted: &str) -> String {
    format!("{REDACTED}{encrypted}")
}

fn tool_of(tool: &Tool, names: &ToolNames) -> Value {
    let name = names.wire(&tool.name);
    json!({ "name": name, "description": tool.description, "input_schema": tool.input_schema })
}

fn answer(body: &Value, prompt: &Prompt, parameters: &Parameters<'_>) -> Result<Answer, Malformed> {
    let content = body.get("content").and_then(Value::as_array);
    let content = content.ok_or_else(|| Malformed::new("the answer has no list `content`"))?;
    let stop_reason = read_stop_reason(text(body, "stop_reason")?)?;
    let mut draft = Draft::new(prompt, parameters);
    for block in whole(content, stop_reason) {
        read_block(block, &mut draft)?;
    }
    let usage = body.get("usage").ok_or_else(|| Malformed::new("the answer has no `usage`"))?;
    let mut counted = Counted::default();
    counted.add(usage)?;
    draft.finish(stop_reason, counted.usage()?, text(body, "model")?)
}

/// The blocks that are whole. A call that stands where the limit of tokens was reached may lack arguments, and nothing
/// says whether it does.
fn whole(content: &[Value], stop_reason: StopReason) -> &[Value] {
    match content.split_last() {
        Some((last, before)) if stop_reason == StopReason::MaxTokens && is_call(last) => before,
        Some(_) | None => content,
    }
}

fn is_call(block: &Value) -> bool {
    block.get("type").and_then(Value::as_str) == Some("tool_use")
}

/// Blocks of types that are not known are no part of the answer.
fn read_block(block: &Value, draft: &mut Draft) -> Result<(), Malformed> {
    match text(block, "type")? {
        "text" => draft.text(text(block, "text")?),
        "thinking" => {
            let signature = block.get("signature").and_then(Value::as_str);
            draft.thinking(text(block, "thinking")?, signature.unwrap_or_default())
        }
        "redacted_thinking" => draft.thinking("", &redacted(text(block, "data")?)),
        "tool_use" => draft.call(Some(text(block, "id")?), text(block, "name")?, object(block.get("input"))?),
        _ => Ok(()),
    }
}

/// What the provider counted. A stream tells it more than once, and the last word counts.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_creation: u64,
}

impl Counted {
    fn add(&mut self, usage: &Value) -> Result<(), Malformed> {
        for (field, counted) in [
            ("input_tokens", &mut self.input),
            ("output_tokens", &mut self.output),
            ("cache_read_input_tokens", &mut self.cache_read),
            ("cache_creation_input_tokens", &mut self.cache_creation),
        ] {
            if usage.get(field).is_some_and(|count| !count.is_null()) {
                *counted = count(usage, field)?;
            }
        }
        Ok(())
    }

    /// In our terms: the provider counts the cached part of a prompt apart, and thinking not at all.
    fn usage(self) -> Result<Usage, Malformed> {
        // Three counts that fit into 53 bits fit into 64 together.
        let input_tokens = self.input + self.cache_read + self.cache_creation;
        if input_tokens > COUNT_MAX {
            return Err(Malformed::new("the counts of the prompt's tokens are none"));
        }
        Ok(Usage {
            input_tokens,
            output_tokens: self.output,
            cache_read_input_tokens: self.cache_read,
            cache_creation_input_tokens: self.cache_creation,
            reasoning_output_tokens: 0,
        })
    }
}

fn read_stop_reason(word: &str) -> Result<StopReason, Malformed> {
    match word {
        "end_turn" => Ok(StopReason::EndTurn),
        "tool_use" => Ok(StopReason::ToolUse),
        "max_tokens" | "model_context_window_exceeded" => Ok(StopReason::MaxTokens),
        "stop_sequence" => Ok(StopReason::StopSequence),
        "refusal" => Ok(StopReason::Refusal),
        _ => Err(Malformed::unfit("the answer has a stop reason that is not known")),
    }
}

/// The provider tells two conditions by their words alone: a prompt that is too long, and credit that ran
/// out, both under 400.
fn failure(kind: Kind, message: &str) -> Kind {
    let says = |words: &str| message.to_lowercase().contains(words);
    if kind != Kind::InvalidRequest {
        return kind;
    }
    if says("prompt is too long") || says("exceed context limit") || says("context window") {
        Kind::ContextLength
    } else if says("credit balance is too low") {
        Kind::Quota
    } else {
        kind
    }
}

fn message(body: &Value) -> Option<&str> {
    body.pointer("/error/message")?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::ToolUse;
    use crate::provider::samples::{self, PARAMETERS};

    #[test]
    fn a_conversation_is_written_as_the_provider_wants_it() {
        let expected = json!({
            "model": "model-x",
            "max_tokens": 100,
            "system": "Be brief.",
            "temperature": 0.5,
            "messages": [
                { "role": "user", "content": [{ "type": "text", "text": "Read a.md" }] },
                { "role": "assistant", "content": [
                    { "type": "text", "text": "I look." },
                    { "type": "tool_use", "id": "t1", "name": "fs_read", "input": { "path": "a.md" } },
                ] },
                { "role": "user", "content": [{
                    "type": "tool_result", "tool_use_id": "t1",
                    "content": "File not found: a.md", "is_error": true,
                }] },
            ],
            "tools": [
                { "name": "fs_read", "description": "Reads a file.", "input_schema": { "type": "object" } },
            ],
        });
        assert_eq!(request(&samples::conversation(), &PARAMETERS), expected);
    }

    #[test]
    fn a_stream_is_asked_for_by_one_word() {
        let mut body = request(&samples::conversation(), &PARAMETERS);
        let mut expected = body.clone();
        ask_for_stream(&mut body);
        expected["stream"] = json!(true);
        assert_eq!(body, expected);
    }

    #[test]
    fn nothing_is_sent_that_was_not_asked_for() {
        let prompt =
            Prompt { system: String::new(), tools: vec![], temperature: None, ..samples::conversation() };
        let body = request(&prompt, &PARAMETERS);
        for field in ["system", "tools", "temperature"] {
            assert!(body.get(field).is_none(), "{field}");
        }
    }

    #[test]
    fn pictures_and_documents_travel_as_the_provider_wants_them() {
        let prompt = samples::illustrated();
        assert_eq!(inexpressible(&prompt), [""; 0]);
        let body = request(&prompt, &PARAMETERS);
        let source = |kind: &str, data: &str| json!({ "type": "base64", "media_type": kind, "data": data });
        let image = json!({ "type": "image", "source": source("image/png", "UE5H") });
        let text = |text: &str| json!({ "type": "text", "text": text });
        let expected = json!([
            {
                "type": "tool_result", "tool_use_id": "t1", "is_error": true,
                "content": [text("File not found: a.md"), text("See:"), image],
            },
            image,
            { "type": "document", "title": "Minutes", "source": source("application/pdf", "UERG") },
            {
                "type": "document", "title": "Notes",
                "source": { "type": "text", "media_type": "text/plain", "data": "One." },
            },
        ]);
        assert_eq!(body["messages"][2]["content"], expected);
    }

    #[test]
    fn choices_are_written_and_what_has_no_words_is_told() {
        let prompt = Prompt { response_format: samples::a_schema(), ..samples::particular() };
        let body = request(&prompt, &PARAMETERS);
        let choice = json!({ "type": "tool", "name": "fs_read", "disable_parallel_tool_use": true });
        assert_eq!(
            (&body["top_p"], &body["stop_sequences"], &body["tool_choice"]),
            (&json!(0.5), &json!(["END", "STOP"]), &choice)
        );
        let system = body["system"].as_str().expect("text");
        assert!(system.starts_with("Be brief.\n\nAnswer with one JSON value"), "{system}");
        let (_, schema) = system.split_once("nothing else: ").expect("a schema");
        let schema: Value = serde_json::from_str(schema).expect("JSON");
        assert_eq!(schema, json!({ "type": "object", "required": ["n"] }));
        assert_eq!(inexpressible(&prompt), ["seed"]);
        let blank = Prompt { stop_sequences: vec!["\n".into()], ..samples::conversation() };
        assert_eq!(inexpressible(&blank), ["stop_sequences"]);
        let hot = Prompt { temperature: Some(1.1), ..samples::conversation() };
        assert_eq!(inexpressible(&hot), ["temperature"]);
        let modes = [
            (ToolChoiceMode::Auto, json!("auto")),
            (ToolChoiceMode::Never, json!("none")),
            (ToolChoiceMode::Required, json!("any")),
        ];
        for (mode, word) in modes {
            let tool_choice = ToolChoice { mode, single_call: true };
            let body = request(&Prompt { tool_choice, ..samples::conversation() }, &PARAMETERS);
            assert_eq!(body["tool_choice"]["type"], word);
        }
    }

    #[test]
    fn thinking_is_asked_for_within_what_the_provider_takes() {
        let prompt = Prompt {
            thinking_tokens_max: Some(2_000),
            temperature: None,
            max_output_tokens: Some(4_000),
            ..samples::conversation()
        };
        for (max_output_tokens, budget) in [(4_000, 2_000), (2_000, 1_999)] {
            let body = request(&prompt, &Parameters { max_output_tokens, ..PARAMETERS });
            assert_eq!(body["thinking"], json!({ "type": "enabled", "budget_tokens": budget }));
        }
        assert!(request(&samples::conversation(), &PARAMETERS).get("thinking").is_none());
        assert_eq!(inexpressible(&prompt), [""; 0]);
        let narrow = Prompt {
            thinking_tokens_max: Some(1_023),
            temperature: Some(0.5),
            top_p: Some(0.5),
            tool_choice: ToolChoice { mode: ToolChoiceMode::Required, single_call: false },
            ..prompt
        };
        let lacking = ["thinking_tokens_max", "temperature", "top_p", "tool_choice.mode"];
        assert_eq!(inexpressible(&narrow), lacking);
    }

    #[test]
    fn thinking_goes_back_as_it_came_and_only_to_whom_it_came_from() {
        let thinking = |text: &str, signature: &str| {
            Block::Thinking(Thinking { text: text.into(), signature: signature.into() })
        };
        let mut prompt = samples::conversation();
        let others = Turn { role: Role::Assistant, blocks: vec![thinking("theirs", "")] };
        prompt.turns[1].blocks.splice(
            0..0,
            [thinking("Hm.", "EqQB=="), thinking("", &redacted("EmwK==")), thinking("theirs", "")],
        );
        prompt.turns.insert(1, others);
        let body = request(&prompt, &PARAMETERS);
        assert_eq!(body["messages"].as_array().map(Vec::len), Some(3), "a turn without a word is none");
        let content = body["messages"][1]["content"].as_array().expect("blocks");
        assert_eq!(content.len(), 4);
        assert_eq!(content[0], json!({ "type": "thinking", "thinking": "Hm.", "signature": "EqQB==" }));
        assert_eq!(content[1], json!({ "type": "redacted_thinking", "data": "EmwK==" }));
    }

    #[test]
    fn cached_tokens_are_part_of_the_prompts() {
        let mut body = body();
        body["usage"] = json!({
            "input_tokens": 12, "output_tokens": 5,
            "cache_read_input_tokens": 500, "cache_creation_input_tokens": 30,
        });
        let answer = answer(&body, &samples::conversation(), &PARAMETERS).expect("reads");
        let usage = Usage {
            input_tokens: 542,
            output_tokens: 5,
            cache_read_input_tokens: 500,
            cache_creation_input_tokens: 30,
            reasoning_output_tokens: 0,
        };
        assert_eq!(answer.usage, usage);
    }

    #[test]
    fn a_call_that_the_limit_cut_off_is_left_out() {
        let mut body = body();
        body["stop_reason"] = json!("max_tokens");
        let answer = answer(&body, &samples::conversation(), &PARAMETERS).expect("reads");
        assert_eq!(answer.stop_reason, StopReason::MaxTokens);
        assert_eq!(answer.blocks.len(), 2, "thinking and text");
    }

    fn body() -> Value {
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "model-x-2026",
            "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "text", "text": "Reading." },
                { "type": "tool_use", "id": "toolu_1", "name": "fs_read", "input": { "path": "b.md" } },
            ],
            "stop_reason": "tool_use", "stop_sequence": null,
            "usage": { "input_tokens": 12, "output_tokens": 5 },
        })
    }

    #[test]
    fn an_answer_is_read_with_its_tools_under_the_agents_names() {
        let answer = answer(&body(), &samples::conversation(), &PARAMETERS).expect("reads");
        let input = samples::object(json!({ "path": "b.md" }));
        let call = ToolUse { id: "toolu_1".into(), name: "fs.read".into(), input };
        let thinking = Thinking { text: "hm".into(), signature: "s".into() };
        let expected = [Block::Thinking(thinking), Block::Text("Reading.".into()), Block::ToolUse(call)];
        assert_eq!(answer.blocks, expected);
        assert_eq!(
            (answer.stop_reason, answer.provider_model.as_str()),
            (StopReason::ToolUse, "model-x-2026")
        );
        assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
    }

    #[test]
    fn answers_that_cannot_be_used_are_malformed() {
        let cases = [
            ("/content", json!(null)),
            ("/content/1/text", json!(7)),
            ("/content/2/name", json!("rm_rf")),
            ("/content/2/input", json!("a string")),
            ("/content/2/input", json!([1])),
            ("/content/2/id", json!(null)),
            ("/stop_reason", json!(null)),
            ("/stop_reason", json!("bored")),
            ("/usage/input_tokens", json!(-1)),
            ("/model", json!(null)),
        ];
        for (pointer, value) in cases {
            let mut body = body();
            *body.pointer_mut(pointer).expect("a place") = value.clone();
            assert!(answer(&body, &samples::conversation(), &PARAMETERS).is_err(), "{pointer} {value}");
        }
        let mut none = body();
        none["content"] = json!([]);
        assert!(
            answer(&none, &samples::conversation(), &PARAMETERS).is_err(),
            "stopped for tools, none called"
        );
    }

    #[test]
    fn what_a_prompt_can_bring_about_is_told_from_a_broken_format() {
        let cases = [
            ("/content/2/name", json!("rm_rf"), Kind::Unfit),
            ("/content/2/input", json!("a string"), Kind::Unfit),
            ("/stop_reason", json!("bored"), Kind::Unfit),
            ("/stop_reason", json!(null), Kind::Malformed),
            ("/content", json!("text"), Kind::Malformed),
            ("/usage/input_tokens", json!("many"), Kind::Malformed),
        ];
        for (pointer, value, kind) in cases {
            let mut body = body();
            *body.pointer_mut(pointer).expect("a place") = value.clone();
            let told = answer(&body, &samples::conversation(), &PARAMETERS).expect_err(pointer);
            assert_eq!(told.kind(), kind, "{pointer} {value}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let mut body = body();
        body["content"] = json!([]);
        body["stop_reason"] = json!("refusal");
        let answer = answer(&body, &samples::conversation(), &PARAMETERS).expect("reads");
        assert_eq!(answer.stop_reason, StopReason::Refusal);
    }

    #[test]
    fn two_conditions_hide_under_400() {
        let cases = [
            ("prompt is too long: 208310 tokens > 200000 maximum", Kind::ContextLength),
            (
                "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
                Kind::ContextLength,
            ),
            ("Your credit balance is too low to access the Anthropic API.", Kind::Quota),
            ("messages: roles must alternate", Kind::InvalidRequest),
        ];
        for (message, kind) in cases {
            assert_eq!(failure(Kind::InvalidRequest, message), kind, "{message}");
        }
        assert_eq!(failure(Kind::RateLimited, "prompt is too long"), Kind::RateLimited);
    }
}
