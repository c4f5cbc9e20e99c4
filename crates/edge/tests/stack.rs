//! The edge through the wire: a small service behind the real stack, on a real port.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken fixture ends the test")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{Call, Edge, EdgeSettings, Fault, PrincipalKind, Readiness, Tasks};
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{
    AppendEventsRequest, AppendEventsResponse, GetCheckpointRequest, GetCheckpointResponse,
    QueryEventsRequest, QueryEventsResponse, TailEventsRequest, TailEventsResponse,
};
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

/// What the handlers do is told by the request.
#[derive(Clone)]
struct Probe(Tasks);

/// Runs a task when it is dropped, as a handler's record of a call does.
struct LastWords(Tasks, CancellationToken);

impl Drop for LastWords {
    fn drop(&mut self) {
        let said = self.1.clone();
        self.0.spawn("last words", async move { said.cancel() });
    }
}

/// Set by the handler that will be dropped in the drain, once it runs.
static ENTERED: std::sync::LazyLock<CancellationToken> = std::sync::LazyLock::new(CancellationToken::new);
/// Set by what that handler leaves behind.
static SAID: std::sync::LazyLock<CancellationToken> = std::sync::LazyLock::new(CancellationToken::new);

type Events = Pin<Box<dyn Stream<Item = Result<TailEventsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl AuditService for Probe {
    async fn append_events(
        &self,
        request: Request<AppendEventsRequest>,
    ) -> Result<Response<AppendEventsResponse>, Status> {
        let call = Call::of(&request)?;
        assert!(call.has_role("service"));
        Ok(Response::new(AppendEventsResponse::default()))
    }

    async fn query_events(
        &self,
        request: Request<QueryEventsRequest>,
    ) -> Result<Response<QueryEventsResponse>, Status> {
        match request.into_inner().kind.as_str() {
            "panic" => panic!("asked to"),
            "hang" => std::future::pending().await,
            "last words" => {
                let _record = LastWords(self.0.clone(), SAID.clone());
                ENTERED.cancel();
                std::future::pending().await
            }
            "large" => Ok(Response::new(QueryEventsResponse {
                next_page_token: "x".repeat(bulkhead_edge::serve::MESSAGE_BYTES_MAX + 1),
                ..QueryEventsResponse::default()
            })),
            "foreign" => Err(Fault::new(Code::PermissionDenied, "SELF_APPROVAL").into_status()),
            "cause" => {
                let cause = std::io::Error::other("the password is hunter2");
                Err(Fault::new(Code::Unavailable, "LOG_UNAVAILABLE")
                    .retry_after(Duration::from_secs(3))
                    .because(cause)
                    .into_status())
            }
            _ => Ok(Response::new(QueryEventsResponse::default())),
        }
    }

    async fn tail_events(&self, _request: Request<TailEventsRequest>) -> Result<Response<Events>, Status> {
        Ok(Response::new(Box::pin(futures::stream::pending())))
    }

    async fn get_checkpoint(
        &self,
        request: Request<GetCheckpointRequest>,
    ) -> Result<Response<GetCheckpointResponse>, Status> {
        let call = Call::of(&request)?;
        let left = u64::try_from(call.remaining().as_millis()).expect("fits");
        Ok(Response::new(GetCheckpointResponse {
            signed_note: call.request_id().to_owned(),
            tree_size: left,
            verifier_key: call.principal().to_string(),
        }))
    }
}

const STREAM_TIMEOUT: Duration = Duration::from_millis(300);

/// The running fixture.
struct Fixture {
    address: SocketAddr,
    channel: Channel,
    readiness: Readiness,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), bulkhead_edge::ServeError>>,
    _folder: tempfile::TempDir,
}

fn token_file() -> TokenFile {
    let entry = |name: &str, kind, role: &str| TokenEntry {
        hash: Some(token_hash(&format!("token-of-{name}"))),
        certificate: None,
        tenant: "default".into(),
        kind,
        name: name.into(),
        owner: None,
        roles: vec![role.into()],
    };
    TokenFile {
        tokens: vec![
            entry("auditor", PrincipalKind::Person, "auditor"),
            entry("approver", PrincipalKind::Person, "approver"),
            entry("router", PrincipalKind::Service, "service"),
        ],
    }
}

