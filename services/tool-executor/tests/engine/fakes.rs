//! An approval service whose person is the test, and an audit service that keeps what it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bulkhead_edge::{Fault, Tasks, wire};
use bulkhead_grant::{Grant, GrantedDecision, SigningKey, Voter};
use bulkhead_proto::approval::v1 as approval;
use bulkhead_proto::approval::v1::approval_service_server::{ApprovalService, ApprovalServiceServer};
use bulkhead_proto::audit::v1 as audit;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

/// Both services on one port each, on the test's own runtime.
#[derive(Clone, Default)]
pub(crate) struct Approvals(Arc<ApprovalState>);

#[derive(Default)]
struct ApprovalState {
    down: AtomicBool,
    /// True: questions are taken and not answered.
    mute: watch::Sender<bool>,
    asked: Mutex<Vec<(String, approval::Approval)>>,
}

pub(crate) const SEED: [u8; 32] = [7; 32];

impl Approvals {
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    /// Takes questions, and keeps its answers to itself.
    pub(crate) fn set_mute(&self, mute: bool) {
        self.0.mute.send_replace(mute);
    }

    pub(crate) fn all(&self) -> Vec<approval::Approval> {
        self.lock().iter().map(|(_, approval)| approval.clone()).collect()
    }

    /// Signs as the real service does, in the name of `voter`.
    pub(crate) fn approve(&self, id: &str, voter: &str) {
        self.approve_with(id, voter, Duration::from_secs(3_600), SEED);
    }

    pub(crate) fn approve_with(&self, id: &str, voter: &str, valid: Duration, seed: [u8; 32]) {
        self.change(id, |approval| {
            let grant = Grant {
                approval_id: approval.approval_id.clone(),
                decision: GrantedDecision::Approved,
                not_after: bulkhead_edge::now() + valid,
                plan_digest: approval.plan_digest.clone(),
                tenant: "default".into(),
                voters: vec![Voter { name: voter.into(), roles: vec!["approver".into()] }],
            };
            let signed = grant.sign(&SigningKey::from_seed(seed)).expect("signs");
            approval.state = approval::ApprovalState::Approved.into();
            approval.grant = Some(approval::Grant {
                payload_json: signed.payload_json,
                key_id: signed.key_id,
                signature: signed.signature,
            });
        });
    }

    /// A grant of one approval on another.
    pub(crate) fn approve_with_grant_of(&self, id: &str, other: &str) {
        let grant =
            self.all().into_iter().find(|approval| approval.approval_id == other).expect("asked").grant;
        self.change(id, |approval| {
            approval.state = approval::ApprovalState::Approved.into();
            approval.grant = grant;
        });
    }

    pub(crate) fn deny(&self, id: &str, reason: &str) {
        self.change(id, |approval| {
            approval.state = approval::ApprovalState::Denied.into();
            approval.votes = vec![approval::Vote {
                decision: approval::Decision::Deny.into(),
                reason: reason.into(),
                ..approval::Vote::default()
            }];
        });
    }

    pub(crate) fn expire(&self, id: &str) {
        self.change(id, |approval| approval.state = approval::ApprovalState::Expired.into());
    }

    pub(crate) fn forget_all(&self) {
        self.lock().clear();
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut approval::Approval)) {
        let mut asked = self.lock();
        let (_, found) = asked.iter_mut().find(|(_, a)| a.approval_id == id).expect("was asked");
        found.revision += 1_000;
        change(found);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, approval::Approval)>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_up(&self) -> Result<(), Status> {
        if self.0.down.load(Ordering::SeqCst) { Err(Status::unavailable("down")) } else { Ok(()) }
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn create_approval(
        &self,
        request: Request<approval::CreateApprovalRequest>,
    ) -> Result<Response<approval::CreateApprovalResponse>, Status> {
        self.check_up()?;
        let created = self.take(request.into_inner());
        self.0.mute.subscribe().wait_for(|mute| !mute).await.expect("the fake lives");
        Ok(Response::new(approval::CreateApprovalResponse { approval: Some(created) }))
    }

    async fn get_approval(
        &self,
        request: Request<approval::GetApprovalRequest>,
    ) -> Result<Response<approval::GetApprovalResponse>, Status> {
        self.check_up()?;
        let id = request.into_inner().approval_id;
        let found = self.all().into_iter().find(|approval| approval.approval_id == id);
        let found = found.ok_or_else(|| Fault::new(Code::NotFound, "APPROVAL_NOT_FOUND").into_status())?;
        Ok(Response::new(approval::GetApprovalResponse { approval: Some(found) }))
    }
}

impl Approvals {
    /// The same question twice is one question.
    fn take(&self, request: approval::CreateApprovalRequest) -> approval::Approval {
        let mut asked = self.lock();
        let open = |a: &approval::Approval| {
            a.state() == approval::ApprovalState::Pending && a.plan_digest == request.plan_digest
        };
        if let Some((_, found)) = asked.iter().find(|(id, a)| *id == request.request_id || open(a)) {
            return found.clone();
        }
        assert_eq!(request.plan_digest, bulkhead_canonical_json::sha256_hex(&request.plan_json));
        bulkhead_canonical_json::parse_canonical(&request.plan_json).expect("a canonical plan");
        let created = approval::Approval {
            approval_id: Uuid::now_v7().to_string(),
            state: approval::ApprovalState::Pending.into(),
            on_behalf_of: request.on_behalf_of,
            plan_json: request.plan_json,
            plan_digest: request.plan_digest,
            requirements: request.requirements,
            revision: u64::try_from(asked.len()).expect("few") + 1,
            create_time: Some(wire::timestamp(bulkhead_edge::now())),
            session_id: request.session_id,
            ..approval::Approval::default()
        };
        asked.push((request.request_id, created.clone()));
        created
    }
}

/// Keeps what it is told, or refuses to.
#[derive(Clone, Default)]
pub(crate) struct Audit(Arc<AuditState>);

#[derive(Default)]
struct AuditState {
    down: AtomicBool,
    events: Mutex<Vec<audit::Event>>,
}

impl Audit {
    pub(crate) fn set_down(&self, down: bool) {
        self.0.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn events(&self) -> Vec<audit::Event> {
        self.0.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `kind outcome` of every event about a subject, in order.
    pub(crate) fn story(&self, subject: &str) -> Vec<String> {
        let events = self.events();
        let about = events.iter().filter(|event| event.subject_id == subject);
        about.map(|event| format!("{} {}", event.kind, event.outcome).trim().to_owned()).collect()
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn append_events(
        &self,
        request: Request<audit::AppendEventsRequest>,
    ) -> Result<Response<audit::AppendEventsResponse>, Status> {
        if self.0.down.load(Ordering::SeqCst) {
            return Err(Status::unavailable("down"));
        }
        let mut events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner);
        for event in request.into_inner().events {
            if !events.iter().any(|known| known.event_id == event.event_id) {
                events.push(event);
            }
        }
        Ok(Response::new(audit::AppendEventsResponse::default()))
    }
}

/// Serves both fakes on one port and says where.
pub(crate) async fn serve(approvals: Approvals, audit: Audit, tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes =
        Routes::new(ApprovalServiceServer::new(approvals)).add_service(AuditServiceServer::new(audit));
    let stopping = tasks.stopping();
    tasks.spawn("fakes", async move {
        let server = tonic::transport::Server::builder().add_routes(routes);
        let serving =
            server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), stopping.cancelled());
        serving.await.expect("the fakes serve");
    });
    address
}
