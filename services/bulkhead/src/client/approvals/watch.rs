//! Approvals as they are asked for and decided.

use std::process::ExitCode;

use bulkhead_proto::approval::v1::{
    Approval, ApprovalState, Decision, WatchApprovalsRequest, WatchApprovalsResponse,
};
use clap::Args;
use jiff::Timestamp;
use tonic::{Status, Streaming};

use super::{connect, state, summary};
use crate::client::waiting::{Pauses, passes};
use crate::client::{Client, ClientArguments, ClientError, Exit, failed, json, run, text, time};

/// Arguments of `bulkhead approvals watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Begin after this revision, as an earlier watch showed it, instead of with what waits now.
    #[arg(long, value_name = "REVISION")]
    after_revision: Option<u64>,
    #[command(flatten)]
    client: ClientArguments,
}

impl WatchArguments {
    pub(super) fn run(self) -> ExitCode {
        run(self.client, async |client| {
            let settled_since = self.after_revision.is_none().then_some(client.now);
            let mut watch = Watch { client, settled_since, revision: self.after_revision.unwrap_or(0) };
            watch.follow().await
        })
    }
}

struct Watch<'c> {
    client: &'c Client,
    /// What was decided before is left out; none: everything is shown.
    settled_since: Option<Timestamp>,
    /// The last revision seen.
    revision: u64,
}

impl Watch<'_> {
    /// Until nobody reads any more, or something that waiting does not mend.
    async fn follow(&mut self) -> Result<Exit, ClientError> {
        let mut approvals = connect(self.client)?;
        let mut pauses = Pauses::new();
        let mut connected = false;
        while !self.client.output.is_closed() {
            self.client
                .leaving(format!("Go on with: bulkhead approvals watch --after-revision {}", self.revision));
            let request = WatchApprovalsRequest { after_revision: self.revision, from_now: false };
            let ended = match approvals.watch_approvals(request).await {
                Ok(stream) => {
                    connected = true;
                    self.read(stream.into_inner(), &mut pauses).await?
                }
                Err(status) => Some(status),
            };
            match &ended {
                // What never worked is told; what broke is taken up again.
                Some(status) if !connected || !passes(status) => {
                    return Err(failed("watch approvals", status.clone(), None));
                }
                _ if self.client.output.is_closed() => break,
                _ => self.pause(&mut pauses, ended.as_ref()).await,
            }
        }
        Ok(Exit::Done)
    }

    async fn pause(&self, pauses: &mut Pauses, ended: Option<&Status>) {
        let pause = pauses.next(ended);
        let why = ended.map_or("it ended", |status| status.message());
        self.client.output.remark(&format!(
            "The stream broke ({}); going on after revision {} in {:.1} s.",
            text::harmless(why),
            self.revision,
            pause.as_secs_f64()
        ));
        tokio::time::sleep(pause).await;
    }

    async fn read(
        &mut self,
        mut stream: Streaming<WatchApprovalsResponse>,
        pauses: &mut Pauses,
    ) -> Result<Option<Status>, ClientError> {
        loop {
            let answer = match stream.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            };
            pauses.reset();
            let Some(approval) = answer.approval else { continue };
            self.revision = self.revision.max(approval.revision);
            self.client
                .leaving(format!("Go on with: bulkhead approvals watch --after-revision {}", self.revision));
            if concerns(&approval, self.settled_since) {
                self.print(&approval)?;
            }
            if self.client.output.is_closed() {
                return Ok(None);
            }
        }
    }

    fn print(&self, approval: &Approval) -> Result<(), ClientError> {
        if self.client.output.json {
            return self.client.output.json_line(&json::of_message(approval)?);
        }
        self.client.output.text(&line(approval))
    }
}

/// Whether somebody who begins to watch at `since` wants to see it.
fn concerns(approval: &Approval, since: Option<Timestamp>) -> bool {
    let Some(since) = since else { return true };
    let settled = time::of_wire(approval.settle_time.as_ref());
    approval.state() == ApprovalState::Pending || settled.is_some_and(|settled| settled >= since)
}

/// One line for one change.
fn line(approval: &Approval) -> String {
    let said = approval.votes.last().map_or_else(String::new, |vote| {
        let word = if vote.decision() == Decision::Approve { "yes" } else { "no" };
        let name = vote.voter.as_ref().map_or("?", |voter| voter.name.as_str());
        format!("  ({word} by {})", text::harmless(name))
    });
    format!("{}  {:<9}  {}{said}", approval.approval_id, state(approval), summary(approval))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::time::Moment;

    #[test]
    fn old_decisions_are_left_out_and_what_waits_is_shown() {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let settled = |text: &str| Approval {
            state: ApprovalState::Denied.into(),
            settle_time: Some(Moment::At(text.parse().unwrap()).resolve(noon)),
            ..Approval::default()
        };
        let pending = Approval { state: ApprovalState::Pending.into(), ..Approval::default() };
        assert!(concerns(&pending, Some(noon)));
        assert!(concerns(&settled("2026-11-22T12:00:01Z"), Some(noon)));
        assert!(!concerns(&settled("2026-11-22T11:59:59Z"), Some(noon)));
        assert!(concerns(&settled("2026-11-22T11:59:59Z"), None));
    }

    #[test]
    fn a_line_holds_what_the_next_command_needs() {
        let approval = Approval {
            approval_id: "01a2".into(),
            state: ApprovalState::Pending.into(),
            plan_json: r#"{"tool":"fs.delete","effects":[{"target":"workspace/a\u001b.md"}]}"#.into(),
            ..Approval::default()
        };
        assert_eq!(line(&approval), "01a2  pending    fs.delete workspace/a<U+001B>.md");
    }
}
