//! A small service behind the real stack.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::peer::{self, Credentials};
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{Call, Edge, EdgeSettings, Fault, Peer, PrincipalKind, Readiness, Tasks};
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{
    GetCheckpointRequest, GetCheckpointResponse, QueryEventsRequest, QueryEventsResponse, TailEventsRequest,
    TailEventsResponse,
};
use futures::Stream;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use super::raw::{BOUND, Connection};

/// What handlers wait for and tell of, shared by all calls of a fixture.
#[derive(Clone)]
pub(super) struct Probe {
    tasks: Tasks,
    /// Cancelled when a handler that waits has begun, and when it was dropped.
    pub(super) entered: CancellationToken,
    pub(super) dropped: CancellationToken,
    /// Set by work past its point of no return.
    pub(super) done: CancellationToken,
    /// Handlers that hold their place wait for one permit each.
    pub(super) release: Arc<Semaphore>,
    /// Told of each handler that holds its place: its tenant.
    holding: mpsc::UnboundedSender<String>,
    /// Whom `relay` calls.
    next: Option<Peer>,
    /// Told of the `grpc-timeout` with which each call of `relay` came.
    timeouts: mpsc::UnboundedSender<String>,
}

/// The start of a stream that never rests; every other one is silent.
pub(super) const BUSY: u64 = 7;

/// Says that it was dropped.
struct LastWords(CancellationToken);

impl Drop for LastWords {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<TailEventsResponse, Status>> + Send>>;

impl Probe {
    async fn hold(&self, tenant: &str) {
        self.holding.send(tenant.to_owned()).expect("the test listens");
        let permit = self.release.acquire().await.expect("open");
        permit.forget();
    }

    async fn act(&self, what: &str, call: &Call) -> Result<(), Status> {
        let _words = LastWords(self.dropped.clone());
        match what {
            "panic" => panic!("asked to"),
            "hold" => self.hold(call.tenant()).await,
            "hang" => {
                self.entered.cancel();
                std::future::pending().await
            }
            "commit" => {
                let (entered, done) = (self.entered.clone(), self.done.clone());
                let release = Arc::clone(&self.release);
                let work = async move {
                    entered.cancel();
                    let permit = release.acquire().await.expect("open");
                    permit.forget();
                    done.cancel();
                };
                self.tasks
                    .see_through("commit", work, drop)
                    .await
                    .map_err(|lost| Status::internal(lost.to_string()))?;
            }
            _ => {}
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl AuditService for Probe {
    async fn query_events(
        &self,
        request: Request<QueryEventsRequest>,
    ) -> Result<Response<QueryEventsResponse>, Status> {
        let call = Call::of(&request)?;
        self.act(&request.into_inner().kind, &call).await?;
        Ok(Response::new(QueryEventsResponse::default()))
    }

    /// Passes the call on, or waits for ever where there is nobody to pass it to.
    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let call = Call::of(&request)?;
        let timeout =
            request.metadata().get("grpc-timeout").map(|value| value.to_str().expect("text").to_owned());
        self.timeouts.send(timeout.unwrap_or_default()).expect("the test listens");
        match &self.next {
            Some(next) => {
                let mut client = AuditServiceClient::new(next.clone());
                let given = call.remaining();
                let answer = client.get_checkpoint(peer::within(request.into_inner(), given)).await;
                answer.map_err(|status| passed_on(status, given))
            }
            None => std::future::pending().await,
        }
    }

    async fn tail_events(&self, request: Request<TailEventsRequest>) -> Result<Response<Events>, Status> {
        let words = LastWords(self.dropped.clone());
        if request.into_inner().start_sequence == BUSY {
            let events = futures::stream::repeat_with(|| Ok(TailEventsResponse::default()));
            return Ok(Response::new(Box::pin(events)));
        }
        Ok(Response::new(Box::pin(futures::stream::once(async move {
            let _words = words;
            std::future::pending().await
        }))))
    }
}

/// The answer of a peer that ran out of time is passed on; where its word and our own clock cross, it is said for
/// it, as services do.
fn passed_on(status: Status, given: Duration) -> Status {
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded if status.details().is_empty() => {
            let fault = Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
            fault.with("timeout_ms", given.as_millis()).into_status()
        }
        _ => status,
    }
}

/// The running fixture, and what it tells.
pub(super) struct Fixture {
    pub(super) address: SocketAddr,
    pub(super) probe: Probe,
    pub(super) holding: mpsc::UnboundedReceiver<String>,
    pub(super) timeouts: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    pub(super) async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// A fresh condition, waited for with a bound.
    pub(super) async fn until(condition: &CancellationToken) {
        tokio::time::timeout(BOUND, condition.cancelled()).await.expect("it came to pass in time");
    }

    /// The tenant of the next handler that holds its place.
    pub(super) async fn next_holder(&mut self) -> String {
        tokio::time::timeout(BOUND, self.holding.recv()).await.expect("in time").expect("told")
    }

    /// Lets so many handlers that hold their places go.
    pub(super) fn release(&self, count: usize) {
        self.probe.release.add_permits(count);
    }
}

/// Tokens are `token-of-NAME`.
fn token_file() -> TokenFile {
    let entry = |name: &str, tenant: &str, kind, role: &str| TokenEntry {
        hash: Some(token_hash(&format!("token-of-{name}"))),
        certificate: None,
        tenant: tenant.into(),
        kind,
        name: name.into(),
        owner: None,
        roles: vec![role.into()],
    };
    TokenFile {
        tokens: vec![
            entry("auditor", "acme", PrincipalKind::Person, "auditor"),
            entry("newcomer", "other", PrincipalKind::Person, "auditor"),
            entry("service", "acme", PrincipalKind::Service, "service"),
        ],
    }
}

pub(super) async fn start() -> Fixture {
    start_with(|_settings| {}, None).await
}

/// Starts with other settings than the defaults, and with somebody to pass calls on to.
pub(super) async fn start_with(change: impl FnOnce(&mut EdgeSettings), next: Option<SocketAddr>) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens.toml");
    std::fs::write(&tokens, toml::to_string(&token_file()).expect("toml")).expect("written");
    let mut settings = EdgeSettings::loopback(tokens);
    settings.drain_timeout = Duration::from_millis(500);
    change(&mut settings);
    let edge = Edge::bind(settings).await.expect("binds");
    let address = edge.address();

    let ((hold, holding), (tell, timeouts)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let tasks = Tasks::new();
    let probe = Probe {
        tasks: tasks.clone(),
        entered: CancellationToken::new(),
        dropped: CancellationToken::new(),
        done: CancellationToken::new(),
        release: Arc::new(Semaphore::new(0)),
        holding: hold,
        next: next.map(dial),
        timeouts: tell,
    };
    let server = AuditServiceServer::new(probe.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let stop = CancellationToken::new();
    let shutdown = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "stopped when the fixture is dropped")]
    tokio::spawn(async move {
        let names = &["bulkhead.audit.v1.AuditService"];
        let shutdown = async move { shutdown.cancelled().await };
        edge.serve(Routes::new(server), names, Readiness::new(), tasks, shutdown).await.expect("serves");
    });
    Fixture { address, probe, holding, timeouts, stop, _folder: folder }
}

fn dial(address: SocketAddr) -> Peer {
    let credentials = Credentials::new("token-of-service").expect("a token");
    peer::dial_with(&format!("http://{address}"), credentials).expect("an address")
}
