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
use serde_json::{Value, json};
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

/// What somebody else writes to a file of [`Deed::Changed`].
pub(super) const CHANGED: &str = "somebody else was here\n";
/// In the name of such a file; the person votes once it was changed.
pub(super) const CHANGED_MARK: &str = "-changed-";

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
        let mut content = format!("token {name} of run {}\n", self.seed);
        let wish = Wish::of(deed, &name, &content);
        if deed != Deed::Create {
            self.lay(&wish.path, &content).await?;
        }
        let input = wish.input.to_string();
        let calls = match deed {
            Deed::Twins => {
                let once = Act { sent: Sent::Once, ..act };
                let (one, other) = tokio::join!(
                    self.execute(once, wish.tool, &input),
                    self.execute(once, wish.tool, &input)
                );
                vec![one, other]
            }
            Deed::Changed => {
                let (call, changed) = self.interfered(act, &wish).await?;
                content = if changed { CHANGED.to_owned() } else { content };
                vec![call]
            }
            _ => vec![self.execute(act, wish.tool, &input).await],
        };
        let done = calls.iter().find(|call| call.standing == Standing::Succeeded);
        let undo = match done {
            Some(done) if act.undone => Some(self.undo(done).await),
            _ => None,
        };
        Ok(Claim { deed, path: wish.path, content, calls, undo })
    }

    async fn lay(&self, path: &str, content: &str) -> anyhow::Result<()> {
        let laid = tokio::fs::write(self.workspace.join(path), content).await;
        laid.with_context(|| format!("cannot lay out {path}"))
    }

    /// Asks for it, and writes to the file as soon as people are asked; whether it came to that.
    async fn interfered(&self, act: Act, wish: &Wish) -> anyhow::Result<(Call, bool)> {
        let opened = CancellationToken::new();
        let input = wish.input.to_string();
        let asked = self.execute_and_tell(act, wish.tool, &input, &opened);
        tokio::pin!(asked);
        tokio::select! {
            call = &mut asked => Ok((call, false)),
            () = opened.cancelled() => {
                self.lay(&wish.path, CHANGED).await?;
                Ok((asked.await, true))
            }
        }
    }

    async fn execute(&self, act: Act, tool: &str, input: &str) -> Call {
        self.execute_and_tell(act, tool, input, &CancellationToken::new()).await
    }

    /// The same; `opened` is told when it waits or runs.
    async fn execute_and_tell(&self, act: Act, tool: &str, input: &str, opened: &CancellationToken) -> Call {
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
            tokio::join!(self.settle(&mut call, send, opened), self.settle(&mut copy, send, opened));
            call.join(copy);
        } else {
            self.settle(&mut call, send, opened).await;
        }
        if act.sent == Sent::Again {
            let mut copy = Call::new(request.request_id.clone());
            self.settle(&mut copy, send, opened).await;
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
        self.settle(&mut call, send, &CancellationToken::new()).await;
        call
    }

    /// Sends the same request until its outcome is known, or it is given up.
    async fn settle<F>(&self, call: &mut Call, send: impl Fn() -> F, opened: &CancellationToken)
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
                        opened.cancel();
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

/// One call for one file.
struct Wish {
    path: String,
    tool: &'static str,
    input: Value,
}

impl Wish {
    fn of(deed: Deed, name: &str, content: &str) -> Self {
        let deletes = |path: String| {
            let input = json!({ "root": "workspace", "path": path });
            Self { path, tool: "fs.delete", input }
        };
        match deed {
            Deed::Create => {
                let path = format!("made/{name}.txt");
                let input = json!({ "root": "workspace", "path": path, "content": content });
                Self { path, tool: "fs.write", input }
            }
            Deed::Delete(verdict) => deletes(format!("old/{name}-{}.txt", verdict.word())),
            Deed::Twins => deletes(format!("old/{name}-twins-approve.txt")),
            Deed::Changed => deletes(format!("old/{name}{CHANGED_MARK}approve.txt")),
            Deed::Move | Deed::Append | Deed::Ask => {
                let path = format!("inbox/{name}.txt");
                let input = json!({ "root": "workspace", "from": path, "to": arrives_at(&path) });
                Self { path, tool: "fs.move", input }
            }
        }
    }
}

/// Where a token of the inbox is moved to.
pub(super) fn arrives_at(path: &str) -> String {
    path.replacen("inbox/", "done/", 1)
}
