//! Streamed chunks (<https://platform.openai.com/docs/api-reference/chat-streaming>), with what compatible servers do
//! differently: no ids of calls, no usage, no index, reasoning beside the content.

use serde_json::Value;

use super::{arguments, counted, is_cut_off, read_stop_reason, said, thought};
use crate::chat::{Answer, Delta, Prompt, StopReason, Usage};
use crate::provider::draft::Draft;
use crate::provider::sse::Event;
use crate::provider::stream::{Broken, Heard, Reader};
use crate::provider::{ANSWER_BYTES_MAX, Malformed, Parameters, list};

/// The last event.
const DONE: &str = "[DONE]";

pub(super) fn reader(prompt: &Prompt, parameters: &Parameters<'_>) -> Box<dyn Reader> {
    Box::new(Completion {
        draft: Draft::new(prompt, parameters),
        model: None,
        usage: None,
        calls: Vec::new(),
        has_refused: false,
        stop_reason: None,
        is_over: false,
    })
}

#[derive(Debug)]
struct Completion {
    draft: Draft,
    model: Option<String>,
    usage: Option<Usage>,
    /// Calls that are being written: pieces of several may come by turns, so that none is whole before all are.
    calls: Vec<Call>,
    has_refused: bool,
    stop_reason: Option<StopReason>,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Reader for Completion {
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken> {
        if event.data.trim() == DONE {
            self.is_over = true;
            return Ok(Heard::End);
        }
        let body = event.json()?;
        if is_error(&body) {
            return Err(Broken::Told { status: status(&body), body });
        }
        Ok(self.chunk(&body)?)
    }

    fn take(&mut self) -> Vec<Delta> {
        self.draft.take()
    }

    fn usage_so_far(&self) -> Option<Usage> {
        self.usage
    }

    fn finish(self: Box<Self>) -> Result<Answer, Malformed> {
        if !self.is_over {
            return Err(Malformed::cut());
        }
        let stop_reason =
            self.stop_reason.ok_or_else(|| Malformed::new("the stream ends without a finish reason"))?;
        let model = self.model.ok_or_else(|| Malformed::new("the stream has no text field `model`"))?;
        // Some servers do not count; that is told as zero.
        self.draft.finish(stop_reason, self.usage.unwrap_or_default(), &model)
    }
}

impl Completion {
    fn chunk(&mut self, body: &Value) -> Result<Heard, Malformed> {
        if !body.is_object() {
            return Err(Malformed::new("an event of the stream is no object"));
        }
        if let Some(model) = said(body, "model")?
            && self.model.is_none()
        {
            self.model = Some(model.to_owned());
        }
        if let Some(usage) = body.get("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(counted(usage)?);
        }
        // The chunk with the usage has no choice, and no other choice than the first was asked for.
        let Some(choice) = list(body, "choices")?.first() else { return Ok(Heard::Nothing) };
        let heard = match choice.get("delta").filter(|delta| !delta.is_null()) {
            Some(delta) => self.delta(delta)?,
            None => Heard::Nothing,
        };
        if let Some(word) = said(choice, "finish_reason")? {
            self.finished(word)?;
        }
        Ok(heard)
    }

    fn delta(&mut self, delta: &Value) -> Result<Heard, Malformed> {
        let (thought, content, refusal) = (thought(delta), said(delta, "content")?, said(delta, "refusal")?);
        let calls = list(delta, "tool_calls")?;
        if thought.is_none() && content.is_none() && refusal.is_none() && calls.is_empty() {
            return Ok(Heard::Nothing);
        }
        if self.stop_reason.is_some() {
            return Err(Malformed::new("the stream goes on after its finish reason"));
        }
        self.draft.thinking(thought.unwrap_or_default(), "")?;
        self.draft.text(content.unwrap_or_default())?;
        self.draft.text(refusal.unwrap_or_default())?;
        self.has_refused |= refusal.is_some();
        for call in calls {
            self.piece(call)?;
        }
        Ok(Heard::Content)
    }

