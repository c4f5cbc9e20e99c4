//! One conversation with everything in it, shared by the golden tests and the fuzz targets.

#[cfg(test)]
use super::Malformed;
use super::stream::{Ended, Heard, Listener};
use super::{Abilities, Adapter, Answer, Kind, Parameters, Prompt, ResponseFormat, ThinkingSwitch, Value};
use crate::chat::{Block, Delta, Object, Role, Tool, ToolChoice, ToolResult, ToolUse, Turn, Usage, append};
use serde_json::json;

pub(crate) fn object(value: Value) -> Object {
    value.as_object().cloned().unwrap_or_default()
}

pub(crate) fn conversation() -> Prompt {
    let call = ToolUse { id: "t1".into(), name: "fs.read".into(), input: object(json!({ "path": "a.md" })) };
    let result =
        ToolResult { id: "t1".into(), content: "File not found: a.md".into(), is_error: true, parts: vec![] };
    Prompt {
        system: "Be brief.".into(),
        turns: vec![
            Turn::new(Role::User, vec![Block::Text("Read a.md".into())]),
            Turn::new(Role::Assistant, vec![Block::Text("I look.".into()), Block::ToolUse(call)]),
            Turn::new(Role::User, vec![Block::ToolResult(result)]),
        ],
        tools: vec![Tool {
            name: "fs.read".into(),
            description: "Reads a file.".into(),
            input_schema: object(json!({ "type": "object" })),
        }],
        max_output_tokens: Some(100),
        temperature: Some(0.5),
        top_p: None,
        seed: None,
        stop_sequences: vec![],
        tool_choice: ToolChoice::default(),
        response_format: ResponseFormat::Text,
        thinking_tokens_max: None,
    }
}

/// The same with every choice that a request can make.
#[cfg(test)]
pub(crate) fn particular() -> Prompt {
    use crate::chat::ToolChoiceMode;
    Prompt {
        top_p: Some(0.5),
        seed: Some(7),
        stop_sequences: vec!["END".into(), "STOP".into()],
        tool_choice: ToolChoice { mode: ToolChoiceMode::Named("fs.read".into()), single_call: true },
        ..conversation()
    }
}

/// A picture, both kinds of document, and a tool's answer with a text and a picture in it.
#[cfg(test)]
pub(crate) fn illustrated() -> Prompt {
    use crate::chat::Media;
    let image = || Block::Media(Media::Image { media_type: "image/png", content: "PNG".into() });
    let mut prompt = conversation();
    let blocks = &mut prompt.turns[2].blocks;
    if let Some(Block::ToolResult(result)) = blocks.first_mut() {
        result.parts = vec![Block::Text("See:".into()), image()];
    }
    blocks.extend([
        image(),
        Block::Media(Media::Pdf { title: "Minutes".into(), content: "PDF".into() }),
        Block::Media(Media::PlainText { title: "Notes".into(), text: "One.".into() }),
    ]);
    prompt
}

#[cfg(test)]
pub(crate) fn a_schema() -> ResponseFormat {
    let schema = object(json!({ "type": "object", "required": ["n"] }));
    ResponseFormat::JsonSchema { name: "count".into(), schema }
}

pub(crate) const PARAMETERS: Parameters<'_> = Parameters {
    provider_model: "model-x",
    max_output_tokens: 100,
    attempt_id: "a1",
    abilities: Abilities {
        structured_outputs: false,
        ends_at_finish_reason: false,
        thinking: ThinkingSwitch::None,
    },
    stream: false,
};

/// What an adapter writes of a prompt.
#[cfg(test)]
pub(crate) fn written(adapter: &Adapter, prompt: &Prompt) -> Value {
    written_as(adapter, prompt, &PARAMETERS)
}

/// The same with other parameters.
#[cfg(test)]
pub(crate) fn written_as(adapter: &Adapter, prompt: &Prompt, parameters: &Parameters<'_>) -> Value {
    let body = (adapter.request)(prompt, parameters).expect("it can be written");
    serde_json::from_slice(&body).expect("JSON")
}

/// What an adapter reads of an answer.
#[cfg(test)]
pub(crate) fn read(adapter: &Adapter, body: &Value) -> Result<Answer, Malformed> {
    let text = body.to_string();
    let body = serde_json::from_str(&text).expect("JSON");
    (adapter.answer)(&body, &conversation(), &PARAMETERS)
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) deltas: Vec<Delta>,
    pub(crate) usage: Option<Usage>,
    pub(crate) end: Result<Answer, Kind>,
}

/// Reads a stream that comes in pieces of so many bytes, and holds the answer against its pieces.
pub(crate) fn listen(adapter: &Adapter, stream: &[u8], piece_bytes: usize) -> Told {
    listen_as(adapter, &PARAMETERS, Ended::Told, stream, piece_bytes)
}

/// The same of a model with other abilities, and with another end.
pub(crate) fn listen_as(
    adapter: &Adapter,
    parameters: &Parameters<'_>,
    end: Ended,
    stream: &[u8],
    piece_bytes: usize,
) -> Told {
    let mut listener = Listener::new(adapter, &conversation(), parameters);
    let mut told = Told { deltas: Vec::new(), usage: None, end: Err(Kind::Reset) };
    let mut pieces = stream.chunks(piece_bytes);
    loop {
        let heard = listener.hear();
        told.deltas.extend(listener.take());
        told.usage = listener.usage_so_far();
        match heard {
            Ok(None) => match pieces.next() {
                Some(piece) => listener.push(piece),
                None => listener.end(end),
            },
            Ok(Some(Heard::Nothing | Heard::Content)) => {}
            Ok(Some(Heard::End)) => break,
            Err(broken) => {
                told.end = Err(broken.kind(adapter));
                return told;
            }
        }
    }
    told.end = listener.finish().map_err(|malformed| malformed.kind());
    if let Ok(answer) = &told.end {
        let mut blocks = Vec::new();
        for delta in told.deltas.clone() {
            append(&mut blocks, delta);
        }
        assert_eq!(blocks, answer.blocks, "the pieces put together are the answer");
    }
    told
}

#[cfg(test)]
/// As [`listen`], and the same in whatever pieces it comes.
pub(crate) fn told(adapter: &Adapter, stream: &str) -> Told {
    let told = listen(adapter, stream.as_bytes(), 1);
    for piece_bytes in [2, 7, 64, stream.len().max(1)] {
        assert_eq!(listen(adapter, stream.as_bytes(), piece_bytes), told, "pieces of {piece_bytes} bytes");
    }
    told
}
