//! Answers with nothing left open.

use serde_json::{Value, json};

use super::question::{Question, Shape};
use super::schema::smallest;
use crate::control::{Reply, StopReason, Usage};

/// Characters of the last user text that an echo repeats.
const ECHO_CHARS: usize = 80;
/// Characters of a streamed piece at most: about a token.
const PIECE_CHARS: usize = 5;

/// An answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) thinking: Option<String>,
    /// In the pieces of a stream.
    pub(crate) text: Option<Vec<String>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) stop_reason: StopReason,
    /// The text before which it stopped.
    pub(crate) stop_sequence: Option<String>,
    pub(crate) usage: Usage,
}

/// A tool that is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Counts the calls of an answer, and tells their ids apart.
    pub(crate) number: usize,
    pub(crate) arguments: Arguments,
}

/// What a tool is called with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Arguments {
    Json(Value),
    /// Text that is no JSON.
    Raw(String),
}

impl Arguments {
    /// For formats that write them as text.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Json(value) => value.to_string(),
            Self::Raw(text) => text.clone(),
        }
    }

    /// For formats that write them as JSON.
    pub(crate) fn value(&self) -> Value {
        match self {
            Self::Json(value) => value.clone(),
            Self::Raw(text) => json!(text),
        }
    }
}

impl Answer {
    /// The whole text.
    pub(crate) fn said(&self) -> Option<String> {
        self.text.as_ref().map(|pieces| pieces.concat())
    }
}

impl Question {
    /// Fills in what a scripted reply leaves open. A reply that says nothing at all is an echo, which does what the
    /// request asks for.
    pub(crate) fn answer(&self, reply: Reply) -> Answer {
        let says_nothing = reply.text.is_none() && reply.chunks.is_empty() && reply.tool_calls.is_empty();
        let mut answer = if says_nothing { self.echo() } else { self.scripted(&reply) };
        if let Some(thinking) = reply.thinking {
            answer.thinking = Some(thinking);
        }
        if let Some(stop_reason) = reply.stop_reason {
            answer.stop_reason = stop_reason;
        }
        if answer.stop_reason == StopReason::StopSequence && answer.stop_sequence.is_none() {
            answer.stop_sequence = self.stop.first().cloned();
        }
        answer.usage = reply.usage.unwrap_or_else(|| self.estimate(&answer));
        answer
    }

    /// Tokens that such an answer takes.
    pub(super) fn estimate(&self, answer: &Answer) -> Usage {
        let chars = |text: &String| text.chars().count();
        let thought = answer.thinking.as_ref().map_or(0, chars);
        let said: usize = answer.text.iter().flatten().map(chars).sum();
        let called = answer.calls.iter().map(|call| call.name.len() + call.arguments.text().len());
        let output_tokens = tokens(thought + said + called.sum::<usize>());
        Usage { input_tokens: self.prompt_tokens(), output_tokens, ..Usage::default() }
    }

    pub(super) fn prompt_tokens(&self) -> u64 {
        tokens(self.prompt_chars)
    }

    fn scripted(&self, reply: &Reply) -> Answer {
        let chunks = (!reply.chunks.is_empty()).then(|| reply.chunks.clone());
        let calls = reply.tool_calls.iter().enumerate().map(|(number, call)| Call {
            name: self.offered(&call.name),
            number,
            arguments: Arguments::Json(call.input.clone()),
        });
        let calls: Vec<Call> = calls.collect();
        let stop_reason = if calls.is_empty() { StopReason::EndTurn } else { StopReason::ToolUse };
        let text = chunks.or_else(|| reply.text.as_deref().map(pieces));
        Answer { text, calls, stop_reason, ..Answer::default() }
    }

    fn echo(&self) -> Answer {
        let thinking = self.thinks.then(|| "Simulated thinking.".to_owned());
        if let Some(tool) = self.forced() {
            let arguments = Arguments::Json(smallest(&tool.schema));
            let calls = vec![Call { name: tool.name.clone(), number: 0, arguments }];
            return Answer { thinking, calls, stop_reason: StopReason::ToolUse, ..Answer::default() };
        }
        let text = match &self.shape {
            Shape::Text => self.summary(),
            Shape::Object => json!({ "echo": self.summary() }).to_string(),
            Shape::Schema(schema) => smallest(schema).to_string(),
        };
        let (text, stop_sequence) = self.cut(text);
        let stop_reason =
            if stop_sequence.is_some() { StopReason::StopSequence } else { StopReason::EndTurn };
        Answer { thinking, text: Some(pieces(&text)), stop_reason, stop_sequence, ..Answer::default() }
    }

