//! A small service behind the real edge, on a real port.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead_edge::peer::{Credentials, Dialler, Peer, within};
use bulkhead_edge::serve::{ConnectionLimits, TransportSettings};
use bulkhead_edge::tls::{ClientAuth, IdentityFiles, TlsSettings};
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{
    Call, ClientCertificate, Edge, EdgeSettings, Limits, PrincipalKind, Readiness, ServeError, Tasks,
};
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{
    AppendEventsRequest, AppendEventsResponse, GetCheckpointRequest, GetCheckpointResponse,
    QueryEventsRequest, QueryEventsResponse, TailEventsRequest, TailEventsResponse,
};
use futures::Stream;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// Only guards against hanging: the machine may be busy.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// The URI of the certificate whose holder is the principal `second`.
pub(crate) const NAME: &str = "spiffe://bulkhead/default/person/second";

/// A stream from here never pauses.
pub(crate) const BUSY: u64 = 1;

type Events = Pin<Box<dyn Stream<Item = Result<TailEventsResponse, Status>> + Send>>;

/// Answers with its name and with what the edge told of the caller.
#[derive(Clone)]
struct Probe {
    name: &'static str,
    answered: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl AuditService for Probe {
    async fn append_events(
        &self,
        _request: Request<AppendEventsRequest>,
    ) -> Result<Response<AppendEventsResponse>, Status> {
        Ok(Response::new(AppendEventsResponse::default()))
    }

    async fn query_events(
        &self,
        request: Request<QueryEventsRequest>,
    ) -> Result<Response<QueryEventsResponse>, Status> {
        match request.into_inner().kind.as_str() {
            "hang" => std::future::pending().await,
            _ => Ok(Response::new(QueryEventsResponse {
                next_page_token: "x".repeat(1 << 20),
                ..QueryEventsResponse::default()
            })),
        }
    }

    /// From [`BUSY`] there is always more; from elsewhere nothing comes.
    async fn tail_events(&self, request: Request<TailEventsRequest>) -> Result<Response<Events>, Status> {
        Ok(Response::new(match request.into_inner().start_sequence {
            BUSY => Box::pin(futures::stream::repeat_with(|| Ok(TailEventsResponse::default()))),
            _ => Box::pin(futures::stream::pending()),
        }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        self.answered.fetch_add(1, Ordering::SeqCst);
        let shown = request.extensions().get::<ClientCertificate>();
        Ok(Response::new(GetCheckpointResponse {
            signed_note: self.name.to_owned(),
            verifier_key: shown.map_or_else(|| "none".to_owned(), |shown| shown.uri_names.join(" ")),
            tree_size: u64::from(Call::of(&request)?.principal().name == "second"),
        }))
    }
}

/// A running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) readiness: Readiness,
    pub(crate) answered: Arc<AtomicUsize>,
    stop: CancellationToken,
    served: JoinHandle<Result<(), ServeError>>,
    _folder: TempDir,
}

impl Service {
    /// On a free port.
    pub(crate) async fn start(name: &'static str, transport: TransportSettings) -> Self {
        Self::start_at("127.0.0.1:0".parse().expect("an address"), name, transport).await
    }

    pub(crate) async fn start_at(
        listen: SocketAddr,
        name: &'static str,
        transport: TransportSettings,
    ) -> Self {
        Self::start_within(listen, name, transport, Limits::default()).await
    }

    /// With limits on calls and streams.
    pub(crate) async fn start_within(
        listen: SocketAddr,
        name: &'static str,
        transport: TransportSettings,
        limits: Limits,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = folder.path().join("tokens.toml");
        std::fs::write(&tokens, toml::to_string(&token_file()).expect("toml")).expect("written");
        let settings = EdgeSettings {
            listen,
            tokens,
            unary_timeout: Duration::from_secs(120),
            unary_timeout_max: Duration::from_secs(120),
            stream_timeout: Duration::from_secs(120),
            drain_timeout: Duration::from_millis(500),
            reflection: true,
            limits,
            jwt: None,
            transport,
        };
        let edge = Edge::bind(settings).await.expect("binds");
        let address = edge.address();
        let (readiness, stop, tasks) = (Readiness::new(), CancellationToken::new(), Tasks::new());
        let answered = Arc::new(AtomicUsize::new(0));
        let probe = Probe { name, answered: Arc::clone(&answered) };
        let routes = Routes::new(AuditServiceServer::new(probe));
        let (ready, shutdown) = (readiness.clone(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "joined when the service is stopped")]
        let served = tokio::spawn(async move {
            let names = &["bulkhead.audit.v1.AuditService"];
            edge.serve(routes, names, ready, tasks, async move { shutdown.cancelled().await }).await
        });
        Self { address, readiness, answered, stop, served, _folder: folder }
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let served = tokio::time::timeout(BOUND, self.served).await.expect("in time");
        served.expect("no panic").expect("a clean end");
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

fn token_file() -> TokenFile {
    let entry = |name: &str, role: &str| TokenEntry {
        hash: Some(token_hash(&format!("token-of-{name}"))),
        certificate: None,
        tenant: "default".into(),
        kind: PrincipalKind::Person,
        name: name.into(),
        owner: None,
        roles: vec![role.into()],
    };
    let by_name = TokenEntry { hash: None, certificate: Some(NAME.into()), ..entry("second", "auditor") };
    TokenFile { tokens: vec![entry("first", "auditor"), entry("second", "auditor"), by_name] }
}

pub(crate) fn credentials() -> Credentials {
    Credentials::new("token-of-first").expect("a token")
}

/// Plaintext, with limits.
pub(crate) fn plain(connections: ConnectionLimits) -> TransportSettings {
    TransportSettings { tls: None, connections }
}

/// TLS.
pub(crate) fn secured(identity: IdentityFiles, clients: ClientAuth) -> TransportSettings {
    let tls = Some(TlsSettings { identity, clients });
    TransportSettings { tls, connections: ConnectionLimits::default() }
}

/// A peer without TLS.
pub(crate) fn peer_at(address: SocketAddr) -> Peer {
    Dialler::new(&format!("http://{address}")).dial(credentials()).expect("an address")
}

/// One call, and what the service says to it.
pub(crate) async fn ask(peer: &Peer) -> Result<GetCheckpointResponse, Status> {
    let mut client = AuditServiceClient::new(peer.clone());
    client.get_checkpoint(within(GetCheckpointRequest {}, BOUND)).await.map(Response::into_inner)
}

pub(crate) fn query(kind: &str) -> QueryEventsRequest {
    QueryEventsRequest { kind: kind.into(), ..QueryEventsRequest::default() }
}

/// Tries until it works, within the bound.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(BOUND, trying).await.unwrap_or_else(|_elapsed| panic!("{what}: not in time"))
}