async fn start() -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let tokens = folder.path().join("tokens.toml");
    std::fs::write(&tokens, toml::to_string(&token_file()).expect("toml")).expect("written");
    let settings = EdgeSettings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        tokens,
        unary_timeout: Duration::from_secs(20),
        unary_timeout_max: Duration::from_secs(60),
        stream_timeout: STREAM_TIMEOUT,
        drain_timeout: Duration::from_millis(500),
        reflection: true,
        limits: bulkhead_edge::Limits::default(),
        jwt: None,
        transport: bulkhead_edge::serve::TransportSettings::default(),
    };
    let edge = Edge::bind(settings).await.expect("binds");
    let address = edge.address();
    let tasks = Tasks::new();
    let server = AuditServiceServer::new(Probe(tasks.clone()));
    let routes = Routes::new(server.max_encoding_message_size(bulkhead_edge::serve::MESSAGE_BYTES_MAX));
    let (readiness, stop) = (Readiness::new(), CancellationToken::new());
    let (ready, shutdown) = (readiness.clone(), stop.clone());
    #[expect(clippy::disallowed_methods, reason = "joined at the end of the test that cares")]
    let served = tokio::spawn(async move {
        let names = &["bulkhead.audit.v1.AuditService"];
        edge.serve(routes, names, ready, tasks, async move { shutdown.cancelled().await }).await
    });
    let channel = Channel::from_shared(format!("http://{address}")).expect("a uri").connect_lazy();
    Fixture { address, channel, readiness, stop, served, _folder: folder }
}

fn with_token<T>(message: T, name: &str) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer token-of-{name}");
    request.metadata_mut().insert("authorization", value.parse().expect("a header"));
    request
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error has an ErrorInfo").reason
}

fn query(kind: &str) -> QueryEventsRequest {
    QueryEventsRequest { kind: kind.into(), ..QueryEventsRequest::default() }
}

#[tokio::test]
async fn without_a_known_credential_nothing_is_answered() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    for request in [Request::new(query("")), with_token(query(""), "nobody")] {
        let status = client.query_events(request).await.expect_err("refused");
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "CREDENTIAL_REQUIRED"));
    }
}

#[tokio::test]
async fn the_wrong_role_is_refused_and_the_right_one_named() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let status = client.query_events(with_token(query(""), "approver")).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "ROLE_REQUIRED"));
    let info = status.get_details_error_info().expect("info");
    assert_eq!(info.metadata["roles"], "auditor,operator");
    client.query_events(with_token(query(""), "auditor")).await.expect("allowed");
}

#[tokio::test]
async fn the_handler_learns_who_calls_and_how_long_it_may_take() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let mut request = with_token(GetCheckpointRequest {}, "approver");
    request.set_timeout(Duration::from_secs(5));
    request
        .metadata_mut()
        .insert("x-request-id", "0198c1d2-0000-7000-8000-000000000001".parse().expect("a header"));
    let response = client.get_checkpoint(request).await.expect("allowed");
    let id = response.metadata().get("x-request-id").expect("an id").to_str().expect("text").to_owned();
    let told = response.into_inner();
    assert_eq!(told.verifier_key, "person:default/approver");
    assert_eq!(told.signed_note, "0198c1d2-0000-7000-8000-000000000001");
    assert_eq!(id, told.signed_note);
    assert!((3_000..5_000).contains(&told.tree_size), "{} ms left", told.tree_size);
}

#[tokio::test]
async fn a_panic_ends_one_call_and_no_other() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let status = client.query_events(with_token(query("panic"), "auditor")).await.expect_err("failed");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "HANDLER_PANICKED"));
    let id = status.metadata().get("x-request-id").expect("an id").to_str().expect("text");
    assert!(status.message().contains(id));
    client.query_events(with_token(query(""), "auditor")).await.expect("others go on");
}

#[tokio::test]
async fn a_slow_handler_is_ended_at_the_callers_deadline() {
    let fixture = start().await;
    // tonic's client keeps the deadline itself and would answer first, so the bytes are sent by hand.
    let mut body = vec![0, 0, 0, 0, 6, 0x2a, 4];
    body.extend_from_slice(b"hang");
    let response = raw(&fixture, body.into(), Some("150m")).await;
    assert_eq!(response.headers()["grpc-status"], "4");
}

#[tokio::test]
async fn a_timeout_that_is_none_is_named() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let mut request = with_token(query(""), "auditor");
    request.metadata_mut().insert("grpc-timeout", "soon".parse().expect("a header"));
    let status = client.query_events(request).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    let violations = status.get_details_bad_request().expect("violations").field_violations;
    assert_eq!(violations[0].field, "grpc-timeout");
}

