//! What both kinds of outbox deliver to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulkhead_edge::{Principal, PrincipalKind};
use bulkhead_outbox::EventDraft;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{AppendEventsRequest, AppendEventsResponse};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Only guards against hanging.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// An audit service that writes down the kinds it gets, and may lose its first answers.
#[derive(Clone, Default)]
pub(crate) struct Audit {
    pub(crate) seen: Arc<Mutex<Vec<(String, String)>>>,
    pub(crate) answers_to_lose: Arc<Mutex<u32>>,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn append_events(
        &self,
        request: Request<AppendEventsRequest>,
    ) -> Result<Response<AppendEventsResponse>, Status> {
        let events = request.into_inner().events;
        let seen = events.into_iter().map(|event| (event.kind, event.event_id));
        self.seen.lock().expect("lock").extend(seen);
        let mut lose = self.answers_to_lose.lock().expect("lock");
        if *lose > 0 {
            *lose -= 1;
            return Err(Status::unavailable("the answer is lost"));
        }
        Ok(Response::new(AppendEventsResponse::default()))
    }
}

impl Audit {
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.seen.lock().expect("lock").iter().map(|(kind, _)| kind.clone()).collect()
    }

    pub(crate) async fn serve(&self, listener: TcpListener) {
        let server = tonic::transport::Server::builder().add_service(AuditServiceServer::new(self.clone()));
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    }
}

pub(crate) fn draft(kind: &str) -> EventDraft {
    let ada =
        Principal { tenant: "default".into(), kind: PrincipalKind::Person, name: "ada".into(), owner: None };
    EventDraft::new(kind, Timestamp::UNIX_EPOCH, &ada)
}
