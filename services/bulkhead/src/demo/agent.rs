//! A small reference agent: asks a model, calls the tools it wants, and passes on what the results are
//! known to contain.

use anyhow::Context as _;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::{
    ContentBlock, GenerateRequest, GenerateResponse, Message, Role, StopReason, ToolDefinition,
    ToolResultBlock, ToolUse,
};
use bulkhead_proto::tools::v1::{ListToolsRequest, ToolResult};
use uuid::Uuid;

use super::clients::{Clients, timed};

/// Turns after which an agent is lost rather than busy.
const TURNS_MAX: u32 = 12;

const SYSTEM: &str = "You tidy a folder. Read what is there, write a summary, and remove what is obsolete.";

/// What happens around the agent's steps.
pub(super) trait Host {
    /// Runs a tool call and says what the model may read of it.
    async fn call_tool(&mut self, context: &RunContext, call: &ToolUse) -> anyhow::Result<ToolResult>;
    /// Sees each answer of a model.
    async fn answered(&mut self, turn: u32, response: &GenerateResponse) -> anyhow::Result<()>;
}

/// Runs the loop until the model is done.
pub(super) async fn run(clients: &Clients, session_id: &str, host: &mut impl Host) -> anyhow::Result<()> {
    let tools = tools(clients).await?;
    let mut context = RunContext { session_id: session_id.to_owned(), ..RunContext::default() };
    let mut messages = vec![turn(Role::User, [text("Tidy this folder.")])];
    for step in 1..=TURNS_MAX {
        context.step = step;
        let request = GenerateRequest {
            request_id: Uuid::now_v7().to_string(),
            system: SYSTEM.to_owned(),
            messages: messages.clone(),
            tools: tools.clone(),
            context: Some(context.clone()),
            ..GenerateRequest::default()
        };
        let response = clients.router.clone().generate(timed(request)).await?.into_inner();
        host.answered(step, &response).await?;
        let message = response.message.clone().context("an answer without a message")?;
        let calls: Vec<ToolUse> = message.content.iter().filter_map(wanted).collect();
        messages.push(message);
        if calls.is_empty() || response.stop_reason() != StopReason::ToolUse {
            return Ok(());
        }
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
    anyhow::bail!("the model was not done after {TURNS_MAX} turns")
}

async fn tools(clients: &Clients) -> anyhow::Result<Vec<ToolDefinition>> {
    let listed = clients.executor.clone().list_tools(timed(ListToolsRequest::default())).await?;
    let tools = listed.into_inner().tools.into_iter().map(|tool| ToolDefinition {
        name: tool.name,
        description: tool.description,
        input_schema_json: tool.input_schema_json,
    });
    Ok(tools.collect())
}

fn wanted(block: &ContentBlock) -> Option<ToolUse> {
    match &block.block {
        Some(Block::ToolUse(call)) => Some(call.clone()),
        _ => None,
    }
}

fn told(call: &ToolUse, result: &ToolResult) -> ContentBlock {
    let content = result.error.as_ref().map_or_else(|| result.content.clone(), |error| error.message.clone());
    let block =
        ToolResultBlock { tool_use_id: call.tool_use_id.clone(), content, is_error: result.error.is_some() };
    ContentBlock { block: Some(Block::ToolResult(block)) }
}

fn text(text: &str) -> ContentBlock {
    ContentBlock { block: Some(Block::Text(text.to_owned())) }
}

fn turn(role: Role, content: impl IntoIterator<Item = ContentBlock>) -> Message {
    Message { role: role.into(), content: content.into_iter().collect() }
}
