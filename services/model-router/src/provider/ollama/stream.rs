//! Streamed lines (<https://docs.ollama.com/api/streaming>): each is an answer of its own, whose content goes on from
//! the line before, and the last one says that it is the last.

use serde_json::Value;

use super::{Said, counted, read_stop_reason};
use crate::chat::{Answer, Delta, Prompt, StopReason, Usage};
use crate::provider::draft::Draft;
use crate::provider::sse::Event;
use crate::provider::stream::{Broken, Heard, Reader};
use crate::provider::{Malformed, Parameters, text};

pub(super) fn reader(prompt: &Prompt, parameters: &Parameters<'_>) -> Box<dyn Reader> {
    Box::new(Lines { draft: Draft::new(prompt, parameters), end: None })
}

#[derive(Debug)]
struct Lines {
    draft: Draft,
    /// Known from the last line.
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    model: String,
    usage: Usage,
    stop_reason: StopReason,
}

impl Reader for Lines {
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken> {
        let body = event.json()?;
        if body.get("error").is_some_and(|error| !error.is_null()) {
            // The format tells an error in a stream by words alone.
            return Err(Broken::Told { status: 500, body });
        }
        Ok(self.line(&body)?)
    }

    fn take(&mut self) -> Vec<Delta> {
        self.draft.take()
    }

    fn usage_so_far(&self) -> Option<Usage> {
        self.end.as_ref().map(|end| end.usage)
    }

    fn finish(self: Box<Self>) -> Result<Answer, Malformed> {
        let End { model, usage, stop_reason } = self.end.ok_or_else(Malformed::cut)?;
        self.draft.finish(stop_reason, usage, &model)
    }
}

impl Lines {
    fn line(&mut self, body: &Value) -> Result<Heard, Malformed> {
        let said = Said::read(body)?;
        said.add_to(&mut self.draft)?;
        if body.get("done").and_then(Value::as_bool) == Some(true) {
            let word = body.get("done_reason").and_then(Value::as_str);
            self.end = Some(End {
                model: text(body, "model")?.to_owned(),
                usage: counted(body)?,
                stop_reason: read_stop_reason(word, self.draft.has_calls())?,
            });
            return Ok(Heard::End);
        }
        Ok(if said.is_empty() { Heard::Nothing } else { Heard::Content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Block, Thinking, ToolUse};
    use crate::failure::Kind;
    use crate::provider::ollama::ADAPTER;
    use crate::provider::samples::{object, told};
    use serde_json::json;

    fn stream(lines: impl IntoIterator<Item = Value>) -> String {
        lines.into_iter().map(|line| format!("{line}\n")).collect()
    }

    fn line(message: Value) -> Value {
        let mut line = json!({
            "model": "model-x", "created_at": "2026-05-09T12:00:00Z",
            "message": { "role": "assistant", "content": "" }, "done": false,
        });
        for (field, value) in object(message) {
            line["message"][field] = value;
        }
        line
    }

    fn say(words: &str) -> Value {
        line(json!({ "content": words }))
    }

    fn call(name: &str, arguments: Value) -> Value {
        line(json!({ "tool_calls": [{ "function": { "name": name, "arguments": arguments } }] }))
    }

    fn done(reason: &str) -> Value {
        let mut line = say("");
        line["done"] = json!(true);
        line["done_reason"] = json!(reason);
        line["prompt_eval_count"] = json!(12);
        line["eval_count"] = json!(5);
        line
    }

    #[test]
    fn a_stream_is_read_line_by_line() {
        let lines = [
            line(json!({ "thinking": "Let me " })),
            line(json!({ "thinking": "see." })),
            say("Gr\u{fc}"),
            say("n \u{1f33f}"),
            call("fs.read", json!({ "path": "b.md" })),
            call("fs.read", json!({})),
            done("stop"),
        ];
        let told = told(&ADAPTER, &stream(lines));
        let thinking = |text: &str| Thinking { text: text.into(), signature: String::new() };
        let call = |at: u32, input: Value| ToolUse {
            id: format!("call_a1_{at}"),
            name: "fs.read".into(),
            input: object(input),
        };
        let (first, second) = (call(0, json!({ "path": "b.md" })), call(1, json!({})));
        let expected = [
            Delta::Thinking(thinking("Let me ")),
            Delta::Thinking(thinking("see.")),
            Delta::Text("Gr\u{fc}".into()),
            Delta::Text("n \u{1f33f}".into()),
            Delta::ToolUse(first.clone()),
            Delta::ToolUse(second.clone()),
        ];
        assert_eq!(told.deltas, expected);
        let answer = told.end.expect("an answer");
        let blocks = [
            Block::Thinking(thinking("Let me see.")),
            Block::Text("Gr\u{fc}n \u{1f33f}".into()),
            Block::ToolUse(first),
            Block::ToolUse(second),
        ];
        assert_eq!(answer.blocks, blocks);
        assert_eq!((answer.stop_reason, answer.provider_model.as_str()), (StopReason::ToolUse, "model-x"));
        assert_eq!(answer.usage, Usage { input_tokens: 12, output_tokens: 5, ..Usage::default() });
    }

    #[test]
    fn a_stream_without_its_last_line_is_no_answer() {
        let lines = [say("Half"), say(" done"), done("stop")];
        for kept in 0..lines.len() {
            let told = told(&ADAPTER, &stream(lines[..kept].to_vec()));
            assert_eq!((told.end, told.usage), (Err(Kind::Reset), None), "{kept} lines");
        }
        let unended = stream(lines);
        let answer = told(&ADAPTER, unended.trim_end()).end.expect("the last line needs no end");
        assert_eq!(answer.blocks, [Block::Text("Half done".into())]);
        let cut = &unended[..unended.len() - 3];
        assert_eq!(told(&ADAPTER, cut).end, Err(Kind::Malformed), "the last line is cut");
    }

    #[test]
    fn a_plain_answer_is_a_stream_of_one_line() {
        let mut only = done("length");
        only["message"]["content"] = json!("All of it");
        let answer = told(&ADAPTER, &only.to_string()).end.expect("an answer");
        assert_eq!(answer.blocks, [Block::Text("All of it".into())]);
        assert_eq!(answer.stop_reason, StopReason::MaxTokens);
    }

    #[test]
    fn an_error_in_the_stream_is_the_error_it_had_been_as_an_answer() {
        let cases = [
            ("an error was encountered while running the model", Kind::ServerError),
            ("input length exceeds the context length", Kind::ContextLength),
        ];
        for (words, kind) in cases {
            let told = told(&ADAPTER, &stream([say("Half"), json!({ "error": words })]));
            assert_eq!((told.end, told.deltas), (Err(kind), vec![Delta::Text("Half".into())]), "{words}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_by_whose_fault_it_is() {
        let cases = [
            (call("rm", json!({})), Kind::Unfit),
            (call("fs.read", json!("{}")), Kind::Unfit),
            (json!({ "model": "model-x", "done": false }), Kind::Malformed),
            (line(json!({ "content": 7 })), Kind::Malformed),
            (line(json!({ "thinking": 7 })), Kind::Malformed),
            (line(json!({ "tool_calls": {} })), Kind::Malformed),
            (json!([]), Kind::Malformed),
            (done("load"), Kind::Unfit),
        ];
        for (line, kind) in cases {
            let told = told(&ADAPTER, &stream([line.clone(), done("stop")]));
            assert_eq!(told.end, Err(kind), "{line}");
        }
        assert_eq!(told(&ADAPTER, "garbage\n").end, Err(Kind::Malformed));
    }
}
