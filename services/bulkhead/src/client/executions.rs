//! `bulkhead executions`: what became of tool calls, and taking them back.

mod show;

use std::process::ExitCode;
use std::time::Duration;

use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{
    Execution, ExecutionState, GetExecutionRequest, ListExecutionsRequest, ListExecutionsResponse,
    UndoExecutionRequest,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use uuid::Uuid;

use super::table::Table;
use super::tools::{ContextArguments, WaitArguments};
use super::waiting::{Executor, follow};
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, request_id, run, text, time, word};
use crate::serve::Service;
use show::render;
pub(super) use show::{failure, render_outcome};

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum ExecutionsCommand {
    /// List tool calls, newest first.
    ///
    /// Example: bulkhead executions ls --state unknown
    #[command(after_long_help = exit::HELP)]
    Ls(LsArguments),
    /// Show one call: its plan, its state and its result.
    ///
    /// Example: bulkhead executions show 0199f3a0-0000-7000-8000-000000000000 --wait 5m
    #[command(after_long_help = exit::HELP)]
    Show(ShowArguments),
    /// Take a call back, if nothing has changed since.
    ///
    /// The undo is a call of its own. Whoever acted needs nobody for it; others need approval.
    ///
    /// Example: bulkhead executions undo 0199f3a0-0000-7000-8000-000000000000
    #[command(after_long_help = exit::HELP)]
    Undo(UndoArguments),
}