    fn piece(&mut self, piece: &Value) -> Result<(), Malformed> {
        let index = match piece.get("index") {
            None | Some(Value::Null) => None,
            Some(index) => {
                let index = index.as_u64();
                Some(index.ok_or_else(|| Malformed::new("the index of a tool call is no count"))?)
            }
        };
        let id = said(piece, "id")?;
        let function = piece.get("function").unwrap_or(&Value::Null);
        let name = said(function, "name")?;
        let call = self.call_of(index, id, name);
        if let Some(name) = name
            && call.name.is_empty()
        {
            name.clone_into(&mut call.name);
        }
        match function.get("arguments") {
            None | Some(Value::Null) => {}
            Some(Value::String(piece)) => call.arguments.push_str(piece),
            Some(whole @ Value::Object(_)) => call.arguments.push_str(&whole.to_string()),
            Some(_) => return Err(Malformed::new("the arguments of a tool call are no text")),
        }
        let bytes: usize = self.calls.iter().map(|call| call.arguments.len()).sum();
        if bytes > ANSWER_BYTES_MAX {
            return Err(Malformed::new("the arguments of the tool calls are too long"));
        }
        Ok(())
    }

    /// The call that a piece belongs to. Where servers leave the index out, a name that comes with another id, or
    /// with none, begins a new one.
    fn call_of(&mut self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> &mut Call {
        let at = match index {
            Some(_) => self.calls.iter().position(|call| call.index == index),
            None if name.is_some() => {
                id.and_then(|id| self.calls.iter().position(|call| call.id.as_deref() == Some(id)))
            }
            None => self.calls.len().checked_sub(1),
        };
        let at = at.unwrap_or_else(|| {
            self.calls.push(Call { index, id: id.map(str::to_owned), ..Call::default() });
            self.calls.len() - 1
        });
        &mut self.calls[at]
    }

    fn finished(&mut self, word: &str) -> Result<(), Malformed> {
        let calls = std::mem::take(&mut self.calls);
        let count = calls.len();
        for (at, call) in calls.into_iter().enumerate() {
            let said_arguments = Value::String(call.arguments);
            if is_cut_off(word, at + 1 == count, Some(&said_arguments)) {
                break;
            }
            self.draft.call(call.id.as_deref(), &call.name, arguments(Some(&said_arguments))?)?;
        }
        self.stop_reason = Some(match self.has_refused {
            true => StopReason::Refusal,
            false => read_stop_reason(word, self.draft.has_calls())?,
        });
        Ok(())
    }
}

/// An error instead of a chunk; some servers leave out the `error` around it, as in their answers.
fn is_error(body: &Value) -> bool {
    let named = body.get("error").is_some_and(|error| !error.is_null());
    named || body.get("object").and_then(Value::as_str) == Some("error")
}

/// The status that the error has as an answer of its own: a code that is one, else what the documented words stand for
/// (<https://platform.openai.com/docs/guides/error-codes>). Any other is the server's failure.
fn status(body: &Value) -> u16 {
    let at = |field: &str| [format!("/error/{field}"), format!("/{field}")];
    let found = |field| at(field).iter().find_map(|pointer| body.pointer(pointer).cloned());
    let words = ["code", "type"].into_iter().filter_map(found);
    words.into_iter().find_map(|word| status_of(&word)).unwrap_or(500)
}

fn status_of(word: &Value) -> Option<u16> {
    if let Some(status) = word.as_u64() {
        return u16::try_from(status).ok().filter(|status| (400..600).contains(status));
    }
    match word.as_str()? {
        "context_length_exceeded" | "exceed_context_size_error" => Some(400),
        "invalid_api_key" | "authentication_error" => Some(401),
        "insufficient_quota" | "rate_limit_exceeded" | "rate_limit_error" => Some(429),
        "permission_error" => Some(403),
        "model_not_found" | "not_found_error" => Some(404),
        "invalid_request_error" => Some(400),
        "service_unavailable" | "overloaded_error" | "unavailable_error" => Some(503),
        "server_error" | "api_error" => Some(500),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Block, Thinking, ToolUse};
    use crate::failure::Kind;
    use crate::provider::openai::OPENAI;
    use crate::provider::samples::{object, told};
    use serde_json::json;

    fn stream(chunks: impl IntoIterator<Item = Value>) -> String {
        chunks.into_iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
    }

    fn chunk(delta: Value) -> Value {
        json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_770_000_000,
            "model": "model-x-2026", "usage": null,
            "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": null }],
        })
    }

    fn finish(reason: &str) -> Value {
        let mut chunk = chunk(json!({}));
        chunk["choices"][0]["finish_reason"] = json!(reason);
        chunk
    }

    fn usage() -> Value {
        let mut chunk = chunk(json!({}));
        chunk["choices"] = json!([]);
        chunk["usage"] = json!({
            "prompt_tokens": 542, "completion_tokens": 89, "total_tokens": 631,
            "prompt_tokens_details": { "cached_tokens": 500, "audio_tokens": 0 },
            "completion_tokens_details": { "reasoning_tokens": 64 },
        });
        chunk
    }

    fn role() -> Value {
        chunk(json!({ "role": "assistant", "content": "", "refusal": null }))
    }

    fn say(words: &str) -> Value {
        chunk(json!({ "content": words }))
    }

    fn call(piece: Value) -> Value {
        chunk(json!({ "tool_calls": [piece] }))
    }

    /// As OpenAI sends a call: first who, then piece by piece what with.
    fn calls(index: u64, pieces: &[&str]) -> Vec<Value> {
        let first = json!({
            "index": index, "id": format!("call_{index}"), "type": "function",
            "function": { "name": "fs_read", "arguments": "" },
        });
        let pieces =
            pieces.iter().map(|piece| call(json!({ "index": index, "function": { "arguments": piece } })));
        [call(first)].into_iter().chain(pieces).collect()
    }

    fn whole(chunks: impl IntoIterator<Item = Value>, reason: &str) -> String {
        let chunks = [role()].into_iter().chain(chunks).chain([finish(reason), usage()]);
        stream(chunks) + "data: [DONE]\n\n"
    }

    fn wanted(id: &str, input: Value) -> ToolUse {
        ToolUse { id: id.into(), name: "fs.read".into(), input: object(input) }
    }

    #[test]
    fn a_stream_is_read_piece_by_piece() {
        let chunks = [
            vec![say("Gr\u{fc}"), say("n \u{1f33f}")],
            calls(0, &["{\"pa", "th\": \"b.md\"}"]),
            calls(1, &["{\"path\": \"c.md\"}"]),
        ];
        let told = told(&OPENAI, &whole(chunks.concat(), "tool_calls"));
        let (first, second) =
            (wanted("call_0", json!({ "path": "b.md" })), wanted("call_1", json!({ "path": "c.md" })));
        let expected = [
            Delta::Text("Gr\u{fc}".into()),
            Delta::Text("n \u{1f33f}".into()),
            Delta::ToolUse(first.clone()),
            Delta::ToolUse(second.clone()),
        ];
        assert_eq!(told.deltas, expected);
        let answer = told.end.expect("an answer");
        let text = Block::Text("Gr\u{fc}n \u{1f33f}".into());
        assert_eq!(answer.blocks, [text, Block::ToolUse(first), Block::ToolUse(second)]);
        assert_eq!(
            (answer.stop_reason, answer.provider_model.as_str()),
            (StopReason::ToolUse, "model-x-2026")
        );
        let usage = Usage {
            input_tokens: 542,
            output_tokens: 89,
            cache_read_input_tokens: 500,
            cache_creation_input_tokens: 0,
            reasoning_output_tokens: 64,
        };
        assert_eq!((answer.usage, told.usage), (usage, Some(usage)));
    }

    #[test]
    fn a_stream_without_its_last_word_is_no_answer() {
        let whole = whole([say("Half"), say(" done")], "stop");
        let events: Vec<&str> = whole.split_inclusive("\n\n").collect();
        for kept in 0..events.len() {
            let told = told(&OPENAI, &events[..kept].concat());
            assert_eq!(told.end, Err(Kind::Reset), "{kept} events");
            assert_eq!(told.usage.is_some(), kept == events.len() - 1);
        }
        let no_reason = stream([role(), say("Half")]) + "data: [DONE]\n\n";
        assert_eq!(told(&OPENAI, &no_reason).end, Err(Kind::Malformed), "a last word and no finish reason");
    }

    #[test]
    fn what_other_servers_do_differently_is_read_too() {
        let two = json!({ "tool_calls": [
            { "function": { "name": "fs_read", "arguments": "{\"path\": \"b.md\"}" } },
            { "function": { "name": "fs_read", "arguments": { "path": "c.md" } } },
        ] });
        let named = |id: &str, piece: &str| {
            call(json!({ "id": id, "function": { "name": "fs_read", "arguments": piece } }))
        };
        let by_turns = [
            calls(0, &["{\"path\": "]),
            calls(1, &["{\"path\": \"c"]),
            vec![call(json!({ "index": 0, "function": { "arguments": "\"b.md\"}" } }))],
            vec![call(json!({ "index": 1, "function": { "arguments": ".md\"}" } }))],
        ];
        let cases = [
            ("neither index nor id", vec![chunk(two)], ["call_a1_0", "call_a1_1"]),
            (
                "the name in each piece",
                vec![named("x", "{\"path\""), named("x", ": \"b.md\"}"), named("y", "{\"path\": \"c.md\"}")],
                ["x", "y"],
            ),
            ("pieces by turns", by_turns.concat(), ["call_0", "call_1"]),
            (
                "an id that the conversation has already",
                vec![named("t1", "{\"path\": \"b.md\"}"), named("y", "{\"path\": \"c.md\"}")],
                ["call_a1_0", "y"],
            ),
        ];
        for (what, chunks, [first, second]) in cases {
            let answer = told(&OPENAI, &whole(chunks, "stop")).end.expect(what);
            let expected =
                [wanted(first, json!({ "path": "b.md" })), wanted(second, json!({ "path": "c.md" }))];
            assert_eq!(answer.blocks, expected.map(Block::ToolUse), "{what}");
            assert_eq!(answer.stop_reason, StopReason::ToolUse, "{what}");
        }
        let uncounted = stream([say("Hi"), finish("stop")]) + "data:[DONE]\n\n";
        let answer = told(&OPENAI, &uncounted).end.expect("an answer");
        assert_eq!(answer.usage, Usage::default());
    }

    #[test]
    fn reasoning_is_thinking_under_both_of_its_names() {
        for field in ["reasoning_content", "reasoning"] {
            let chunks = [
                chunk(json!({ field: "Let me ", "content": null })),
                chunk(json!({ field: "see." })),
                say("So."),
            ];
            let answer = told(&OPENAI, &whole(chunks, "stop")).end.expect("an answer");
            let thinking = Thinking { text: "Let me see.".into(), signature: String::new() };
            assert_eq!(answer.blocks, [Block::Thinking(thinking), Block::Text("So.".into())], "{field}");
        }
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let refused = [chunk(json!({ "refusal": "I can" })), chunk(json!({ "refusal": "not." }))];
        for (chunks, reason, words) in
            [(refused.to_vec(), "stop", "I cannot."), (vec![say("Half")], "content_filter", "Half")]
        {
            let answer = told(&OPENAI, &whole(chunks, reason)).end.expect("an answer");
            assert_eq!(
                (answer.stop_reason, answer.blocks),
                (StopReason::Refusal, vec![Block::Text(words.into())])
            );
        }
    }

    #[test]
    fn an_error_in_the_stream_is_the_error_it_had_been_as_an_answer() {
        let cases = [
            (json!({ "error": { "code": "rate_limit_exceeded", "message": "m" } }), Kind::RateLimited),
            (json!({ "error": { "code": "insufficient_quota", "message": "m" } }), Kind::Quota),
            (json!({ "error": { "type": "server_error", "code": null, "message": "m" } }), Kind::ServerError),
            (json!({ "error": { "message": "boom" } }), Kind::ServerError),
            (json!({ "error": "boom" }), Kind::ServerError),
            // OpenRouter gives the status, and goes on with a choice.
            (
                json!({ "error": { "code": 503, "message": "m" }, "choices": [{ "finish_reason": "error" }] }),
                Kind::Overloaded,
            ),
            (json!({ "error": { "code": 401, "message": "m" } }), Kind::Unauthenticated),
            // vLLM.
            (
                json!({ "object": "error", "message": "This model's maximum context length is 8 tokens.", "code": 400 }),
                Kind::ContextLength,
            ),
            // llama.cpp.
            (
                json!({ "error": { "code": 400, "type": "exceed_context_size_error", "message": "m" } }),
                Kind::ContextLength,
            ),
        ];
        for (error, kind) in cases {
            let told = told(&OPENAI, &stream([role(), say("Half"), error.clone()]));
            assert_eq!((told.end, told.deltas), (Err(kind), vec![Delta::Text("Half".into())]), "{error}");
        }
    }

    #[test]
    fn a_call_is_given_out_only_when_it_is_whole_and_offered() {
        let unoffered = json!({ "index": 0, "id": "c", "function": { "name": "rm", "arguments": "{}" } });
        let same =
            json!({ "index": 1, "id": "call_0", "function": { "name": "fs_read", "arguments": "{}" } });
        let cases = [
            ("no JSON", calls(0, &["{\"path\":"]), "tool_calls", Kind::Unfit),
            ("no object", calls(0, &["[1]"]), "tool_calls", Kind::Unfit),
            ("not offered", vec![call(unoffered)], "tool_calls", Kind::Unfit),
            ("one id twice", [calls(0, &["{}"]), vec![call(same)]].concat(), "tool_calls", Kind::Unfit),
            ("none", vec![], "tool_calls", Kind::Malformed),
            ("a reason that is not known", vec![say("x")], "bored", Kind::Unfit),
        ];
        for (what, chunks, reason, kind) in cases {
            let told = told(&OPENAI, &whole(chunks, reason));
            assert_eq!(told.end, Err(kind), "{what}");
            assert!(told.deltas.len() <= 1, "{what}: {:?}", told.deltas);
        }
    }

    #[test]
    fn a_call_that_the_limit_cut_off_is_left_out() {
        for pieces in [&["{\"path\": \"b"][..], &[]] {
            let answer = told(&OPENAI, &whole(calls(0, pieces), "length")).end.expect("an answer");
            assert_eq!((answer.blocks, answer.stop_reason), (vec![], StopReason::MaxTokens));
        }
        let both = [calls(0, &["{\"path\": \"b.md\"}"]), calls(1, &["{"])].concat();
        let answer = told(&OPENAI, &whole(both, "length")).end.expect("an answer");
        assert_eq!(answer.blocks, [Block::ToolUse(wanted("call_0", json!({ "path": "b.md" })))]);
    }

    #[test]
    fn what_breaks_the_format_is_malformed() {
        let cases = [
            json!(7),
            json!({ "choices": 7 }),
            chunk(json!({ "content": 7 })),
            chunk(json!({ "tool_calls": {} })),
            call(json!({ "index": -1, "function": { "name": "fs_read" } })),
            call(json!({ "index": 0, "function": { "name": "fs_read", "arguments": 7 } })),
            json!({ "choices": [], "usage": { "prompt_tokens": "many" } }),
        ];
        for case in cases {
            let told = told(&OPENAI, &whole([case.clone()], "stop"));
            assert_eq!(told.end, Err(Kind::Malformed), "{case}");
        }
        let told_after = told(&OPENAI, &whole([say("x"), finish("stop"), say("y")], "stop"));
        assert_eq!(told_after.end, Err(Kind::Malformed), "it goes on after its finish reason");
        assert_eq!(told(&OPENAI, "data: {\"choices\": [\n\n").end, Err(Kind::Malformed));
    }
}
