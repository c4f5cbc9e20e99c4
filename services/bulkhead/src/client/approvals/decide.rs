//! A person's yes or no.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use bulkhead_proto::approval::v1::{Approval, ApprovalState, DecideApprovalRequest, Decision};
use clap::Args;
use uuid::Uuid;

use super::{connect, get, show, state};
use crate::client::{Client, ClientArguments, ClientError, Exit, plan, request_id, run};

/// Arguments of `bulkhead approvals approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// Which.
    approval_id: Uuid,
    /// Do not ask: the plan has been looked at already. Needed where there is no terminal to ask at.
    #[arg(long, short)]
    yes: bool,
    /// Approve only a plan with this SHA-256, as an earlier `show` gave it.
    #[arg(long, value_name = "SHA256")]
    plan_digest: Option<String>,
    /// For the record.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Repeat an earlier vote whose outcome is not known.
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead approvals deny`.
#[derive(Debug, Args)]
pub(crate) struct DenyArguments {
    /// Which.
    approval_id: Uuid,
    /// Why; the agent reads it.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Repeat an earlier vote whose outcome is not known.
    #[arg(long, value_name = "UUID")]
    request_id: Option<Uuid>,
    #[command(flatten)]
    client: ClientArguments,
}

impl ApproveArguments {
    pub(super) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            if !self.yes && !std::io::stdin().is_terminal() {
                return Err(ClientError::Usage(
                    "there is no terminal to ask at; look at the plan with `bulkhead approvals show`, then pass --yes"
                        .to_owned(),
                ));
            }
            let mut approvals = connect(client)?;
            let approval = get(client, &mut approvals, self.approval_id).await?;
            let digest = shown_digest(&approval, self.plan_digest.as_deref())?;
            client.output.remark(&show::render(&approval, client.now));
            if approval.state() == ApprovalState::Pending && !self.yes && !ask().await? {
                client.output.remark("Not approved; it still waits.");
                return Ok(Exit::AwaitingApproval);
            }
            let vote = DecideApprovalRequest {
                request_id: request_id(self.request_id),
                approval_id: approval.approval_id,
                decision: Decision::Approve.into(),
                reason: self.reason,
                plan_digest: digest,
                ..DecideApprovalRequest::default()
            };
            send(client, &mut approvals, vote).await
        })
    }
}

impl DenyArguments {
    pub(super) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let mut approvals = connect(client)?;
            let approval = get(client, &mut approvals, self.approval_id).await?;
            let vote = DecideApprovalRequest {
                request_id: request_id(self.request_id),
                approval_id: approval.approval_id,
                decision: Decision::Deny.into(),
                reason: self.reason,
                plan_digest: approval.plan_digest,
                ..DecideApprovalRequest::default()
            };
            send(client, &mut approvals, vote).await
        })
    }
}

/// The digest of the bytes that are shown, computed here. A vote is for nothing else, whatever the service
/// says that it holds.
fn shown_digest(approval: &Approval, wanted: Option<&str>) -> Result<String, ClientError> {
    let digest = plan::digest(&approval.plan_json);
    if digest != approval.plan_digest {
        return Err(ClientError::Contract("with a plan and a digest that do not belong together"));
    }
    match wanted {
        Some(wanted) if !wanted.eq_ignore_ascii_case(&digest) => Err(ClientError::Failed(format!(
            "the plan is not the one that --plan-digest names: its SHA-256 is {digest}; look at it again"
        ))),
        _ => Ok(digest),
    }
}

async fn send(
    client: &Client,
    approvals: &mut super::Approvals,
    vote: DecideApprovalRequest,
) -> Result<Exit, ClientError> {
    let id = vote.request_id.clone();
    let answer = client.act("vote", &id, approvals.decide_approval(client.timed(vote))).await?;
    let approval = answer.approval.ok_or(ClientError::Contract("without an approval"))?;
    client.show(&approval, || outcome(&approval))?;
    Ok(Exit::Done)
}

fn outcome(approval: &Approval) -> String {
    let id = &approval.approval_id;
    match approval.state() {
        ApprovalState::Pending => {
            let wanted: u32 = approval.requirements.iter().map(|need| need.count).sum();
            format!("{id} has your vote: {} of {wanted}; it waits for the others.", approval.votes.len())
        }
        _ => format!("{id} is {}.", state(approval)),
    }
}

async fn ask() -> Result<bool, ClientError> {
    let asked = tokio::task::spawn_blocking(|| {
        write!(std::io::stderr(), "Approve exactly this? [y/N] ")?;
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok::<_, std::io::Error>(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    });
    let answer = asked.await.map_err(|error| ClientError::Failed(format!("cannot ask: {error}")))?;
    answer.map_err(|error| ClientError::Failed(format!("cannot ask: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn approval(plan_json: &str) -> Approval {
        Approval { plan_json: plan_json.into(), plan_digest: plan::digest(plan_json), ..Approval::default() }
    }

    #[test]
    fn a_vote_is_for_the_bytes_that_were_shown_and_nothing_else() {
        let honest = approval("{}");
        assert_eq!(shown_digest(&honest, None).unwrap(), plan::digest("{}"));
        assert!(shown_digest(&honest, Some(&plan::digest("{}").to_uppercase())).is_ok());
        assert!(shown_digest(&honest, Some(&plan::digest("[]"))).is_err());
        let forged = Approval { plan_json: "{\"tool\":\"fs.read\"}".into(), ..honest };
        assert!(shown_digest(&forged, None).is_err());
    }
}
