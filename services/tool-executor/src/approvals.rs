//! Asking people, through the approval service.

use std::error::Error as _;
use std::time::Duration;

use bulkhead_edge::peer::{self, Peer, PeerFailure};
use bulkhead_edge::wire;
use bulkhead_grant::SignedGrant;
use bulkhead_proto::approval::v1 as pb;
use bulkhead_proto::approval::v1::approval_service_client::ApprovalServiceClient;
use tonic::Status;

use crate::execution::Execution;
use crate::policy::Approver;

/// Largest message that is taken from the approval service: a plan of 1 MiB, twice escaped.
const MESSAGE_BYTES_MAX: usize = bulkhead_edge::serve::MESSAGE_BYTES_MAX;

/// The approval service, as the executor uses it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Approvals {
    client: ApprovalServiceClient<Peer>,
    timeout: Duration,
    expires_in: Duration,
}

/// Why people could not be asked, or their answer could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// The service was not reached, or said itself that it did nothing; the same question may work later.
    #[error("the approval service cannot be asked now: {}", .0.message())]
    NotAsked(#[source] Box<Status>),
    /// There was no answer, and the question may have arrived; the same question may be answered later.
    #[error("the approval service did not answer: {}", .0.message())]
    NoAnswer(#[source] Box<Status>),
    /// It does not know the approval.
    #[error("the approval service does not know this approval")]
    Lost,
    /// It refuses the question, and will again.
    #[error("the approval service refused: {} {}", peer::reason(.0), .0.message())]
    Refused(#[source] Box<Status>),
    /// It answered without an approval.
    #[error("the approval service answered without an approval")]
    Empty,
}

impl ApprovalError {
    /// Whether it says something of the service, and not of this one question.
    #[must_use]
    pub fn is_of_the_service(&self) -> bool {
        match self {
            Self::NotAsked(status) => status.source().is_some(),
            Self::NoAnswer(_) => true,
            Self::Lost | Self::Refused(_) | Self::Empty => false,
        }
    }
}

/// An approval as the executor sees it.
#[derive(Debug)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// The revision at which this was so; the cursor of the watch.
    pub revision: u64,
    /// Whether it is decided, and how.
    pub ruling: Ruling,
    /// The trace in which it was decided.
    pub decision_traceparent: String,
}

/// How people decided.
#[derive(Debug)]
pub enum Ruling {
    /// Not yet.
    Pending,
    /// They agreed; the grant has yet to be verified.
    Approved(Option<SignedGrant>),
    /// One said no.
    Denied {
        /// Who, and why in their words.
        reason: String,
    },
    /// Nobody decided in time.
    Expired,
    /// It was taken back.
    Withdrawn,
}

impl Approvals {
    /// Over a channel. `timeout` bounds each call, `expires_in` is how long people have.
    #[must_use]
    pub fn new(peer: Peer, timeout: Duration, expires_in: Duration) -> Self {
        let client = ApprovalServiceClient::new(peer)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Self { client, timeout, expires_in }
    }

    /// Asks people to agree to the execution's plan. Asking again for the same plan is the same question.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn ask(
        &self,
        execution: &Execution,
        approvers: &[Approver],
    ) -> Result<Approval, ApprovalError> {
        let Some(prepared) = &execution.prepared else { return Err(ApprovalError::Empty) };
        let requirements =
            approvers.iter().map(|a| pb::Requirement { role: a.role.clone(), count: a.count }).collect();
        let request = pb::CreateApprovalRequest {
            request_id: execution.approval_request_id().to_string(),
            on_behalf_of: Some(execution.principal().into()),
            plan_json: prepared.plan.json().to_owned(),
            plan_digest: prepared.plan.digest().to_owned(),
            requirements,
            expires_in: Some(wire::duration(self.expires_in)),
            session_id: execution.context.session_id.clone(),
            ..pb::CreateApprovalRequest::default()
        };
        let answered = self.client.clone().create_approval(peer::within(request, self.timeout)).await;
        read(answered.map_err(failed)?.into_inner().approval)
    }

    /// How long people have.
    #[must_use]
    pub fn expires_in(&self) -> Duration {
        self.expires_in
    }

    /// How an approval stands.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn get(&self, approval_id: &str) -> Result<Approval, ApprovalError> {
        let request = pb::GetApprovalRequest { approval_id: approval_id.to_owned() };
        let answered = self.client.clone().get_approval(peer::within(request, self.timeout)).await;
        read(answered.map_err(failed)?.into_inner().approval)
    }

    /// Follows approvals that change after a revision.
    ///
    /// # Errors
    /// [`ApprovalError`].
    pub async fn watch(
        &self,
        after_revision: u64,
    ) -> Result<tonic::Streaming<pb::WatchApprovalsResponse>, ApprovalError> {
        let request = pb::WatchApprovalsRequest { after_revision, from_now: false };
        Ok(self.client.clone().watch_approvals(request).await.map_err(failed)?.into_inner())
    }
}

