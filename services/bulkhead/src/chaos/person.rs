//! The person: looks at what waits, and decides what the name of the file says.

use std::collections::HashMap;
use std::path::PathBuf;

use bulkhead_edge::peer::{Peer, within};
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::approval::v1::{
    Approval, ApprovalState, DecideApprovalRequest, Decision, ListApprovalsRequest,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::agent::{CHANGED, CHANGED_MARK};
use super::claim::Decided;
use super::plan::acts::Verdict;
use super::voice::{AGAIN_PAUSE, CALL_TIMEOUT, Errors};

/// Approvals that are looked at in one go; more than can wait.
const PAGE: u32 = 200;

/// Somebody who may approve.
#[derive(Debug)]
pub(super) struct Person {
    /// The approval service.
    pub(super) desk: ApprovalServiceClient<Peer>,
    /// The folder of the files.
    pub(super) workspace: PathBuf,
    /// Goes home then.
    pub(super) home: CancellationToken,
    /// Error answers.
    pub(super) errors: Errors,
}

impl Person {
    /// Decides until it is time to go home.
    pub(super) async fn run(mut self) -> Vec<Decided> {
        let mut decided: HashMap<String, Decided> = HashMap::new();
        let mut votes: HashMap<String, DecideApprovalRequest> = HashMap::new();
        loop {
            for approval in self.waiting().await {
                let (path, verdict) = shown(&approval);
                let Some(decision) = decision(verdict).filter(|_| self.may_vote(&path)) else { continue };
                let known = decided.entry(approval.approval_id.clone()).or_insert_with(|| Decided {
                    approval_id: approval.approval_id.clone(),
                    path,
                    verdict,
                    saw_change: approval.plan_json.contains(CHANGED.trim_end()),
                    counted: false,
                });
                // One vote, however often it has to be sent.
                let vote =
                    votes.entry(approval.approval_id.clone()).or_insert_with(|| vote(&approval, decision));
                match self.desk.decide_approval(within(vote.clone(), CALL_TIMEOUT)).await {
                    Ok(_) => known.counted = true,
                    Err(status) => drop(self.errors.take(&status)),
                }
            }
            if self.home.run_until_cancelled(tokio::time::sleep(AGAIN_PAUSE)).await.is_none() {
                return decided.into_values().collect();
            }
        }
    }

    /// Whether a file that is to be changed before the vote has been.
    fn may_vote(&self, path: &str) -> bool {
        let is_there =
            || std::fs::read_to_string(self.workspace.join(path)).is_ok_and(|content| content == CHANGED);
        !path.contains(CHANGED_MARK) || is_there()
    }

    async fn waiting(&mut self) -> Vec<Approval> {
        let request = ListApprovalsRequest {
            page_size: PAGE,
            state: ApprovalState::Pending.into(),
            ..ListApprovalsRequest::default()
        };
        match self.desk.list_approvals(within(request, CALL_TIMEOUT)).await {
            Ok(answer) => answer.into_inner().approvals,
            Err(status) => {
                self.errors.take(&status);
                Vec::new()
            }
        }
    }
}

fn decision(verdict: Verdict) -> Option<Decision> {
    match verdict {
        Verdict::Approve => Some(Decision::Approve),
        Verdict::Deny => Some(Decision::Deny),
        Verdict::Ignore => None,
    }
}

/// The file that the plan is about, from the bytes that the approval is bound to, and what its name asks for. What
/// nobody planned for is left alone.
fn shown(approval: &Approval) -> (String, Verdict) {
    let plan: Value = serde_json::from_str(&approval.plan_json).unwrap_or_default();
    let path = plan["arguments"]["path"].as_str().unwrap_or_default().to_owned();
    let verdict = Verdict::of(&path).unwrap_or(Verdict::Ignore);
    (path, verdict)
}

fn vote(approval: &Approval, decision: Decision) -> DecideApprovalRequest {
    DecideApprovalRequest {
        request_id: Uuid::now_v7().to_string(),
        approval_id: approval.approval_id.clone(),
        decision: decision.into(),
        reason: "as the name of the file says".to_owned(),
        plan_digest: approval.plan_digest.clone(),
        ..DecideApprovalRequest::default()
    }
}
