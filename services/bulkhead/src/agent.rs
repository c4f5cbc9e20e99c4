//! The reference agent's loop: asks a model, runs the tools that it wants, and passes on what the results are
//! known to contain.
//!
//! Pure of connections: what asking and running mean is its [`Host`]'s. Promises that a label once seen goes
//! with every later request, and that the loop ends.

use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::{
    ContentBlock, GenerateRequest, GenerateResponse, Message, Role, StopReason, ToolDefinition,
    ToolResultBlock, ToolUse,
};
use bulkhead_proto::tools::v1::{Tool, ToolResult};
use uuid::Uuid;

/// What an agent is given.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Instructions that stand before the conversation.
    pub(crate) system: String,
    /// What to do.
    pub(crate) prompt: String,
    /// Name of a route; empty: the default one.
    pub(crate) route: String,
    /// The session, and what is known to be in the task.
    pub(crate) context: RunContext,
    /// Answers of a model after which an agent is lost rather than busy.
    pub(crate) steps_max: u32,
}

/// What happens around the agent's steps.
pub(crate) trait Host {
    /// Why the loop has to be given up.
    type Error;
    /// What the model may ask for.
    async fn tools(&mut self) -> Result<Vec<Tool>, Self::Error>;
    /// Asks a model.
    async fn ask(&mut self, step: u32, request: GenerateRequest) -> Result<GenerateResponse, Self::Error>;
    /// Runs a tool call and says what the model may read of it. A tool that fails is a result too.
    async fn call_tool(&mut self, context: &RunContext, call: &ToolUse) -> Result<ToolResult, Self::Error>;
}

/// How a loop ended by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    /// The model was done; its last words.
    Answered(String),
    /// The model declined; its words.
    Declined(String),
    /// The last answer is cut: the model had no more room.
    Cut(String),
    /// The model wanted to go on after the last step.
    StepsOver,
}

/// Runs the loop.
pub(crate) async fn run<H: Host>(task: &Task, host: &mut H) -> Result<Ended, H::Error> {
    let tools: Vec<_> = host.tools().await?.into_iter().map(offered).collect();
    let mut context = task.context.clone();
    let mut messages = vec![turn(Role::User, [text(&task.prompt)])];
    for step in 1..=task.steps_max {
        context.step = step;
        let request = GenerateRequest {
            request_id: Uuid::now_v7().to_string(),
            route: task.route.clone(),
            system: task.system.clone(),
            messages: messages.clone(),
            tools: tools.clone(),
            // A dry run is for the tools: a model that is not asked wants nothing.
            context: Some(RunContext { dry_run: false, ..context.clone() }),
            ..GenerateRequest::default()
        };
        let response = host.ask(step, request).await?;
        let stop_reason = response.stop_reason();
        let message = response.message.unwrap_or_default();
        let calls: Vec<ToolUse> = message.content.iter().filter_map(wanted).collect();
        if calls.is_empty() || stop_reason != StopReason::ToolUse {
            return Ok(ended(stop_reason, said(&message)));
        }
        messages.push(message);
        let mut results = Vec::new();
        for call in calls {
            let result = host.call_tool(&context, &call).await?;
            // What a result holds limits every later request: the label rises and never falls.
            context.sensitivity.extend(result.sensitivity.iter().copied());
            context.sensitivity.sort_unstable();
            context.sensitivity.dedup();
            results.push(told(&call, &result));
        }
        messages.push(turn(Role::User, results));
    }
    Ok(Ended::StepsOver)
}

fn ended(stop_reason: StopReason, words: String) -> Ended {
    match stop_reason {
        StopReason::Refusal => Ended::Declined(words),
        StopReason::MaxTokens => Ended::Cut(words),
        StopReason::Unspecified | StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence => {
            Ended::Answered(words)
        }
    }
}

fn offered(tool: Tool) -> ToolDefinition {
    ToolDefinition {
        name: tool.name,
        description: tool.description,
        input_schema_json: tool.input_schema_json,
    }
}

/// The text of a turn.
pub(crate) fn said(message: &Message) -> String {
    let texts = message.content.iter().filter_map(|block| match &block.block {
        Some(Block::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

fn wanted(block: &ContentBlock) -> Option<ToolUse> {
    match &block.block {
        Some(Block::ToolUse(call)) => Some(call.clone()),
        _ => None,
    }
}

fn told(call: &ToolUse, result: &ToolResult) -> ContentBlock {
    let content = result.error.as_ref().map_or_else(|| result.content.clone(), |error| error.message.clone());
    let block = ToolResultBlock {
        tool_use_id: call.tool_use_id.clone(),
        content,
        is_error: result.error.is_some(),
        ..ToolResultBlock::default()
    };
    ContentBlock { block: Some(Block::ToolResult(block)), ..ContentBlock::default() }
}

fn text(text: &str) -> ContentBlock {
    ContentBlock { block: Some(Block::Text(text.to_owned())), ..ContentBlock::default() }
}

fn turn(role: Role, content: impl IntoIterator<Item = ContentBlock>) -> Message {
    Message { role: role.into(), content: content.into_iter().collect() }
}

#[cfg(test)]
mod tests;
