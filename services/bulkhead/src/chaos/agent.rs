//! An agent: does one thing after the other, repeats a request under its own id until it has an answer, and writes
//! down what it was told.

mod ledger;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_edge::peer::{Peer, within};
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bulkhead_proto::tools::v1::tool_executor_service_client::ToolExecutorServiceClient;
use bulkhead_proto::tools::v1::{
    ExecuteToolCallRequest, Execution, GetExecutionRequest, ToolCall, UndoExecutionRequest,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::claim::{Asked, Call, Claim, Standing};
use super::plan::acts::{Act, Deed, Sent, acts};
use super::voice::{AGAIN_PAUSE, CALL_TIMEOUT, Errors, ending, greeting, named};
pub(super) use ledger::GENESIS;
use ledger::Ledger;

/// How long one call waits for people before it answers that it waits.
const PEOPLE_WAIT: Duration = Duration::from_secs(1);

/// What an agent needs.
#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// From 0.
    pub(super) number: u32,
    /// Of the whole run.
    pub(super) seed: u64,
    /// The tool-executor.
    pub(super) executor: ToolExecutorServiceClient<Peer>,
    /// The model-router.
    pub(super) router: ModelRouterServiceClient<Peer>,
    /// The folder of the files, for the tokens that it lays out.
    pub(super) workspace: PathBuf,
    /// Nothing new is begun from then on.
    pub(super) over: CancellationToken,
    /// What is open then stays open.
    pub(super) give_up: CancellationToken,
    /// Error answers.
    pub(super) errors: Errors,
}

/// What an agent has to tell at its end.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Of tools.
    pub(super) claims: Vec<Claim>,
    /// Of models.
    pub(super) asked: Vec<Asked>,
}

impl Agent {
    /// Acts until the run is over, then finishes what it has begun.
    pub(super) async fn run(self) -> anyhow::Result<Told> {
        let (mut told, mut ledger) = (Told::default(), Ledger::of(self.number));
        for act in acts(self.seed, self.number) {
            if self.over.is_cancelled() {
                break;
            }
            match act.deed {
                Deed::Ask => told.asked.push(self.ask().await),
                Deed::Append => told.claims.push(self.append(act, &mut ledger).await),
                deed => told.claims.push(self.change(act, deed).await?),
            }
        }
        Ok(told)
    }

    /// Adds the next line of the chain. Only a line that is certainly there is built upon.
    async fn append(&self, act: Act, ledger: &mut Ledger) -> Claim {
        let line = ledger.next(act.number);
        let (tool, input) = if ledger.exists {
            ("fs.append", json!({ "root": "workspace", "path": ledger.path, "content": line }))
        } else {
            ("fs.write", json!({ "root": "workspace", "path": ledger.path, "content": line }))
        };
        let call = self.execute(act, tool, &input.to_string()).await;
        let done = call.standing == Standing::Succeeded;
        // The file itself is not taken back: there would be nothing to append to.
        let undo = if act.undone && done && ledger.exists { Some(self.undo(&call).await) } else { None };
        let undone = undo.as_ref().is_some_and(|undo| undo.standing == Standing::Succeeded);
        ledger.exists |= done;
        if done && !undone {
            ledger.add(&line);
        }
        Claim { deed: act.deed, path: ledger.path.clone(), content: line, calls: vec![call], undo }
    }

    /// Creates, moves or deletes one file.
    async fn change(&self, act: Act, deed: Deed) -> anyhow::Result<Claim> {
        let name = format!("a{}-{}", self.number, act.number);
        let content = format!("token {name} of run {}\n", self.seed);
        let path = match deed {
            Deed::Create => format!("made/{name}.txt"),
            Deed::Delete(verdict) => format!("old/{name}-{}.txt", verdict.word()),
            Deed::Twins => format!("old/{name}-twins-approve.txt"),
            Deed::Move | Deed::Append | Deed::Ask => format!("inbox/{name}.txt"),
        };
        if deed != Deed::Create {
            let laid = tokio::fs::write(self.workspace.join(&path), &content).await;
            laid.with_context(|| format!("cannot lay out {path}"))?;
        }
        let (tool, input) = match deed {
            Deed::Create => ("fs.write", json!({ "root": "workspace", "path": path, "content": content })),
            Deed::Delete(_) | Deed::Twins => ("fs.delete", json!({ "root": "workspace", "path": path })),
            Deed::Move | Deed::Append | Deed::Ask => {
                let to = arrives_at(&path);
                ("fs.move", json!({ "root": "workspace", "from": path, "to": to }))
            }
        };
        let input = input.to_string();
        let calls = if deed == Deed::Twins {
            let once = Act { sent: Sent::Once, ..act };
            let (one, other) =
                tokio::join!(self.execute(once, tool, &input), self.execute(once, tool, &input));
            vec![one, other]
        } else {
            vec![self.execute(act, tool, &input).await]
        };
        let done = calls.iter().find(|call| call.standing == Standing::Succeeded);
        let undo = match done {
            Some(done) if act.undone => Some(self.undo(done).await),
            _ => None,
        };
        Ok(Claim { deed, path, content, calls, undo })
    }

