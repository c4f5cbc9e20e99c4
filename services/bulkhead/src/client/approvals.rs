//! `bulkhead approvals`: what waits for people, and their decisions.

mod decide;
mod show;
mod watch;

use std::process::ExitCode;

use bulkhead_edge::peer::Peer;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use bulkhead_proto::approval::v1::{
    Approval, ApprovalState, GetApprovalRequest, ListApprovalsRequest, ListApprovalsResponse,
};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::table::Table;
use super::{Client, ClientArguments, ClientError, Exit, Limit, exit, run, text, time, word};
use crate::serve::Service;

/// See the help of each.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List approvals, newest first; those that wait unless told otherwise.
    ///
    /// Example: bulkhead approvals ls --state all --limit 10
    #[command(after_long_help = exit::HELP)]
    Ls(LsArguments),
    /// Show one approval with its complete plan.
    ///
    /// Example: bulkhead approvals show 0199f3a0-0000-7000-8000-000000000000
    #[command(after_long_help = exit::HELP)]
    Show(ShowArguments),
    /// Show the plan, ask, and vote for exactly what was shown.
    ///
    /// Example: bulkhead approvals approve 0199f3a0-0000-7000-8000-000000000000
    #[command(after_long_help = exit::HELP)]
    Approve(decide::ApproveArguments),
    /// Say no. The agent reads the reason.
    ///
    /// Example: bulkhead approvals deny 0199f3a0-0000-7000-8000-000000000000 --reason "keep the draft"
    #[command(after_long_help = exit::HELP)]
    Deny(decide::DenyArguments),
    /// Follow approvals as they are asked for and decided.
    ///
    /// Goes on by itself when the stream ends. Starts with what waits.
    ///
    /// Example: bulkhead approvals watch --json
    #[command(after_long_help = exit::HELP)]
    Watch(watch::WatchArguments),
}

/// Arguments of `bulkhead approvals ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArguments {
    /// Only those in this state.
    #[arg(long, value_enum, default_value = "pending")]
    state: StateFilter,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    client: ClientArguments,
}

/// Arguments of `bulkhead approvals show`.
#[derive(Debug, Args)]
pub(crate) struct ShowArguments {
    /// Which.
    approval_id: Uuid,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StateFilter {
    All,
    Pending,
    Approved,
    Denied,
    Expired,
    Cancelled,
}

impl StateFilter {
    fn wire(self) -> ApprovalState {
        match self {
            Self::All => ApprovalState::Unspecified,
            Self::Pending => ApprovalState::Pending,
            Self::Approved => ApprovalState::Approved,
            Self::Denied => ApprovalState::Denied,
            Self::Expired => ApprovalState::Expired,
            Self::Cancelled => ApprovalState::Cancelled,
        }
    }
}

impl ApprovalsCommand {
    /// Does what was asked.
    pub(crate) fn run(self) -> ExitCode {
        match self {
            Self::Ls(arguments) => {
                run(arguments.client, async |client| list(client, arguments.state, arguments.limit).await)
            }
            Self::Show(arguments) => {
                run(arguments.client, async |client| show(client, arguments.approval_id).await)
            }
            Self::Approve(arguments) => arguments.run(),
            Self::Deny(arguments) => arguments.run(),
            Self::Watch(arguments) => arguments.run(),
        }
    }
}

type Approvals = ApprovalServiceClient<Peer>;

/// As the person who may decide.
fn connect(client: &Client) -> Result<Approvals, ClientError> {
    Ok(ApprovalServiceClient::new(client.connect(Service::Approval, "approver")?))
}

async fn list(client: &Client, state: StateFilter, limit: Limit) -> Result<Exit, ClientError> {
    let approvals = connect(client)?;
    let page = async |page_size, page_token| {
        let request = client.timed(ListApprovalsRequest {
            page_size,
            page_token,
            state: state.wire().into(),
            ..ListApprovalsRequest::default()
        });
        let answer = client.read("list approvals", approvals.clone().list_approvals(request)).await?;
        Ok((answer.approvals, answer.next_page_token))
    };
    let (approvals, next_page_token) = limit.collect(page).await?;
    let all = ListApprovalsResponse { approvals, next_page_token };
    client.show(&all, || table(&all.approvals, client.now).render(client.output.columns()))?;
    limit.remark(client, all.approvals.len(), &all.next_page_token);
    Ok(Exit::Done)
}

async fn show(client: &Client, approval_id: Uuid) -> Result<Exit, ClientError> {
    let approval = get(client, &mut connect(client)?, approval_id).await?;
    client.show(&approval, || show::render(&approval, client.now))?;
    Ok(Exit::Done)
}

async fn get(client: &Client, approvals: &mut Approvals, id: Uuid) -> Result<Approval, ClientError> {
    let request = client.timed(GetApprovalRequest { approval_id: id.to_string() });
    let answer = client.read("read the approval", approvals.get_approval(request)).await?;
    answer.approval.ok_or(ClientError::Contract("without an approval"))
}

fn state(approval: &Approval) -> String {
    word(approval.state().as_str_name(), "APPROVAL_STATE_")
}

/// What is asked, in a few words: the tool and what it would do it to.
fn summary(approval: &Approval) -> String {
    let plan: Value = serde_json::from_str(&approval.plan_json).unwrap_or(Value::Null);
    let effects = plan["effects"].as_array().into_iter().flatten();
    let targets: Vec<_> = effects.filter_map(|effect| effect["target"].as_str()).collect();
    let tool = plan["tool"].as_str().unwrap_or("?");
    text::short(&format!("{tool} {}", targets.join(", ")), SUMMARY_MAX)
}

/// Longest summary of a plan in a list. `show` has all of it.
const SUMMARY_MAX: usize = 80;

fn table(approvals: &[Approval], now: Timestamp) -> Table<6> {
    let mut table = Table::new(["APPROVAL", "STATE", "WHAT", "FOR", "ASKED", "EXPIRES"]);
    for approval in approvals {
        let pending = approval.state() == ApprovalState::Pending;
        table.row([
            approval.approval_id.clone(),
            state(approval),
            summary(approval),
            approval.on_behalf_of.as_ref().map_or_else(String::new, |who| who.name.clone()),
            time::brief(approval.create_time.as_ref(), now),
            if pending { time::brief(approval.expire_time.as_ref(), now) } else { String::new() },
        ]);
    }
    table
}
