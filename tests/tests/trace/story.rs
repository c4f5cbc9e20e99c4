//! An agent asks a model, writes, and wants to delete twice; minutes of a person lie between, who decides in a trace of
//! their own. What was to be deleted second has changed by then.

use std::time::Duration;

use anyhow::Context as _;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::approval::v1::{DecideApprovalRequest, Decision, GetApprovalRequest};
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::router::v1::{ContentBlock, GenerateRequest, Message, Role, content_block};
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{
    ExecuteToolCallRequest, Execution, ExecutionState, GetExecutionRequest, ToolCall,
};
use bulkhead_provider_sim::{ControlClient, Script, Step};
use bulkhead_tests::{Options, Sandbox, eventually};
use serde_json::{Value, json};
use tonic::Request;
use uuid::Uuid;

/// What the prompt, the files and their new content hold, and no span or log may.
pub(crate) const SECRETS: [&str; 3] = ["the-prompt-s-own-words", "the-old-content", "the-new-content"];

/// Only guards against hanging.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// A trace that somebody outside has begun: the agent, or the person.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    /// 32 hex digits.
    pub(crate) trace_id: String,
    /// Of the span outside.
    pub(crate) span_id: String,
}

impl Begun {
    fn new() -> Self {
        let (trace, span) = (Uuid::new_v4().simple().to_string(), Uuid::new_v4().simple().to_string());
        Self { trace_id: trace, span_id: span[..16].to_owned() }
    }

    fn carries<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        let traceparent = format!("00-{}-{}-01", self.trace_id, self.span_id);
        request.metadata_mut().insert("traceparent", traceparent.parse()?);
        Ok(request)
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) sandbox: Sandbox,
    pub(crate) agent: Begun,
    pub(crate) person: Begun,
}

impl Story {
    /// Plays it on a stack that exports to `endpoint`.
    pub(crate) async fn play(endpoint: &str) -> anyhow::Result<Self> {
        let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let sandbox = Sandbox::start(Options { environment, ..Options::default() }).await?;
        let story = Self { sandbox, agent: Begun::new(), person: Begun::new() };
        story.ask_a_model().await?;
        story.act().await?;
        Ok(story)
    }

    /// The primary model answers at the second attempt.
    async fn ask_a_model(&self) -> anyhow::Result<()> {
        let simulator = ControlClient::new(self.sandbox.simulator()?)?;
        simulator.script("sim-primary", &Script::once([Step::status(529), Step::text("Done.")])).await?;
        let mut router = ModelRouterServiceClient::new(self.sandbox.connect("model-router", "agent")?);
        let content = vec![ContentBlock {
            block: Some(content_block::Block::Text(SECRETS[0].to_owned())),
            ..ContentBlock::default()
        }];
        let request = GenerateRequest {
            request_id: Uuid::new_v4().to_string(),
            messages: vec![Message { role: Role::User.into(), content }],
            ..GenerateRequest::default()
        };
        router.generate(self.agent.carries(request)?).await?;
        Ok(())
    }

    async fn act(&self) -> anyhow::Result<()> {
        let workspace = self.sandbox.workspace();
        for name in ["a.txt", "b.txt"] {
            std::fs::write(workspace.join(name), SECRETS[1])?;
        }
        let written = self.call("fs.write", &json!({ "path": "c.txt", "content": SECRETS[2] })).await?;
        anyhow::ensure!(written.state() == ExecutionState::Succeeded, "{written:?}");
        let deleted = self.call("fs.delete", &json!({ "path": "a.txt" })).await?;
        let changed = self.call("fs.delete", &json!({ "path": "b.txt" })).await?;
        std::fs::write(workspace.join("b.txt"), SECRETS[2])?;
        for (asked, end) in [(deleted, ExecutionState::Succeeded), (changed, ExecutionState::Stale)] {
            anyhow::ensure!(asked.state() == ExecutionState::AwaitingApproval, "{asked:?}");
            self.approve(&asked.approval_id).await?;
            self.until(&asked.execution_id, end).await?;
        }
        Ok(())
    }

    async fn call(&self, tool: &str, arguments: &Value) -> anyhow::Result<Execution> {
        let mut executor = ToolExecutorServiceClient::new(self.sandbox.connect("tool-executor", "agent")?);
        let request = ExecuteToolCallRequest {
            request_id: Uuid::new_v4().to_string(),
            call: Some(ToolCall { tool: tool.to_owned(), arguments_json: arguments.to_string() }),
            ..ExecuteToolCallRequest::default()
        };
        let answer = executor.execute_tool_call(self.agent.carries(request)?).await?;
        answer.into_inner().execution.context("no execution")
    }

    /// On a connection of the person's own, in the person's trace.
    async fn approve(&self, approval_id: &str) -> anyhow::Result<()> {
        let mut approval = ApprovalServiceClient::new(self.sandbox.connect("approval", "approver")?);
        let asked = GetApprovalRequest { approval_id: approval_id.to_owned() };
        let shown = approval.get_approval(asked).await?.into_inner().approval.context("no approval")?;
        let vote = DecideApprovalRequest {
            request_id: Uuid::new_v4().to_string(),
            approval_id: approval_id.to_owned(),
            decision: Decision::Approve.into(),
            plan_digest: shown.plan_digest,
            ..DecideApprovalRequest::default()
        };
        approval.decide_approval(self.person.carries(vote)?).await?;
        Ok(())
    }

    async fn until(&self, execution_id: &str, state: ExecutionState) -> anyhow::Result<()> {
        let executor = ToolExecutorServiceClient::new(self.sandbox.connect("tool-executor", "agent")?);
        eventually(state.as_str_name(), BOUND, || async {
            let asked = GetExecutionRequest { execution_id: execution_id.to_owned() };
            let answer = executor.clone().get_execution(asked).await?.into_inner();
            Ok((answer.execution.context("no execution")?.state() == state).then_some(()))
        })
        .await
    }

    /// The lines of the audit log that belong to a trace.
    pub(crate) fn lines_of(&self, trace_id: &str) -> anyhow::Result<Vec<Value>> {
        let mut lines = Vec::new();
        for entry in std::fs::read_dir(self.sandbox.data().join("audit/logs"))? {
            for line in std::fs::read_to_string(entry?.path())?.lines() {
                lines.push(serde_json::from_str::<Value>(line)?);
            }
        }
        lines.retain(|line| line["trace_id"] == trace_id);
        Ok(lines)
    }
}
