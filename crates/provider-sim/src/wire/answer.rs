//! Answers with nothing left open.

use serde_json::Value;

use super::Question;
use crate::control::{Reply, StopReason, Usage};

/// Characters of the last user text that an echo repeats.
const ECHO_CHARS: usize = 80;
/// Characters of a streamed piece at most: about a token.
const PIECE_CHARS: usize = 5;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) thinking: Option<String>,
    /// In the pieces of a stream.
    pub(crate) text: Option<Vec<String>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) stop_reason: StopReason,
    pub(crate) usage: Usage,
}

/// A tool that is called.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) input: Value,
}

impl Call {
    /// As they travel in formats that write arguments as text.
    pub(crate) fn arguments(&self) -> String {
        self.input.to_string()
    }
}

impl Answer {
    /// The whole text.
    pub(crate) fn said(&self) -> Option<String> {
        self.text.as_ref().map(|pieces| pieces.concat())
    }
}

impl Question {
    /// Fills in what a scripted reply leaves open.
    pub(crate) fn answer(&self, reply: Reply) -> Answer {
        let calls_nothing = reply.tool_calls.is_empty();
        let chunks = (!reply.chunks.is_empty()).then_some(reply.chunks);
        let text = chunks.or_else(|| reply.text.as_deref().map(pieces));
        let text = text.or_else(|| calls_nothing.then(|| pieces(&self.echo())));
        let usual = if calls_nothing { StopReason::EndTurn } else { StopReason::ToolUse };
        let calls = reply.tool_calls.into_iter();
        let calls = calls.map(|call| Call { name: self.offered(&call.name), input: call.input });
        let mut answer = Answer {
            thinking: reply.thinking,
            text,
            calls: calls.collect(),
            stop_reason: reply.stop_reason.unwrap_or(usual),
            usage: Usage::default(),
        };
        answer.usage = reply.usage.unwrap_or_else(|| self.estimate(&answer));
        answer
    }

    fn estimate(&self, answer: &Answer) -> Usage {
        let chars = |text: &String| text.chars().count();
        let thought = answer.thinking.as_ref().map_or(0, chars);
        let said: usize = answer.text.iter().flatten().map(chars).sum();
        let called: usize = answer.calls.iter().map(|call| call.name.len() + call.arguments().len()).sum();
        let output_tokens = tokens(thought + said + called);
        Usage { input_tokens: tokens(self.prompt_chars), output_tokens, ..Usage::default() }
    }

    fn echo(&self) -> String {
        let heard: String = self.last_text.chars().take(ECHO_CHARS).collect();
        format!("Simulated answer of {} after {} turn(s). Last heard: {heard}", self.model, self.turns)
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
    fn scripted_pieces_are_kept() {
        let chunks = vec!["One ".to_owned(), "and another.".to_owned()];
        let answer = question().answer(Reply { chunks: chunks.clone(), ..Reply::default() });
        assert_eq!(answer.text, Some(chunks));
    }
}
