//! Following one execution until it is over.

use std::time::{Duration, Instant};

use bulkhead_edge::peer::Peer;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{Execution, ExecutionState, WatchExecutionRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Client, ClientError, failed};

/// A connection to the executor.
pub(crate) type Executor = ToolExecutorServiceClient<Peer>;

/// Between two attempts to follow, at first and at most.
const PAUSE_MIN: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Whether nothing will change it any more, but an undo.
pub(crate) fn is_over(state: ExecutionState) -> bool {
    !matches!(
        state,
        ExecutionState::Unspecified
            | ExecutionState::Planned
            | ExecutionState::AwaitingApproval
            | ExecutionState::Running
    )
}

/// Whether to go on after a stream ended so, from where it was.
pub(crate) fn passes(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// Growing pauses, or what the service asked for.
#[derive(Debug)]
pub(crate) struct Pauses(Duration);

impl Pauses {
    pub(crate) fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// Starts small again, once something came through.
    pub(crate) fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }

    /// How long to wait before the next attempt.
    pub(crate) fn next(&mut self, status: Option<&Status>) -> Duration {
        let asked =
            status.and_then(|status| status.get_details_retry_info()).and_then(|info| info.retry_delay);
        let pause = asked.unwrap_or(self.0).min(PAUSE_MAX);
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        pause
    }
}

/// The execution once it is over, or as it was last seen when `patience` ran out. Goes on by itself when the
/// stream ends or the service is away meanwhile: the execution does not depend on who looks.
pub(crate) async fn follow(
    client: &Client,
    executor: &Executor,
    execution: Execution,
    patience: Duration,
) -> Result<Execution, ClientError> {
    let mut seen = execution;
    let until = Instant::now() + patience;
    let watched = tokio::time::timeout_at(until.into(), watch(client, executor, &mut seen)).await;
    match watched {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(seen),
    }
}

async fn watch(client: &Client, executor: &Executor, seen: &mut Execution) -> Result<(), ClientError> {
    let mut pauses = Pauses::new();
    while !is_over(seen.state()) {
        let request = WatchExecutionRequest {
            execution_id: seen.execution_id.clone(),
            ..WatchExecutionRequest::default()
        };
        let ended = match executor.clone().watch_execution(request).await {
            Ok(stream) => watch_stream(client, stream.into_inner(), seen, &mut pauses).await,
            Err(status) => Some(status),
        };
        match ended {
            Some(status) if !passes(&status) => return Err(failed("follow the execution", status, None)),
            ended if !is_over(seen.state()) => tokio::time::sleep(pauses.next(ended.as_ref())).await,
            _ => {}
        }
    }
    Ok(())
}

/// Reads until the stream ends; returns why, if it said.
async fn watch_stream(
    client: &Client,
    mut stream: tonic::Streaming<bulkhead_proto::tools::v1::WatchExecutionResponse>,
    seen: &mut Execution,
    pauses: &mut Pauses,
) -> Option<Status> {
    loop {
        match stream.message().await {
            Ok(Some(answer)) => {
                pauses.reset();
                if let Some(execution) = answer.execution {
                    announce(client, seen, &execution);
                    *seen = execution;
                }
            }
            Ok(None) => return None,
            Err(status) => return Some(status),
        }
    }
}

/// Tells a person what they have to do, once.
fn announce(client: &Client, before: &Execution, after: &Execution) {
    if after.state() == ExecutionState::AwaitingApproval && before.approval_id.is_empty() {
        ask_for_decision(client, after);
    }
}

/// What a person runs to decide.
pub(crate) fn ask_for_decision(client: &Client, execution: &Execution) {
    if execution.state() != ExecutionState::AwaitingApproval {
        return;
    }
    let id = &execution.approval_id;
    client.output.remark(&format!(
        "{} waits for a person to decide:\n  bulkhead approvals approve {id}\n  bulkhead approvals deny {id} --reason \"…\"",
        super::text::harmless(&execution.tool),
    ));
}

/// What is true of an execution that is left alone now.
pub(crate) fn left_behind(execution: &Execution) -> String {
    let id = &execution.execution_id;
    match execution.state() {
        ExecutionState::AwaitingApproval => format!(
            "Approval {} stays pending, and the call runs if it is approved. Look with: bulkhead executions show {id}",
            execution.approval_id
        ),
        _ => format!("The call goes on without you. Look with: bulkhead executions show {id}"),
    }
}