fn failed(status: Status) -> ApprovalError {
    if peer::reason(&status) == "APPROVAL_NOT_FOUND" {
        return ApprovalError::Lost;
    }
    match PeerFailure::of(&status) {
        PeerFailure::Unavailable if peer::did_nothing(&status) => ApprovalError::NotAsked(Box::new(status)),
        PeerFailure::Unavailable => ApprovalError::NoAnswer(Box::new(status)),
        PeerFailure::Refused => ApprovalError::Refused(Box::new(status)),
    }
}

fn read(approval: Option<pb::Approval>) -> Result<Approval, ApprovalError> {
    let Some(approval) = approval else { return Err(ApprovalError::Empty) };
    let ruling = match approval.state() {
        pb::ApprovalState::Approved => Ruling::Approved(approval.grant.map(|grant| SignedGrant {
            payload_json: grant.payload_json,
            key_id: grant.key_id,
            signature: grant.signature,
        })),
        pb::ApprovalState::Denied => Ruling::Denied { reason: reason(&approval.votes) },
        pb::ApprovalState::Expired => Ruling::Expired,
        pb::ApprovalState::Cancelled => Ruling::Withdrawn,
        // A state that this executor does not know opens nothing.
        pb::ApprovalState::Pending | pb::ApprovalState::Editing | pb::ApprovalState::Unspecified => {
            Ruling::Pending
        }
    };
    Ok(Approval {
        id: approval.approval_id,
        revision: approval.revision,
        ruling,
        decision_traceparent: approval.decision_traceparent,
    })
}

/// What the people who said no wrote.
fn reason(votes: &[pb::Vote]) -> String {
    let denials = votes.iter().filter(|vote| vote.decision() == pb::Decision::Deny);
    let told = denials.map(|vote| {
        let name = vote.voter.as_ref().map_or("somebody", |voter| voter.name.as_str());
        format!("{name}: {}", vote.reason)
    });
    told.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use bulkhead_edge::peer::{Credentials, dial_with};

    use super::*;

    #[tokio::test]
    async fn where_nobody_listens_nobody_was_asked() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let endpoint = format!("http://{}", port.expect("a port that was free"));
        let peer = dial_with(&endpoint, Credentials::new("t").expect("a token")).expect("an address");
        let approvals = Approvals::new(peer, Duration::from_secs(5), Duration::from_secs(60));
        let failed = approvals.get("x").await.expect_err("nobody listens");
        assert!(matches!(failed, ApprovalError::NotAsked(_)), "{failed:?}");
    }

    #[test]
    fn only_a_clear_no_means_that_nobody_was_asked() {
        let table = [
            (Status::unavailable("draining"), true),
            (Status::resource_exhausted("too many"), true),
            (Status::deadline_exceeded("late"), false),
            (Status::cancelled("late"), false),
            (Status::internal("a bug"), false),
            (Status::from_error(Box::new(io::Error::from(io::ErrorKind::ConnectionReset))), false),
        ];
        for (status, nobody) in table {
            let told = format!("{status:?}");
            assert_eq!(matches!(failed(status), ApprovalError::NotAsked(_)), nobody, "{told}");
        }
    }
}
