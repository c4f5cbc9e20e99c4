//! The story: what happens, in which order, and what is measured on the way.

mod executor;
mod models;
mod record;

use std::path::PathBuf;

use anyhow::Context as _;
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::{GenerateRequest, GenerateResponse, ToolUse};
use bulkhead_proto::tools::v1::{ListToolsRequest, Tool, ToolResult};
use bulkhead_provider_sim::ControlClient;
use tracing::Instrument as _;
use uuid::Uuid;

use super::clients::{Clients, timed};
use super::evidence::Evidence;
use super::person::Person;
use super::script;
use super::workspace::Workspace;
use crate::agent::{self, Ended, Host, Task};
use crate::client::text::harmless;
use crate::up::{Founding, Ports, Stack, StackOptions, StopSignals, say};

/// Turns after which the agent is lost rather than busy.
const TURNS_MAX: u32 = 12;

const SYSTEM: &str = "You tidy a folder. Read what is there, write a summary, and remove what is obsolete.";

/// What the demo is played with.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) data: PathBuf,
    pub(super) original: Option<PathBuf>,
    pub(super) person: Person,
}

/// Somebody asked the demo to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped before its end")]
pub(super) struct Interrupted;

/// The running demo.
pub(super) struct Stage<'e> {
    stack: &'e Stack,
    clients: Clients,
    control: ControlClient,
    workspace: Workspace,
    person: Person,
    evidence: &'e mut Evidence,
    session_id: String,
    /// The execution of the delete, once there is one.
    delete_execution_id: String,
    /// The last execution whose outcome must be on record before the log is read.
    last_execution_id: String,
    /// Requests that the simulator had received before the current turn.
    requests_before_turn: usize,
}

impl Scenario {
    /// Plays the story to its end, or to the first thing that makes going on pointless.
    pub(super) async fn play(self, evidence: &mut Evidence, stop: &mut StopSignals) -> anyhow::Result<()> {
        say("Starting four services and a simulator of three models …");
        let options = StackOptions {
            data: self.data.clone(),
            founding: Founding { ports: Ports::Free, tls: false },
            simulate: true,
            environment: Vec::new(),
            report: |line| say(&format!("  {line}")),
        };
        let mut stack = Stack::open(options)?;
        let played = tokio::select! {
            played = self.play_on(&mut stack, evidence) => played,
            () = stop.asked() => Err(Interrupted.into()),
        };
        say("Stopping the services; the log is verified without them …");
        stack.stop().await;
        if played.as_ref().is_err_and(|error| error.is::<Interrupted>()) {
            return played;
        }
        let verified = record::verify(&self.data, evidence);
        played.and(verified)
    }

    async fn play_on(&self, stack: &mut Stack, evidence: &mut Evidence) -> anyhow::Result<()> {
        let secret = format!("sk-demo-{}", Uuid::new_v4().simple());
        let workspace = Workspace::prepare(stack.layout().workspace(), self.original.as_deref(), secret)?;
        stack.start().await?;
        let control = ControlClient::new(stack.simulator().context("the simulator is not running")?)?;
        script::install(&control, workspace.planted()).await?;

        let span = tracing::info_span!(
            "invoke_agent",
            otel.name = "invoke_agent bulkhead-demo",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.name = "bulkhead-demo",
        );
        evidence.trace_id = bulkhead_telemetry::trace_id(&span);
        let mut stage = Stage {
            clients: Clients::connect(stack)?,
            control,
            workspace,
            person: self.person,
            evidence,
            session_id: format!("demo-{}", Uuid::now_v7()),
            delete_execution_id: String::new(),
            last_execution_id: String::new(),
            requests_before_turn: 0,
            stack,
        };
        let played = stage.act().instrument(span).await;
        let recorded = stage.read_record().await;
        played.and(recorded)
    }
}

impl Stage<'_> {
    async fn act(&mut self) -> anyhow::Result<()> {
        self.evidence.deleted_sha256_before = self.workspace.sha256(&self.workspace.planted().obsolete)?;
        let task = Task {
            system: SYSTEM.to_owned(),
            prompt: "Tidy this folder.".to_owned(),
            route: String::new(),
            context: RunContext { session_id: self.session_id.clone(), ..RunContext::default() },
            steps_max: TURNS_MAX,
        };
        say("An agent tidies a folder; its first model answers 429, then goes down …");
        let ran = agent::run(&task, self).await;
        self.measure_models().await?;
        anyhow::ensure!(ran? != Ended::StepsOver, "the model was not done after {TURNS_MAX} turns");
        self.undo_delete().await?;
        self.write_while_locked().await
    }

    /// What a call is about, for a line of progress. Never more than the path.
    fn path_of(&self, input_json: &str) -> String {
        let input: Result<serde_json::Value, _> = serde_json::from_str(input_json);
        let path = input.ok().and_then(|input| input["path"].as_str().map(str::to_owned));
        match path {
            Some(path) if path == self.workspace.planted().credential => {
                format!("{path} (holds a made-up credential)")
            }
            Some(path) => path,
            None => String::new(),
        }
    }
}

impl Host for Stage<'_> {
    type Error = anyhow::Error;

    async fn tools(&mut self) -> anyhow::Result<Vec<Tool>> {
        let listed = self.clients.executor.clone().list_tools(timed(ListToolsRequest::default())).await?;
        Ok(listed.into_inner().tools)
    }

    async fn ask(&mut self, turn: u32, request: GenerateRequest) -> anyhow::Result<GenerateResponse> {
        let response = self.clients.router.clone().generate(timed(request)).await?.into_inner();
        say(&format!(
            "  step {turn}: {} answered after {} attempt(s)",
            response.model,
            response.attempts.len()
        ));
        self.measure_turn(turn, &response).await?;
        Ok(response)
    }

    async fn call_tool(&mut self, context: &RunContext, call: &ToolUse) -> anyhow::Result<ToolResult> {
        say(&format!(
            "  step {}: {} {}",
            context.step,
            harmless(&call.name),
            harmless(&self.path_of(&call.input_json))
        ));
        match call.name.as_str() {
            "fs.write" => self.write_after_dry_run(context, call).await,
            "fs.delete" => self.delete_with_approval(context, call).await,
            _ => self.execute(context, call).await,
        }
    }
}
