//! `bulkhead tools`: what can be called, what would happen, and doing it.

mod input;
mod plan_call;

use std::process::ExitCode;
use std::time::Duration;

use bulkhead_proto::common::v1::{RunContext, Sensitivity};
use bulkhead_proto::tools::v1::{
    ExecuteToolCallRequest, Execution, ExecutionState, ListToolsRequest, ListToolsResponse, Reversibility,
    ToolCall,
};
use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::executions::{connect, exit_of, render_outcome};
use super::table::Table;
use super::waiting::{Executor, ask_for_decision, follow, is_over, left_behind};
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, request_id, run, text, time, word};
use input::InputArguments;

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolsCommand {
    /// List the tools.
    ///
    /// Example: bulkhead tools ls --json
    #[command(after_long_help = exit::HELP)]
    Ls(LsArguments),
    /// Show what a call would do. Nothing is written.
    ///
    /// Example: bulkhead tools plan fs.write path=notes/a.md content="one line"
    #[command(after_long_help = exit::HELP)]
    Plan(plan_call::PlanArguments),
    /// Run a tool. What needs a person waits for one, and exits 3.
    ///
    /// Example: bulkhead tools run fs.delete path=notes/old.md --wait 10m
    #[command(after_long_help = exit::HELP)]
    Run(RunArguments),
}

/// Arguments of `bulkhead tools ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead tools run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    input: InputArguments,
    #[command(flatten)]
    wait: WaitArguments,
    /// Run the full logic and write nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    context: ContextArguments,
    /// Repeat an earlier call whose outcome is not known.
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Where a call belongs.
#[derive(Debug, Clone, Args)]
pub(crate) struct ContextArguments {
    /// The session that the call belongs to.
    #[arg(long, value_name = "ID", default_value = "")]
    pub(super) session: String,
    /// What the call is known to hold; keeps it on local models. May be repeated.
    #[arg(long, value_name = "CATEGORY", value_enum)]
    pub(super) sensitivity: Vec<Category>,
}

/// A sensitivity category.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Category {
    Credentials,
    Financial,
    Health,
    PrivateStrategy,
    PersonalData,
}

impl Category {
    fn wire(self) -> Sensitivity {
        match self {
            Self::Credentials => Sensitivity::Credentials,
            Self::Financial => Sensitivity::Financial,
            Self::Health => Sensitivity::Health,
            Self::PrivateStrategy => Sensitivity::PrivateStrategy,
            Self::PersonalData => Sensitivity::PersonalData,
        }
    }
}

impl ContextArguments {
    /// For the wire.
    pub(super) fn wire(&self, dry_run: bool) -> RunContext {
        RunContext {
            session_id: self.session.clone(),
            dry_run,
            sensitivity: self.sensitivity.iter().map(|category| category.wire().into()).collect(),
            ..RunContext::default()
        }
    }
}

/// Whether to wait until a call is over.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitArguments {
    /// Wait so long for people and for the end of the call. Without it the answer is what is known at once.
    #[arg(long, value_name = "DURATION", value_parser = time::duration)]
    wait: Option<Duration>,
}

/// A call that nobody has to decide on ends soon; it is waited for without being asked.
const RUNNING_PATIENCE: Duration = Duration::from_secs(10);

impl WaitArguments {
    pub(super) fn patience(self) -> Option<Duration> {
        self.wait
    }

    /// Shows what became of a call, after the wait that was asked for.
    pub(super) async fn conclude(
        self,
        client: &Client,
        executor: &Executor,
        execution: Execution,
    ) -> Result<Exit, ClientError> {
        ask_for_decision(client, &execution);
        client.leaving(left_behind(&execution));
        let running = execution.state() == ExecutionState::Running;
        let patience = self.wait.or(running.then_some(RUNNING_PATIENCE));
        // A dry run leaves nothing behind that could be followed.
        let execution = match patience {
            Some(patience) if !execution.execution_id.is_empty() => {
                follow(client, executor, execution, patience).await?
            }
            _ => execution,
        };
        client.show(&execution, || render_outcome(&execution, client.now))?;
        if !is_over(execution.state()) && !execution.execution_id.is_empty() {
            client.output.remark(&left_behind(&execution));
        }
        Ok(exit_of(&execution))
    }
}

impl ToolsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Ls(arguments) => run(arguments.client, async |client| list(client, arguments.limit).await),
            Self::Plan(arguments) => arguments.run(),
            Self::Run(arguments) => arguments.run(),
        }
    }
}

async fn list(client: &Client, limit: Limit) -> Result<Exit, ClientError> {
    let executor = connect(client, "agent")?;
    let page = async |page_size, page_token| {
        let request = client.timed(ListToolsRequest { page_size, page_token });
        let answer = client.read("list tools", executor.clone().list_tools(request)).await?;
        Ok((answer.tools, answer.next_page_token))
    };
    let (tools, next_page_token) = limit.collect(page).await?;
    let all = ListToolsResponse { tools, next_page_token };
    client.show(&all, || table(&all).render(client.output.columns()))?;
    limit.remark(client, all.tools.len(), &all.next_page_token);
    Ok(Exit::Done)
}

fn table(all: &ListToolsResponse) -> Table<3> {
    let mut table = Table::new(["TOOL", "WORST", "WHAT IT DOES"]);
    for tool in &all.tools {
        let first = tool.description.lines().next().unwrap_or_default();
        table.row([tool.name.clone(), worst(tool.reversibility()), text::short(first, DESCRIPTION_MAX)]);
    }
    table
}

/// Longest description of a tool in a list. `--json` has all of it.
const DESCRIPTION_MAX: usize = 100;

fn worst(reversibility: Reversibility) -> String {
    word(reversibility.as_str_name(), "REVERSIBILITY_")
}

impl RunArguments {
    fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let mut executor = connect(client, "agent")?;
            let (tool, arguments_json) = self.input.read()?;
            let request = ExecuteToolCallRequest {
                request_id: request_id(self.request_id),
                call: Some(ToolCall { tool, arguments_json }),
                context: Some(self.context.wire(self.dry_run)),
                wait_for_approval: None,
                ..ExecuteToolCallRequest::default()
            };
            let id = request.request_id.clone();
            let call = executor.execute_tool_call(client.timed(request));
            let answer = client.act("run the tool", &id, call).await?;
            let execution = answer.execution.ok_or(ClientError::Contract("without an execution"))?;
            self.wait.conclude(client, &executor, execution).await
        })
    }
}
