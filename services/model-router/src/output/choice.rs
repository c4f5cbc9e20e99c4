//! Whether a model called tools as the request lets it. Pure.
//!
//! Providers are told of the choice, and some of the servers that speak their formats do not heed it.

use crate::chat::{Answer, Block, StopReason, ToolChoice, ToolChoiceMode};

/// How the calls of an answer, taken together, are not what was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Breach {
    /// It calls, and may not.
    Called,
    /// It calls another tool than the one that is named.
    CalledOther,
    /// It calls more than once, and may call once.
    CalledAgain,
    /// It calls nothing, and has to.
    CalledNone,
}

/// What is wrong; none: nothing is. An answer that was cut off, or is a refusal, says so by how it ended, and asking again
/// would end it the same way: it need not have come to its call.
pub(super) fn breach(choice: &ToolChoice, answer: &Answer) -> Option<Breach> {
    let names = called(answer);
    let is_other = |named: &String| names.iter().any(|name| name != named);
    match &choice.mode {
        ToolChoiceMode::Never if !names.is_empty() => Some(Breach::Called),
        ToolChoiceMode::Required | ToolChoiceMode::Named(_)
            if names.is_empty() && ended_by_itself(answer.stop_reason) =>
        {
            Some(Breach::CalledNone)
        }
        ToolChoiceMode::Named(named) if is_other(named) => Some(Breach::CalledOther),
        ToolChoiceMode::Auto
        | ToolChoiceMode::Never
        | ToolChoiceMode::Required
        | ToolChoiceMode::Named(_) => (choice.single_call && names.len() > 1).then_some(Breach::CalledAgain),
    }
}

impl Breach {
    /// Without a piece of the answer.
    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Called => "the model called a tool where it may call none",
            Self::CalledOther => "the model called another tool than the one that is named",
            Self::CalledAgain => "the model called tools more than once in a turn that may hold one call",
            Self::CalledNone => "the model called no tool where it has to",
        }
    }

    /// For the model.
    pub(super) fn problem(self) -> &'static str {
        match self {
            Self::Called => "you called a tool, and may call none now",
            Self::CalledOther => "you called another tool than the one that you have to call",
            Self::CalledAgain => "you made more than one call, and may make one in a turn",
            Self::CalledNone => "you called no tool, and have to",
        }
    }
}

/// The names of all that was called, rightly or not.
fn called(answer: &Answer) -> Vec<&str> {
    let calls = answer.blocks.iter().filter_map(|block| match block {
        Block::ToolUse(call) => Some(call.name.as_str()),
        Block::Text(_) | Block::ToolResult(_) | Block::Thinking(_) | Block::Media(_) => None,
    });
    calls.chain(answer.miscalls.iter().map(|call| call.name.as_str())).collect()
}

fn ended_by_itself(stop_reason: StopReason) -> bool {
    match stop_reason {
        StopReason::EndTurn | StopReason::ToolUse => true,
        StopReason::MaxTokens | StopReason::StopSequence | StopReason::Refusal => false,
    }
}