/// Arguments of `bulkhead executions ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// Only those in this state.
    #[arg(long, value_enum)]
    state: Option<StateFilter>,
    /// Only those of this session.
    #[arg(long, value_name = "ID", default_value = "")]
    session: String,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead executions show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Which.
    execution_id: Uuid,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead executions undo`.
#[derive(Debug, Args)]
pub(crate) struct UndoArguments {
    /// Which to take back.
    execution_id: Uuid,
    /// Also when the state has changed since; people have to agree to that.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    context: ContextArguments,
    /// Repeat an earlier undo whose outcome is not known.
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateFilter {
    Planned,
    AwaitingApproval,
    Running,
    Succeeded,
    Failed,
    Unknown,
    Refused,
    Denied,
    Expired,
    Stale,
    Cancelled,
    Undone,
}

impl StateFilter {
    fn wire(self) -> ExecutionState {
        match self {
            Self::Planned => ExecutionState::Planned,
            Self::AwaitingApproval => ExecutionState::AwaitingApproval,
            Self::Running => ExecutionState::Running,
            Self::Succeeded => ExecutionState::Succeeded,
            Self::Failed => ExecutionState::Failed,
            Self::Unknown => ExecutionState::Unknown,
            Self::Refused => ExecutionState::Refused,
            Self::Denied => ExecutionState::Denied,
            Self::Expired => ExecutionState::Expired,
            Self::Stale => ExecutionState::Stale,
            Self::Cancelled => ExecutionState::Cancelled,
            Self::Undone => ExecutionState::Undone,
        }
    }
}

impl ExecutionsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Ls(arguments) => run(arguments.client, async |client| {
                list(client, arguments.state, &arguments.session, arguments.limit).await
            }),
            Self::Show(arguments) => run(arguments.client, async |client| {
                show(client, arguments.execution_id, arguments.wait.patience()).await
            }),
            Self::Undo(arguments) => arguments.run(),
        }
    }
}

async fn list(
    client: &Client,
    state: Option<StateFilter>,
    session: &str,
    limit: Limit,
) -> Result<Exit, ClientError> {
    let state = state.map_or(ExecutionState::Unspecified, StateFilter::wire);
    let executor = connect(client, "operator")?;
    let page = async |page_size, page_token| {
        let session_id = session.to_owned();
        let request = ListExecutionsRequest {
            page_size,
            page_token,
            state: state.into(),
            session_id,
            ..ListExecutionsRequest::default()
        };
        let request = client.timed(request);
        let answer = client.read("list executions", executor.clone().list_executions(request)).await?;
        Ok((answer.executions, answer.next_page_token))
    };
    let (executions, next_page_token) = limit.collect(page).await?;
    let all = ListExecutionsResponse { executions, next_page_token };
    client.show(&all, || table(&all.executions, client.now).render(client.output.columns()))?;
    limit.remark(client, all.executions.len(), &all.next_page_token);
    Ok(Exit::Done)
}

async fn show(client: &Client, id: Uuid, patience: Option<Duration>) -> Result<Exit, ClientError> {
    let mut executor = connect(client, "operator")?;
    let request = client.timed(GetExecutionRequest { execution_id: id.to_string() });
    let answer = client.read("read the execution", executor.get_execution(request)).await?;
    let mut execution = answer.execution.ok_or(ClientError::Contract("without an execution"))?;
    if let Some(patience) = patience {
        execution = follow(client, &executor, execution, patience).await?;
    }
    client.show(&execution, || render(&execution, client.now))?;
    // Showing is what was asked for; how the call ended counts only for somebody who waited for it.
    Ok(if patience.is_some() { exit_of(&execution) } else { Exit::Done })
}

impl UndoArguments {
    fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let mut executor = connect(client, "agent")?;
            let request = UndoExecutionRequest {
                request_id: request_id(self.request_id),
                execution_id: self.execution_id.to_string(),
                force: self.force,
                wait_for_approval: None,
                context: Some(self.context.wire(false)),
            };
            let id = request.request_id.clone();
            let answer =
                client.act("take it back", &id, executor.undo_execution(client.timed(request))).await?;
            let undo = answer.execution.ok_or(ClientError::Contract("without an execution"))?;
            self.wait.conclude(client, &executor, undo).await
        })
    }
}

/// `holder` names the token of a data folder. The operator sees all executions, an agent its own.
pub(super) fn connect(client: &Client, holder: &str) -> Result<Executor, ClientError> {
    Ok(ToolExecutorServiceClient::new(client.connect(Service::ToolExecutor, holder)?))
}

/// What a call's state means for whoever ran it.
pub(super) fn exit_of(execution: &Execution) -> Exit {
    match execution.state() {
        ExecutionState::Succeeded | ExecutionState::Undone => Exit::Done,
        ExecutionState::Planned | ExecutionState::AwaitingApproval => Exit::AwaitingApproval,
        ExecutionState::Running | ExecutionState::Unknown => Exit::Unknown,
        ExecutionState::Failed
        | ExecutionState::Refused
        | ExecutionState::Denied
        | ExecutionState::Expired
        | ExecutionState::Stale
        | ExecutionState::Cancelled => Exit::Failed,
        // A dry run has no state: only whether it could be planned.
        ExecutionState::Unspecified if failed(execution) => Exit::Failed,
        ExecutionState::Unspecified => Exit::Done,
    }
}

fn failed(execution: &Execution) -> bool {
    execution.result.as_ref().is_some_and(|result| result.error.is_some())
}

pub(super) fn state(execution: &Execution) -> String {
    match execution.state() {
        ExecutionState::Unspecified => "dry run".to_owned(),
        state => word(state.as_str_name(), "EXECUTION_STATE_"),
    }
}

/// Longest list of targets in a table. `show` has all of it.
const TARGETS_MAX: usize = 60;

fn table(executions: &[Execution], now: Timestamp) -> Table<6> {
    let mut table = Table::new(["EXECUTION", "STATE", "TOOL", "ON", "BY", "WHEN"]);
    for execution in executions {
        let effects = execution.plan.iter().flat_map(|plan| &plan.effects);
        let targets: Vec<_> = effects.map(|effect| effect.target.as_str()).collect();
        table.row([
            execution.execution_id.clone(),
            state(execution),
            execution.tool.clone(),
            text::short(&targets.join(", "), TARGETS_MAX),
            execution.principal.as_ref().map_or_else(String::new, |who| who.name.clone()),
            time::brief(execution.create_time.as_ref(), now),
        ]);
    }
    table
}
