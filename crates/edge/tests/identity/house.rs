//! A small service behind the real stack, its token file, and clients for it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bulkhead_edge::identity::jwt::JwtSettings;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{Call, Edge, EdgeSettings, PrincipalKind, Readiness, Tasks};
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{
    GetCheckpointRequest, GetCheckpointResponse, QueryEventsRequest, QueryEventsResponse, TailEventsRequest,
    TailEventsResponse,
};
use futures::{Stream, StreamExt as _};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

/// Guards against hanging only.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// A stream from here never pauses; every other gives one event and is silent.
pub(crate) const BUSY: u64 = 1;

type Events = Pin<Box<dyn Stream<Item = Result<TailEventsResponse, Status>> + Send>>;

/// Answers who called; a query waits until it is released.
#[derive(Clone, Default)]
struct Porter {
    entered: std::sync::Arc<Notify>,
    released: std::sync::Arc<Notify>,
}

#[tonic::async_trait]
impl AuditService for Porter {
    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        tracing::trace!(metadata = ?request.metadata(), "shown by a careless handler");
        let call = Call::of(&request)?;
        let owner = call.principal().owner.as_deref().unwrap_or("nobody");
        let who = format!("{} of {owner} as {}", call.principal(), call.roles().join(","));
        Ok(Response::new(GetCheckpointResponse { verifier_key: who, ..GetCheckpointResponse::default() }))
    }

    async fn query_events(
        &self,
        _request: Request<QueryEventsRequest>,
    ) -> Result<Response<QueryEventsResponse>, Status> {
        self.entered.notify_one();
        self.released.notified().await;
        Ok(Response::new(QueryEventsResponse::default()))
    }

    async fn tail_events(&self, request: Request<TailEventsRequest>) -> Result<Response<Events>, Status> {
        let first = futures::stream::once(async { Ok(TailEventsResponse::default()) });
        Ok(Response::new(if request.into_inner().start_sequence == BUSY {
            Box::pin(futures::stream::repeat_with(|| Ok(TailEventsResponse::default())))
        } else {
            Box::pin(first.chain(futures::stream::pending()))
        }))
    }
}

/// The running service. Stops when dropped.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    pub(crate) tokens: PathBuf,
    channel: Channel,
    porter: Porter,
    _stop: DropGuard,
    _folder: tempfile::TempDir,
}

/// The entry of a person with some roles, whose token is `token`.
pub(crate) fn person(token: &str, roles: &[&str]) -> TokenEntry {
    TokenEntry {
        hash: Some(token_hash(token)),
        certificate: None,
        tenant: "default".into(),
        kind: PrincipalKind::Person,
        name: "ada".into(),
        owner: None,
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    }
}

/// The text of a token file.
pub(crate) fn file(entries: Vec<TokenEntry>) -> String {
    toml::to_string(&TokenFile { tokens: entries }).expect("toml")
}

impl House {
    /// Starts with these entries in its token file.
    pub(crate) async fn start(entries: Vec<TokenEntry>) -> Self {
        Self::start_with(entries, None).await
    }

    /// Starts with an issuer of tokens as well.
    pub(crate) async fn start_with(entries: Vec<TokenEntry>, jwt: Option<JwtSettings>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = folder.path().join("tokens.toml");
        fs::write(&tokens, file(entries)).expect("written");
        let settings = EdgeSettings {
            listen: "127.0.0.1:0".parse().expect("an address"),
            tokens: tokens.clone(),
            unary_timeout: BOUND,
            unary_timeout_max: BOUND * 2,
            stream_timeout: BOUND * 2,
            drain_timeout: Duration::from_millis(500),
            reflection: false,
            limits: bulkhead_edge::Limits::default(),
            jwt,
            transport: bulkhead_edge::serve::TransportSettings::default(),
        };
        let edge = Edge::bind(settings).await.expect("binds");
        let (address, porter, stop) = (edge.address(), Porter::default(), CancellationToken::new());
        let routes = Routes::new(AuditServiceServer::new(porter.clone()));
        let shutdown = stop.clone().cancelled_owned();
        #[expect(
            clippy::disallowed_methods,
            reason = "ends with the guard; its result is of no interest here"
        )]
        tokio::spawn(edge.serve(routes, &[], Readiness::new(), Tasks::new(), shutdown));
        let channel = Channel::from_shared(format!("http://{address}")).expect("a uri").connect_lazy();
        Self { address, tokens, channel, porter, _stop: stop.drop_guard(), _folder: folder }
    }

    /// A client of its own; the connection is shared.
    pub(crate) fn client(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone())
    }

    /// Who the service takes the holder of a token for, or the code and reason it gives.
    pub(crate) async fn who(&self, token: &str) -> Result<String, (Code, String)> {
        let answer = self.client().get_checkpoint(with_token(GetCheckpointRequest {}, token)).await;
        answer.map(|answer| answer.into_inner().verifier_key).map_err(|status| said(&status))
    }

    /// Opens a stream and waits for its first event.
    pub(crate) async fn stream(&self, token: &str, from: u64) -> tonic::Streaming<TailEventsResponse> {
        let request = TailEventsRequest { start_sequence: from, ..TailEventsRequest::default() };
        let mut stream =
            self.client().tail_events(with_token(request, token)).await.expect("opens").into_inner();
        stream.message().await.expect("an event").expect("an event");
        stream
    }

    /// How a stream that must not end silently ends.
    pub(crate) async fn ended(&self, stream: &mut tonic::Streaming<TailEventsResponse>) -> (Code, String) {
        let ended = async {
            loop {
                if let Err(status) = stream.message().await.map(|event| event.expect("no silent end")) {
                    return said(&status);
                }
            }
        };
        tokio::time::timeout(BOUND, ended).await.expect("the stream never ended")
    }

    /// Opens a call that stays open until [`House::release`], and waits until its handler runs.
    pub(crate) async fn open_call(&self, token: &str) -> tokio::task::JoinHandle<Result<(), Status>> {
        let (mut client, request) = (self.client(), with_token(QueryEventsRequest::default(), token));
        #[expect(clippy::disallowed_methods, reason = "joined by the test")]
        let call = tokio::spawn(async move { client.query_events(request).await.map(drop) });
        self.porter.entered.notified().await;
        call
    }

    /// Lets the open call answer.
    pub(crate) fn release(&self) {
        self.porter.released.notify_one();
    }

    /// What `/readyz` answers.
    pub(crate) async fn readiness(&self) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}/readyz", self.address)).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("a body"))
    }

    /// Waits until `/readyz` names, or no longer names, a condition.
    pub(crate) async fn until_ready(&self, condition: &str, unmet: bool) -> String {
        until(async || {
            let (_status, body) = self.readiness().await;
            (body.contains(condition) == unmet).then_some(body)
        })
        .await
    }
}

/// Asks until there is an answer, for at most [`BOUND`].
pub(crate) async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(BOUND, asking).await.expect("the condition was never met")
}

/// A request with a bearer token.
pub(crate) fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", value);
    request
}

/// What a refused credential is answered with.
pub(crate) fn said_no(reason: &str) -> Result<String, (Code, String)> {
    Err((Code::Unauthenticated, reason.to_owned()))
}

/// The code and the reason of an answer.
pub(crate) fn said(status: &Status) -> (Code, String) {
    let reason = status.get_details_error_info().map_or_else(String::new, |info| info.reason);
    (status.code(), reason)
}
