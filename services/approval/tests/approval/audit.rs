//! An audit service that keeps what it is sent, and can be down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// Events take a few milliseconds; this is for a machine under load.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has arrived, in order, without duplicates.
#[derive(Clone)]
pub(crate) struct Audit {
    pub(crate) address: SocketAddr,
    events: Arc<watch::Sender<Vec<pb::Event>>>,
    down: Arc<watch::Sender<bool>>,
}

impl Audit {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let events = Arc::new(watch::Sender::new(Vec::new()));
        let audit = Self { address, events, down: Arc::new(watch::Sender::new(false)) };
        let server = tonic::transport::Server::builder()
            .add_service(AuditServiceServer::new(audit.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(server);
        audit
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.send_replace(down);
    }

    /// The first `count` events, once they are there.
    pub(crate) async fn events(&self, count: usize) -> Vec<pb::Event> {
        let mut events = self.events.subscribe();
        let arrived = tokio::time::timeout(PATIENCE, events.wait_for(|events| events.len() >= count)).await;
        let arrived =
            arrived.unwrap_or_else(|_late| panic!("{count} events did not arrive: {:?}", self.kinds()));
        arrived.expect("the sender lives").clone()
    }

    /// What has arrived by now, as `kind outcome`.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let events = self.events.borrow();
        events.iter().map(|event| format!("{} {}", event.kind, event.outcome).trim_end().to_owned()).collect()
    }
}

/// The attributes of an event.
pub(crate) fn attributes(event: &pb::Event) -> Value {
    serde_json::from_str(&event.attributes_json).expect("attributes are JSON")
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn append_events(
        &self,
        request: Request<pb::AppendEventsRequest>,
    ) -> Result<Response<pb::AppendEventsResponse>, Status> {
        if *self.down.borrow() {
            return Err(Status::unavailable("down for the test"));
        }
        self.events.send_modify(|events| {
            for event in request.into_inner().events {
                if events.iter().all(|known| known.event_id != event.event_id) {
                    events.push(event);
                }
            }
        });
        Ok(Response::new(pb::AppendEventsResponse::default()))
    }
}