#[tokio::test]
async fn the_cause_stays_inside_and_the_wait_is_told() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let status = client.query_events(with_token(query("cause"), "auditor")).await.expect_err("failed");
    assert_eq!(reason(&status), "LOG_UNAVAILABLE");
    let wait = status.get_details_retry_info().expect("retry info").retry_delay;
    assert_eq!(wait, Some(Duration::from_secs(3)));
    let wire = format!("{:?} {:?} {:?}", status.message(), status.details(), status.metadata());
    assert!(!wire.contains("hunter2"), "{wire}");
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn an_error_that_the_contract_does_not_announce_is_told_apart() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let status = client.query_events(with_token(query("foreign"), "auditor")).await.expect_err("failed");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "UNDECLARED_FAILURE"));
    assert!(status.message().contains("SELF_APPROVAL"), "{status:?}");
}

#[tokio::test]
async fn what_is_not_implemented_says_so() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let request = with_token(bulkhead_proto::audit::v1::GetInclusionProofRequest::default(), "auditor");
    let status = client.get_inclusion_proof(request).await.expect_err("not implemented");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "RPC_NOT_IMPLEMENTED"));
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_resource_exhausted() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    // The probe's server keeps tonic's own limit of 4 MiB.
    let request = with_token(query(&"x".repeat(5 << 20)), "auditor");
    let status = client.query_events(request).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
}

#[tokio::test]
async fn an_answer_beyond_the_limit_says_what_to_do() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let status = client.query_events(with_token(query("large"), "auditor")).await.expect_err("failed");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "ANSWER_TOO_LARGE"));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_fault() {
    let fixture = start().await;
    let response = raw(&fixture, bytes::Bytes::from_static(b"\0\0\0\0\x02\x0a\xff"), None).await;
    assert_eq!(response.headers()["grpc-status"], "3");
}

#[tokio::test]
async fn frames_that_are_none_are_the_callers_fault() {
    let fixture = start().await;
    let bodies: [&'static [u8]; 4] = [b"", b"\0\0\0\0\x09\x0a", b"\x01\0\0\0\0", b"\x07\0\0\0\0"];
    for body in bodies {
        let response = raw(&fixture, bytes::Bytes::from_static(body), None).await;
        assert_eq!(response.headers()["grpc-status"], "3", "{body:?}: {:?}", response.headers());
    }
}

#[tokio::test]
async fn compression_is_refused_by_name() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone())
        .send_compressed(tonic::codec::CompressionEncoding::Gzip);
    let status = client.query_events(with_token(query("x"), "auditor")).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unimplemented, "COMPRESSION_UNSUPPORTED"));
}

#[tokio::test]
async fn headers_beyond_the_limit_are_resource_exhausted() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let mut request = with_token(query(""), "auditor");
    request.metadata_mut().insert("x-padding", "x".repeat(20 << 10).parse().expect("a header"));
    let status = client.query_events(request).await.expect_err("refused");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "HEADERS_TOO_LARGE"));
}

#[tokio::test]
async fn what_is_no_grpc_is_answered_in_http_and_with_a_request_id() {
    let fixture = start().await;
    let path = "/bulkhead.audit.v1.AuditService/QueryEvents";
    assert_eq!(get(fixture.address, path).await, 405);
    let post = http::Request::post(format!("http://{}{path}", fixture.address))
        .header("content-type", "application/json")
        .body(http_body_util::Full::new(bytes::Bytes::from_static(b"{}")))
        .expect("a request");
    assert_eq!(http2().request(post).await.expect("an answer").status(), 415);
    let unknown = http::Request::get(format!("http://{}/nope", fixture.address))
        .body(http_body_util::Full::new(bytes::Bytes::new()))
        .expect("a request");
    let answer = http2().request(unknown).await.expect("an answer");
    assert_eq!(answer.status(), 404);
    assert!(answer.headers().contains_key("x-request-id"));
}

#[tokio::test]
async fn a_connection_that_asks_for_nothing_is_closed() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let fixture = start().await;
    let mut silent = tokio::net::TcpStream::connect(fixture.address).await.expect("connects");
    let mut slow = tokio::net::TcpStream::connect(fixture.address).await.expect("connects");
    slow.write_all(b"PRI * HT").await.expect("sent");
    for stream in [&mut silent, &mut slow] {
        let closed =
            tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 64])).await.expect("in time");
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    assert_eq!(get(fixture.address, "/healthz").await, 200);
}

/// Sends bytes as they are to QueryEvents.
async fn raw(
    fixture: &Fixture,
    body: bytes::Bytes,
    timeout: Option<&str>,
) -> http::Response<hyper::body::Incoming> {
    let uri = format!("http://{}/bulkhead.audit.v1.AuditService/QueryEvents", fixture.address);
    let mut request = http::Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", "Bearer token-of-auditor");
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    let request = request.body(http_body_util::Full::new(body)).expect("a request");
    http2().request(request).await.expect("an answer")
}

