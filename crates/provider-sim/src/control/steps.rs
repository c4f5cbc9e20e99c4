//! Scripts and their steps.

use serde::{Deserialize, Serialize};

use super::{Action, Reply, RetryAfter, StatusFault, StreamFault, ToolCall};

/// What a model does, request by request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// One step a request.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// True: after the last step comes the first again (a flapping model).
    #[serde(default)]
    pub repeat: bool,
    /// What happens once the steps are used up. Absent: what the model's name asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Step>,
}

impl Script {
    /// Each step once, then what the model's name asks for.
    #[must_use]
    pub fn once(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), ..Self::default() }
    }

    /// The same for every request.
    #[must_use]
    pub fn always(step: Step) -> Self {
        Self { then: Some(step), ..Self::default() }
    }

    /// The steps over and over.
    #[must_use]
    pub fn cycle(steps: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: steps.into_iter().collect(), repeat: true, then: None }
    }

    /// The step for once the others are used up.
    #[must_use]
    pub fn then(mut self, step: Step) -> Self {
        self.then = Some(step);
        self
    }
}

impl Script {
    /// Whether a reply says what its text is in two ways.
    pub(crate) fn has_text_twice(&self) -> bool {
        let mut replies = self.steps.iter().chain(&self.then).filter_map(|step| step.action.reply());
        replies.any(|reply| reply.text.is_some() && !reply.chunks.is_empty())
    }
}

/// What happens to one request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Waited before acting, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// What is done.
    pub action: Action,
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self { delay_ms: 0, action }
    }
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Action::Reply(reply).into()
    }
}

impl From<StreamFault> for Step {
    fn from(fault: StreamFault) -> Self {
        Action::StreamFault(fault).into()
    }
}

impl Step {
    /// An error status without a delay.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Action::Status(StatusFault::new(code)).into()
    }

    /// An error status with `Retry-After`.
    #[must_use]
    pub fn status_after(code: u16, retry_after: RetryAfter) -> Self {
        Action::Status(StatusFault { retry_after, ..StatusFault::new(code) }).into()
    }

    /// An answer with this text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Reply { text: Some(text.into()), ..Reply::default() }.into()
    }

    /// An answer that calls tools.
    #[must_use]
    pub fn tools(calls: impl IntoIterator<Item = ToolCall>) -> Self {
        Reply { tool_calls: calls.into_iter().collect(), ..Reply::default() }.into()
    }

    /// The same after a while.
    #[must_use]
    pub fn after_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }
}
