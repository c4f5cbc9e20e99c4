//! Tool calls, and the world before and after them.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use bulkhead_proto::approval::v1::{Approval, DecideApprovalRequest, Decision, GetApprovalRequest};
use bulkhead_proto::common::v1::RunContext;
use bulkhead_proto::router::v1::ToolUse;
use bulkhead_proto::tools::v1::{
    ExecuteToolCallRequest, Execution, ExecutionState, GetExecutionRequest, ToolCall, ToolResult,
    UndoExecutionRequest,
};
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

use super::Stage;
use crate::demo::clients::{answer, patiently, timed};
use crate::serve::Service;
use crate::up::say;

/// How long an approved call may take to end.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks at an execution.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

impl Stage<'_> {
    /// Runs a call that needs nobody.
    pub(super) async fn execute(
        &mut self,
        context: &RunContext,
        call: &ToolUse,
    ) -> anyhow::Result<ToolResult> {
        let execution = self.send(request(context, call)).await?;
        execution.result.context("an execution without a result")
    }

    async fn send(&mut self, request: ExecuteToolCallRequest) -> anyhow::Result<Execution> {
        let response = self.clients.executor.clone().execute_tool_call(timed(request)).await?.into_inner();
        let execution = response.execution.context("an answer without an execution")?;
        if !execution.execution_id.is_empty() {
            self.last_execution_id.clone_from(&execution.execution_id);
        }
        Ok(execution)
    }

    /// Plans the write first, then does it, then sends the same request once more.
    pub(super) async fn write_after_dry_run(
        &mut self,
        context: &RunContext,
        call: &ToolUse,
    ) -> anyhow::Result<ToolResult> {
        self.evidence.tree_before_dry_run = self.workspace.tree_sha256()?;
        let dry = RunContext { dry_run: true, ..context.clone() };
        let planned = self.send(request(&dry, call)).await?.plan.context("a dry run without a plan")?;
        self.evidence.tree_after_dry_run = self.workspace.tree_sha256()?;
        self.evidence.dry_run_effects = planned.effects.len();
        if let Some(effect) = planned.effects.first() {
            self.evidence.summary_planned_sha256.clone_from(&effect.after_sha256);
        }

        let request = request(context, call);
        let execution = self.send(request.clone()).await?;
        self.evidence.summary_found_sha256 = self.workspace.sha256(&self.workspace.planted().summary)?;
        self.evidence.replay_first_id.clone_from(&execution.execution_id);
        self.evidence.replay_stamp_before = self.workspace.stamp(&self.workspace.planted().summary);
        self.evidence.replay_second_id = self.send(request).await?.execution_id;
        self.evidence.replay_stamp_after = self.workspace.stamp(&self.workspace.planted().summary);
        execution.result.context("an execution without a result")
    }

    /// Asks for the delete, kills the executor while a person is asked, and lets the person decide.
    pub(super) async fn delete_with_approval(
        &mut self,
        context: &RunContext,
        call: &ToolUse,
    ) -> anyhow::Result<ToolResult> {
        let execution = self.send(request(context, call)).await?;
        self.delete_execution_id.clone_from(&execution.execution_id);
        self.evidence.delete_state_before_decision = state(&execution);
        self.evidence.deleted_sha256_while_waiting =
            self.workspace.sha256(&self.workspace.planted().obsolete)?;
        if execution.state() == ExecutionState::AwaitingApproval {
            self.kill_executor().await?;
            self.decide(&execution.approval_id).await?;
        }
        let settled = self.settled(&execution.execution_id).await?;
        self.evidence.delete_state_final = state(&settled);
        self.evidence.deleted_sha256_after = self.workspace.sha256(&self.workspace.planted().obsolete)?;
        settled.result.context("a settled execution without a result")
    }

    async fn kill_executor(&mut self) -> anyhow::Result<()> {
        say("  the executor is killed (-9) while the approval waits …");
        let earlier = self.stack.kill(Service::ToolExecutor);
        self.evidence.pid_before_kill = earlier.pid.unwrap_or(0);
        let now = self.stack.restarted(Service::ToolExecutor, earlier).await?;
        self.evidence.pid_after_kill = now.pid.unwrap_or(0);
        let execution = self.look(&self.delete_execution_id.clone()).await?;
        self.evidence.delete_state_after_kill = state(&execution);
        Ok(())
    }

    async fn decide(&mut self, approval_id: &str) -> anyhow::Result<()> {
        let get = GetApprovalRequest { approval_id: approval_id.to_owned() };
        let approval = self.clients.approver.clone().get_approval(timed(get)).await?.into_inner().approval;
        let approval = approval.context("an answer without an approval")?;

        let own = self.clients.owner.clone().decide_approval(timed(vote(&approval, Decision::Approve))).await;
        self.evidence.owner_vote = answer(&own);
        self.evidence.deleted_sha256_after_owner_vote =
            self.workspace.sha256(&self.workspace.planted().obsolete)?;

        let decision = self.person.decide(&approval).await?;
        self.evidence.person_approved = decision == Decision::Approve;
        self.clients.approver.clone().decide_approval(timed(vote(&approval, decision))).await?;
        Ok(())
    }

    /// Waits for a final state.
    async fn settled(&mut self, execution_id: &str) -> anyhow::Result<Execution> {
        let until = Instant::now() + SETTLE_TIMEOUT;
        loop {
            let execution = self.look(execution_id).await?;
            let open = [ExecutionState::Planned, ExecutionState::AwaitingApproval, ExecutionState::Running];
            if !open.contains(&execution.state()) {
                return Ok(execution);
            }
            anyhow::ensure!(Instant::now() < until, "the execution is still {}", state(&execution));
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    async fn look(&self, execution_id: &str) -> anyhow::Result<Execution> {
        let message = GetExecutionRequest { execution_id: execution_id.to_owned() };
        let look = || {
            let (mut executor, message) = (self.clients.executor.clone(), message.clone());
            async move { executor.get_execution(timed(message)).await }
        };
        patiently(look).await?.execution.context("an answer without an execution")
    }

    /// Takes the delete back.
    pub(super) async fn undo_delete(&mut self) -> anyhow::Result<()> {
        if self.evidence.delete_state_final != "SUCCEEDED" {
            return Ok(());
        }
        say("The delete is taken back …");
        let message = UndoExecutionRequest {
            request_id: Uuid::now_v7().to_string(),
            execution_id: self.delete_execution_id.clone(),
            context: Some(self.context()),
            ..UndoExecutionRequest::default()
        };
        let response = self.clients.executor.clone().undo_execution(timed(message)).await?.into_inner();
        let undo = response.execution.context("an answer without an execution")?;
        self.last_execution_id = self.settled(&undo.execution_id).await?.execution_id;
        self.evidence.deleted_sha256_undone = self.workspace.sha256(&self.workspace.planted().obsolete)?;
        Ok(())
    }

    /// Locks the journal from outside, as a stuck backup would, and tries to write.
    pub(super) async fn write_while_locked(&mut self) -> anyhow::Result<()> {
        say("The executor's journal is locked from outside, and a write is tried …");
        let mut journal = SqliteConnection::connect(&format!("sqlite://{}", self.journal()?)).await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut journal).await.context("cannot lock the journal")?;
        let input =
            serde_json::json!({ "path": self.workspace.planted().locked, "content": "written after all\n" });
        let call = ToolUse { name: "fs.write".into(), input_json: input.to_string(), ..ToolUse::default() };
        let request = request(&self.context(), &call);
        let refused = self.clients.executor.clone().execute_tool_call(timed(request.clone())).await;
        self.evidence.locked_answer = answer(&refused);
        self.evidence.locked_file_appeared =
            !self.workspace.sha256(&self.workspace.planted().locked)?.is_empty();
        sqlx::query("ROLLBACK").execute(&mut journal).await.context("cannot unlock the journal")?;
        journal.close().await?;

        let again = || {
            let (mut executor, request) = (self.clients.executor.clone(), request.clone());
            async move { executor.execute_tool_call(timed(request)).await }
        };
        let written = patiently(again).await?.execution.context("an answer without an execution")?;
        self.last_execution_id = self.settled(&written.execution_id).await?.execution_id;
        self.evidence.unlocked_file_appeared =
            !self.workspace.sha256(&self.workspace.planted().locked)?.is_empty();
        Ok(())
    }

    fn journal(&self) -> anyhow::Result<String> {
        let folder = self.stack.layout().data(Service::ToolExecutor);
        let files = std::fs::read_dir(&folder)?.filter_map(Result::ok).map(|entry| entry.path());
        let journal =
            files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "sqlite"));
        let journal = journal.with_context(|| format!("no journal in {}", folder.display()))?;
        journal.to_str().map(str::to_owned).context("the journal's path is not UTF-8")
    }

    fn context(&self) -> RunContext {
        RunContext { session_id: self.session_id.clone(), ..RunContext::default() }
    }
}

fn request(context: &RunContext, call: &ToolUse) -> ExecuteToolCallRequest {
    ExecuteToolCallRequest {
        request_id: Uuid::now_v7().to_string(),
        call: Some(ToolCall { tool: call.name.clone(), arguments_json: call.input_json.clone() }),
        context: Some(context.clone()),
        wait_for_approval: None,
        ..ExecuteToolCallRequest::default()
    }
}

fn vote(approval: &Approval, decision: Decision) -> DecideApprovalRequest {
    DecideApprovalRequest {
        request_id: Uuid::now_v7().to_string(),
        approval_id: approval.approval_id.clone(),
        decision: decision.into(),
        reason: "seen in the demo".to_owned(),
        plan_digest: approval.plan_digest.clone(),
        ..DecideApprovalRequest::default()
    }
}

/// `AWAITING_APPROVAL`, without the prefix of the contract.
fn state(execution: &Execution) -> String {
    execution.state().as_str_name().trim_start_matches("EXECUTION_STATE_").to_owned()
}