    fn summary(&self) -> String {
        let heard: String = self.last_text.chars().take(ECHO_CHARS).collect();
        format!("Simulated answer of {} after {} turn(s). Last heard: {heard}", self.model, self.turns)
    }

    /// Ends a text before the first stop sequence in it.
    fn cut(&self, mut text: String) -> (String, Option<String>) {
        let found = self.stop.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop)));
        let Some((at, stop)) = found.min_by_key(|(at, _)| *at) else { return (text, None) };
        text.truncate(at);
        (text, Some(stop.clone()))
    }

    fn offered(&self, name: &str) -> String {
        let mut names = self.tools.iter().map(|tool| tool.name.as_str());
        let alike = |offered: &&str| *offered == name.replace('.', "_");
        let found = names.clone().find(|offered| *offered == name).or_else(|| names.find(alike));
        found.unwrap_or(name).to_owned()
    }
}

/// Cuts text as a stream does. What can be cut at all comes in two pieces at least, so that every stream has a middle.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(2).clamp(1, PIECE_CHARS);
    chars.chunks(size).map(|piece| piece.iter().collect()).collect()
}

/// The usual estimate: four characters a token.
fn tokens(chars: usize) -> u64 {
    u64::try_from(chars / 4).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ToolCall;
    use crate::wire::question::samples::question;
    use crate::wire::question::{Choice, Offered};
    use serde_json::json;

    #[test]
    fn the_default_answer_repeats_what_was_heard_and_counts_tokens() {
        let answer = question().answer(Reply::default());
        assert!(answer.said().is_some_and(|text| text.ends_with("Last heard: hello")));
        assert_eq!((answer.stop_reason, answer.usage.input_tokens), (StopReason::EndTurn, 10));
    }

    #[test]
    fn scripted_tools_are_called_by_the_names_that_were_offered() {
        for (scripted, called) in [("fs.read", "fs_read"), ("web.get", "web.get"), ("gone", "gone")] {
            let tool_calls = vec![ToolCall { name: scripted.into(), input: json!({}) }];
            let answer = question().answer(Reply { tool_calls, ..Reply::default() });
            assert_eq!(answer.calls[0].name, called);
            assert_eq!((answer.text, answer.stop_reason), (None, StopReason::ToolUse));
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_nothing_is_lost() {
        for (text, cut) in [
            ("", vec![]),
            ("é", vec!["é"]),
            ("No.", vec!["No", "."]),
            ("日本語です", vec!["日本語", "です"]),
            ("twelve chars", vec!["twelv", "e cha", "rs"]),
        ] {
            assert_eq!(pieces(text), cut, "{text}");
        }
    }

    #[test]
    fn an_echo_does_what_the_request_asks_for() {
        let schema =
            json!({ "type": "object", "required": ["path"], "properties": { "path": { "type": "string" } } });
        let tools = vec![Offered { name: "fs_read".into(), schema: schema.clone() }];
        let forced = Question { tools: tools.clone(), choice: Choice::Forced, ..question() };
        let named = Question { tools, choice: Choice::Named("fs_read".into()), thinks: true, ..question() };
        for question in [forced, named] {
            let answer = question.answer(Reply::default());
            assert_eq!((answer.text, answer.stop_reason), (None, StopReason::ToolUse));
            assert_eq!(answer.calls[0].arguments, Arguments::Json(json!({ "path": "" })));
            assert_eq!(answer.thinking.is_some(), question.thinks);
        }
        let shaped = Question { shape: Shape::Schema(schema), ..question() };
        assert_eq!(shaped.answer(Reply::default()).said().as_deref(), Some(r#"{"path":""}"#));
    }

    #[test]
    fn an_echo_ends_before_the_first_stop_sequence() {
        let question = Question { stop: vec!["heard".into(), " of m".into(), "absent".into()], ..question() };
        let answer = question.answer(Reply::default());
        assert_eq!(answer.said().as_deref(), Some("Simulated answer"));
        assert_eq!(
            (answer.stop_reason, answer.stop_sequence.as_deref()),
            (StopReason::StopSequence, Some(" of m"))
        );
        let scripted = question.answer(Reply { text: Some("heard".into()), ..Reply::default() });
        assert_eq!((scripted.said().as_deref(), scripted.stop_sequence), (Some("heard"), None));
    }

    #[test]
    fn scripted_pieces_are_kept() {
        let chunks = vec!["One ".to_owned(), "and another.".to_owned()];
        let answer = question().answer(Reply { chunks: chunks.clone(), ..Reply::default() });
        assert_eq!(answer.text, Some(chunks));
    }
}