#[tokio::test]
async fn a_stream_ends_at_its_age_limit_with_a_reason() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    let request = with_token(TailEventsRequest::default(), "auditor");
    let mut stream = client.tail_events(request).await.expect("opens").into_inner();
    let ended = tokio::time::timeout(Duration::from_secs(10), stream.message()).await.expect("in time");
    let status = ended.expect_err("not a silent end");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "STREAM_AGE_LIMIT"));
}

#[tokio::test]
async fn health_and_probes_need_no_credential_and_tell_the_truth() {
    let fixture = start().await;
    assert_eq!(get(fixture.address, "/healthz").await, 200);
    assert_eq!(get(fixture.address, "/readyz").await, 200);
    assert_eq!(get(fixture.address, "/nope").await, 404);
    assert_eq!(health(&fixture, "bulkhead.audit.v1.AuditService", 1).await, 1);

    fixture.readiness.unmet("store", "the disk is gone");
    assert_eq!(get(fixture.address, "/readyz").await, 503);
    assert_eq!(health(&fixture, "bulkhead.audit.v1.AuditService", 2).await, 2);
    assert_eq!(health(&fixture, "", 2).await, 2);
    assert_eq!(get(fixture.address, "/healthz").await, 200);
}

#[tokio::test]
async fn a_stop_drains_within_its_bound() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    #[expect(clippy::disallowed_methods, reason = "an open call for the drain to end; joined below")]
    let hanging =
        tokio::spawn(async move { client.query_events(with_token(query("hang"), "auditor")).await });
    assert_eq!(get(fixture.address, "/healthz").await, 200);
    fixture.stop.cancel();
    let served = tokio::time::timeout(Duration::from_secs(10), fixture.served).await.expect("in time");
    served.expect("no panic").expect("a clean end");
    drop(hanging);
}

#[tokio::test]
async fn what_a_call_leaves_when_the_drain_drops_it_is_done() {
    let fixture = start().await;
    let mut client = AuditServiceClient::new(fixture.channel.clone());
    #[expect(clippy::disallowed_methods, reason = "an open call for the drain to drop; joined below")]
    let open =
        tokio::spawn(async move { client.query_events(with_token(query("last words"), "auditor")).await });
    tokio::time::timeout(Duration::from_secs(10), ENTERED.cancelled()).await.expect("the call is open");
    fixture.stop.cancel();
    let served = tokio::time::timeout(Duration::from_secs(20), fixture.served).await.expect("in time");
    served.expect("no panic").expect("a clean end");
    assert!(SAID.is_cancelled(), "the dropped call's task did not run");
    open.await.expect("no panic").expect_err("it was dropped");
}

#[tokio::test]
async fn an_open_health_watch_does_not_delay_a_stop() {
    let fixture = start().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(fixture.channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(request).await.expect("opens").into_inner();
    watch.message().await.expect("answers").expect("a status");
    let ended = async { while let Ok(Some(_)) = watch.message().await {} };
    fixture.stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), ended).await.expect("the watch ends");
    tokio::time::timeout(Duration::from_secs(5), fixture.served)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("ends");
}

/// Asks until the status is the expected one; health follows readiness in a task of its own.
async fn health(fixture: &Fixture, service: &str, expected: i32) -> i32 {
    let mut client = tonic_health::pb::health_client::HealthClient::new(fixture.channel.clone());
    for _ in 0..500 {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let status = client.check(request).await.expect("answers").into_inner().status;
        if status == expected {
            return status;
        }
        tokio::task::yield_now().await;
    }
    panic!("the health of {service:?} never became {expected}");
}

type Http<B> = hyper_util::client::legacy::Client<hyper_util::client::legacy::connect::HttpConnector, B>;

fn http2() -> Http<http_body_util::Full<bytes::Bytes>> {
    let executor = hyper_util::rt::TokioExecutor::new();
    hyper_util::client::legacy::Client::builder(executor).http2_only(true).build_http()
}

async fn get(address: SocketAddr, path: &str) -> u16 {
    let executor = hyper_util::rt::TokioExecutor::new();
    let client: Http<http_body_util::Empty<bytes::Bytes>> =
        hyper_util::client::legacy::Client::builder(executor).build_http();
    let uri = format!("http://{address}{path}").parse().expect("a uri");
    client.get(uri).await.expect("an answer").status().as_u16()
}
