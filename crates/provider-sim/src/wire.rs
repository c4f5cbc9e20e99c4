//! The providers' wire formats, seen from their side. Pure: bytes in, JSON out.

pub(crate) mod anthropic;
pub(crate) mod ollama;
pub(crate) mod openai;

use serde_json::Value;

use crate::control::{Reply, StopReason, Usage};

/// Characters of the last user text that an echo repeats.
const ECHO_CHARS: usize = 80;

/// Which provider is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    Anthropic,
    Ollama,
    OpenAi,
}

/// What the simulator understands of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    pub(crate) model: String,
    /// The last text that the user said, or a tool answered.
    pub(crate) last_text: String,
    pub(crate) turns: usize,
    /// Characters of the whole prompt.
    pub(crate) prompt_chars: usize,
    /// Names of the offered tools.
    pub(crate) tools: Vec<String>,
}

/// A request that the provider would refuse, with the status it would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Refused {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// An answer with nothing left open.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) text: Option<String>,
    /// Name and input.
    pub(crate) tool_calls: Vec<(String, Value)>,
    pub(crate) stop_reason: StopReason,
    pub(crate) usage: Usage,
}

impl Question {
    /// Fills in what a scripted reply leaves open.
    pub(crate) fn answer(&self, reply: Reply) -> Answer {
        let no_tools = reply.tool_calls.is_empty();
        let text = reply.text.or_else(|| no_tools.then(|| self.echo()));
        let stop_reason =
            reply.stop_reason.unwrap_or(if no_tools { StopReason::EndTurn } else { StopReason::ToolUse });
        let tool_calls: Vec<(String, Value)> =
            reply.tool_calls.into_iter().map(|call| (self.offered(&call.name), call.input)).collect();
        let said = text.as_ref().map_or(0, |text| text.chars().count())
            + tool_calls.iter().map(|(name, input)| name.len() + input.to_string().len()).sum::<usize>();
        let usage = reply
            .usage
            .unwrap_or(Usage { input_tokens: tokens(self.prompt_chars), output_tokens: tokens(said) });
        Answer { text, tool_calls, stop_reason, usage }
    }

    fn echo(&self) -> String {
        let heard: String = self.last_text.chars().take(ECHO_CHARS).collect();
        format!("Simulated answer of {} after {} turn(s). Last heard: {heard}", self.model, self.turns)
    }

    fn offered(&self, name: &str) -> String {
        let same = |offered: &&String| offered.as_str() == name;
        let alike = |offered: &&String| **offered == name.replace('.', "_");
        let found = self.tools.iter().find(same).or_else(|| self.tools.iter().find(alike));
        found.cloned().unwrap_or_else(|| name.to_owned())
    }
}

/// The usual estimate: four characters a token.
fn tokens(chars: usize) -> u64 {
    u64::try_from(chars / 4).unwrap_or(u64::MAX).max(1)
}

/// The field as text; none when it is missing, empty or something else.
fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ToolCall;
    use serde_json::json;

    fn question() -> Question {
        Question {
            model: "m".into(),
            last_text: "hello".into(),
            turns: 1,
            prompt_chars: 40,
            tools: vec!["fs_read".into(), "web.get".into()],
        }
    }

    #[test]
    fn the_default_answer_repeats_what_was_heard_and_counts_tokens() {
        let answer = question().answer(Reply::default());
        assert!(answer.text.is_some_and(|text| text.ends_with("Last heard: hello")));
        assert_eq!((answer.stop_reason, answer.usage.input_tokens), (StopReason::EndTurn, 10));
    }

    #[test]
    fn scripted_tools_are_called_by_the_names_that_were_offered() {
        for (scripted, called) in [("fs.read", "fs_read"), ("web.get", "web.get"), ("gone", "gone")] {
            let tool_calls = vec![ToolCall { name: scripted.into(), input: json!({}) }];
            let answer = question().answer(Reply { tool_calls, ..Reply::default() });
            assert_eq!(answer.tool_calls[0].0, called);
            assert_eq!((answer.text, answer.stop_reason), (None, StopReason::ToolUse));
        }
    }
}
