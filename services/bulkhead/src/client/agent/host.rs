//! The agent's services: what is asked again, what is waited for, and what ends the work.

use std::time::Duration;

use bulkhead_edge::peer::Peer;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{GenerateRequest, GenerateResponse, ToolUse};
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{
    ExecuteToolCallRequest, Execution, ExecutionState, ListToolsRequest, Tool, ToolCall, ToolResult,
};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::agent::Host;
use crate::client::executions::state;
use crate::client::waiting::{Executor, Pauses, ask_for_decision, follow, is_over, left_behind};
use crate::client::{Client, ClientError, Exit, text};
use crate::serve::Service;

/// How often one call is sent, under the same request id, before the work is given up.
const ATTEMPTS_MAX: u32 = 4;
/// Tools that are offered at most: as many as the router takes.
const TOOLS_MAX: u32 = 128;
/// Longest line of progress about what a tool is called with.
const PROGRESS_MAX: usize = 100;

/// Why the work stops before the model is done.
#[derive(Debug)]
pub(super) enum Stopped {
    /// A service failed.
    Error(ClientError),
    /// Going on would be wrong.
    At {
        /// The exit code.
        exit: Exit,
        /// For programs.
        outcome: &'static str,
        /// For people.
        why: String,
    },
}

impl From<ClientError> for Stopped {
    fn from(error: ClientError) -> Self {
        Self::Error(error)
    }
}

/// Router and executor, as the agent.
pub(super) struct Services<'c> {
    client: &'c Client,
    router: ModelRouterServiceClient<Peer>,
    executor: Executor,
    /// For people to decide on one call.
    patience: Duration,
    /// Answers of a model so far.
    pub(super) steps: u32,
    /// What was called and what became of it.
    pub(super) calls: Vec<Value>,
}

impl<'c> Services<'c> {
    pub(super) fn connect(client: &'c Client, patience: Duration) -> Result<Self, ClientError> {
        Ok(Self {
            client,
            router: ModelRouterServiceClient::new(client.connect_one_of(Service::ModelRouter, "agent")?),
            executor: ToolExecutorServiceClient::new(client.connect_one_of(Service::ToolExecutor, "agent")?),
            patience,
            steps: 0,
            calls: Vec::new(),
        })
    }

    fn say(&self, line: &str) {
        self.client.output.remark(line);
    }

    /// Sends a message again while that may help. It carries a request id, so that it acts once however often
    /// it arrives, and a lost answer is found again.
    async fn persist<M: Clone, T, F>(
        &self,
        attempted: &'static str,
        request_id: &str,
        message: &M,
        mut send: impl FnMut(Request<M>) -> F,
    ) -> Result<T, ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut pauses = Pauses::new();
        let mut attempt = 1;
        loop {
            let sent = send(self.client.timed(message.clone()));
            match self.client.act(attempted, request_id, sent).await {
                Err(ClientError::Call(error)) if attempt < ATTEMPTS_MAX && error.retry_helps() => {
                    let pause = pauses.next(Some(&error.status));
                    let why = text::harmless(error.status.message());
                    self.say(&format!("  cannot {attempted}: {why}; again in {:.1} s", pause.as_secs_f64()));
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                answered => return answered,
            }
        }
    }

    /// Waits for people where the call needs them.
    async fn decided(&self, execution: Execution) -> Result<Execution, Stopped> {
        ask_for_decision(self.client, &execution);
        self.client.leaving(left_behind(&execution));
        let seen = follow(self.client, &self.executor, execution, self.patience).await?;
        self.client.leaving("");
        if seen.state() == ExecutionState::Unknown {
            return Err(unknown(&seen));
        }
        if is_over(seen.state()) {
            return Ok(seen);
        }
        let why = format!("Nobody decided within --wait. {}", left_behind(&seen));
        Err(Stopped::At { exit: Exit::AwaitingApproval, outcome: "awaiting_approval", why })
    }

    fn record(&mut self, step: u32, execution: &Execution) {
        let error = execution.result.as_ref().and_then(|result| result.error.as_ref());
        let kind = error.map(|error| error.kind.as_str());
        let name = state(execution);
        self.say(&match error {
            None => format!("  step {step}: {name}"),
            Some(error) => format!("  step {step}: {name}: {}", text::short(&error.message, PROGRESS_MAX)),
        });
        self.calls.push(json!({
            "step": step, "tool": execution.tool, "state": name, "error_kind": kind,
            "execution_id": execution.execution_id, "approval_id": execution.approval_id,
        }));
    }
}

impl Host for Services<'_> {
    type Error = Stopped;

    async fn tools(&mut self) -> Result<Vec<Tool>, Stopped> {
        let request = self.client.timed(ListToolsRequest { page_size: TOOLS_MAX, page_token: String::new() });
        let listed = self.client.read("list tools", self.executor.list_tools(request)).await?;
        if !listed.next_page_token.is_empty() {
            self.say(&format!("Only the first {TOOLS_MAX} tools are offered to the model."));
        }
        Ok(listed.tools)
    }

    async fn ask(&mut self, step: u32, request: GenerateRequest) -> Result<GenerateResponse, Stopped> {
        let router = self.router.clone();
        let id = request.request_id.clone();
        let send = |request| {
            let mut router = router.clone();
            async move { router.generate(request).await }
        };
        let response = self.persist("ask a model", &id, &request, send).await?;
        self.steps = step;
        let attempts = response.attempts.len();
        self.say(&format!(
            "step {step}: {} answered (attempts: {attempts})",
            text::harmless(&response.model)
        ));
        Ok(response)
    }

    async fn call_tool(&mut self, context: &RunContext, call: &ToolUse) -> Result<ToolResult, Stopped> {
        let arguments = text::short(&call.input_json, PROGRESS_MAX);
        self.say(&format!("  step {}: {} {arguments}", context.step, text::harmless(&call.name)));
        let request = ExecuteToolCallRequest {
            request_id: Uuid::now_v7().to_string(),
            call: Some(ToolCall { tool: call.name.clone(), arguments_json: call.input_json.clone() }),
            context: Some(context.clone()),
            wait_for_approval: None,
            ..ExecuteToolCallRequest::default()
        };
        let (executor, id) = (self.executor.clone(), request.request_id.clone());
        let send = |request| {
            let mut executor = executor.clone();
            async move { executor.execute_tool_call(request).await }
        };
        let answer = self.persist("run a tool", &id, &request, send).await?;
        let execution = answer.execution.ok_or(ClientError::Contract("without an execution"))?;
        // A dry run leaves no execution behind to wait for.
        let execution = if context.dry_run { execution } else { self.decided(execution).await? };
        self.record(context.step, &execution);
        Ok(execution.result.unwrap_or_else(|| planned_only(context.dry_run)))
    }
}

/// What the model reads of a dry run.
fn planned_only(dry_run: bool) -> ToolResult {
    let content = if dry_run { "Dry run: the call is possible; nothing was done." } else { "" };
    ToolResult { content: content.to_owned(), ..ToolResult::default() }
}

/// Nothing that follows could rest on it, and a repetition could do it twice.
fn unknown(execution: &Execution) -> Stopped {
    let why = format!(
        "Nobody knows whether {} happened, so the agent stops. Look at what is there, then: bulkhead executions \
         show {}",
        text::harmless(&execution.tool),
        execution.execution_id
    );
    Stopped::At { exit: Exit::Unknown, outcome: "unknown", why }
}