    async fn execute(&self, act: Act, tool: &str, input: &str) -> Call {
        let request = ExecuteToolCallRequest {
            request_id: Uuid::now_v7().to_string(),
            call: Some(ToolCall { tool: tool.to_owned(), arguments_json: input.to_owned() }),
            context: Some(self.context(act)),
            wait_for_approval: prost_types::Duration::try_from(PEOPLE_WAIT).ok(),
            ..ExecuteToolCallRequest::default()
        };
        let send = || {
            let (mut executor, request) = (self.executor.clone(), request.clone());
            async move {
                let answer = executor.execute_tool_call(within(request, CALL_TIMEOUT)).await?;
                Ok(answer.into_inner().execution)
            }
        };
        let mut call = Call::new(request.request_id.clone());
        if act.sent == Sent::TwiceAtOnce {
            let mut copy = call.clone();
            tokio::join!(self.settle(&mut call, send), self.settle(&mut copy, send));
            call.join(copy);
        } else {
            self.settle(&mut call, send).await;
        }
        if act.sent == Sent::Again {
            let mut copy = Call::new(request.request_id.clone());
            self.settle(&mut copy, send).await;
            call.join(copy);
        }
        call
    }

    async fn undo(&self, done: &Call) -> Call {
        let request = UndoExecutionRequest {
            request_id: Uuid::now_v7().to_string(),
            execution_id: done.execution_ids.first().cloned().unwrap_or_default(),
            context: Some(RunContext { session_id: self.session(), ..RunContext::default() }),
            ..UndoExecutionRequest::default()
        };
        let mut call = Call::new(request.request_id.clone());
        let send = || {
            let (mut executor, request) = (self.executor.clone(), request.clone());
            async move {
                let answer = executor.undo_execution(within(request, CALL_TIMEOUT)).await?;
                Ok(answer.into_inner().execution)
            }
        };
        self.settle(&mut call, send).await;
        call
    }

    /// Sends the same request until its outcome is known, or it is given up.
    async fn settle<F>(&self, call: &mut Call, send: impl Fn() -> F)
    where
        F: Future<Output = Result<Option<Execution>, Status>>,
    {
        while !call.standing.is_settled() {
            let answer = match self.give_up.run_until_cancelled(send()).await {
                Some(answer) => answer,
                None => return,
            };
            match answer {
                Ok(execution) => {
                    let execution = execution.unwrap_or_default();
                    call.heard(&execution.execution_id, Standing::of(execution.state()), ending(&execution));
                    if call.standing == Standing::Open {
                        self.follow(call, &execution.execution_id).await;
                    }
                }
                Err(status) if self.errors.take(&status) => {}
                // Refused for good: nothing was done.
                Err(status) => call.heard("", Standing::NotDone, named(&status)),
            }
            if !call.standing.is_settled() && !self.pause().await {
                return;
            }
        }
    }

    /// Looks at an execution that waits or runs, until it has ended or cannot be looked at.
    async fn follow(&self, call: &mut Call, execution_id: &str) {
        while call.standing == Standing::Open && self.pause().await {
            let request = within(GetExecutionRequest { execution_id: execution_id.to_owned() }, CALL_TIMEOUT);
            match self.executor.clone().get_execution(request).await {
                Ok(answer) => {
                    let execution = answer.into_inner().execution.unwrap_or_default();
                    call.heard(execution_id, Standing::of(execution.state()), ending(&execution));
                }
                Err(status) => drop(self.errors.take(&status)),
            }
        }
    }

    /// False when there is nothing more to wait for.
    async fn pause(&self) -> bool {
        self.give_up.run_until_cancelled(tokio::time::sleep(AGAIN_PAUSE)).await.is_some()
    }

    async fn ask(&self) -> Asked {
        let request = greeting();
        let request_id = request.request_id.clone();
        let answered = loop {
            match self.router.clone().generate(within(request.clone(), CALL_TIMEOUT)).await {
                Ok(_) => break true,
                Err(status) => {
                    if !self.errors.take(&status) || !self.pause().await || self.over.is_cancelled() {
                        break false;
                    }
                }
            }
        };
        Asked { request_id, answered }
    }

    fn session(&self) -> String {
        format!("chaos-{}-{}", self.seed, self.number)
    }

    fn context(&self, act: Act) -> RunContext {
        RunContext { session_id: self.session(), step: act.number, ..RunContext::default() }
    }
}

/// Where a token of the inbox is moved to.
pub(super) fn arrives_at(path: &str) -> String {
    path.replacen("inbox/", "done/", 1)
}
