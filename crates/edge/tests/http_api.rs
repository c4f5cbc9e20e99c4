//! An RPC as an HTTP API, through the real stack: a small one in whose words a failure is its reason.
#![expect(clippy::expect_used, clippy::panic, reason = "a broken fixture ends the test")]

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{
    Call, Edge, EdgeSettings, Fault, HttpApi, PrincipalKind, Readiness, Streaming, Tasks, Voice,
};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

const QUERY: &str = "/bulkhead.audit.v1.AuditService/QueryEvents";
const TAIL: &str = "/bulkhead.audit.v1.AuditService/TailEvents";
const PATH: &str = "/v1/events";
/// Only guards against hanging.
const BOUND: Duration = Duration::from_secs(20);
/// Longer than anything here.
const LONG: Duration = Duration::from_secs(60);

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("every error has an ErrorInfo").reason
}

fn refusal(status: &Status, request_id: &str) -> Response {
    (StatusCode::IM_A_TEAPOT, format!("{} {}", reason(status), request_id.len())).into_response()
}

fn ending(status: &Status) -> Bytes {
    format!("!{}", reason(status)).into()
}

/// What the handler does is told by the body.
async fn handle(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let call = Call::within(&parts.extensions).expect("the stack made one");
    let body = to_bytes(body, usize::MAX).await.expect("it is here already");
    match &body[..] {
        b"panic" => panic!("asked to"),
        b"fail" => Fault::new(Code::Unavailable, "LOG_UNAVAILABLE").into_status().into_http(),
        b"foreign" => Fault::new(Code::PermissionDenied, "SELF_APPROVAL").into_status().into_http(),
        b"stream" => streaming(vec![Frame::data("one ".into()), Frame::data("two ".into())], false),
        b"stream that fails" => {
            let mut trailers = HeaderMap::new();
            let fault = Fault::new(Code::Unavailable, "OVERLOADED");
            fault.into_status().add_header(&mut trailers).expect("fits");
            streaming(vec![Frame::data("one ".into()), Frame::trailers(trailers)], false)
        }
        b"stream the time left" => {
            let left = call.remaining().as_millis().to_string();
            streaming(vec![Frame::data(left.into())], false)
        }
        b"stream without end" => streaming(vec![Frame::data("one ".into())], true),
        _ => format!("{} {}", call.principal(), body.len()).into_response(),
    }
}

fn streaming(frames: Vec<Frame<Bytes>>, goes_on: bool) -> Response {
    let frames = futures::stream::iter(frames.into_iter().map(Ok::<_, Infallible>));
    let body = if goes_on {
        Body::new(StreamBody::new(frames.chain(futures::stream::pending())))
    } else {
        Body::new(StreamBody::new(frames))
    };
    Response::new(body)
}

struct Fixture {
    url: String,
    folder: tempfile::TempDir,
    stop: CancellationToken,
    client: reqwest::Client,
}

fn tokens(names: &[&str]) -> String {
    let entry = |name: &&str| TokenEntry {
        hash: Some(token_hash(&format!("token-of-{name}"))),
        certificate: None,
        tenant: "default".into(),
        kind: PrincipalKind::Person,
        name: (*name).into(),
        owner: None,
        roles: vec![(*name).into()],
    };
    toml::to_string(&TokenFile { tokens: names.iter().map(entry).collect() }).expect("toml")
}

async fn start(stream_timeout: Duration) -> Fixture {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.toml");
    std::fs::write(&path, tokens(&["auditor", "approver"])).expect("written");
    let settings = EdgeSettings {
        listen: "127.0.0.1:0".parse().expect("an address"),
        tokens: path,
        unary_timeout: LONG,
        unary_timeout_max: LONG,
        stream_timeout,
        drain_timeout: Duration::from_millis(500),
        reflection: false,
        limits: bulkhead_edge::Limits::default(),
        jwt: None,
        transport: bulkhead_edge::serve::TransportSettings::default(),
    };
    let edge = Edge::bind(settings).await.expect("binds").with_apis(vec![HttpApi {
        path: PATH,
        handler: post(handle),
        rpc: QUERY,
        streaming: Some(Streaming { rpc: TAIL, wanted: |body| body.starts_with(b"stream") }),
        patience: None,
        voice: |_headers| Voice { refusal, ending },
    }]);
    let url = format!("http://{}{PATH}", edge.address());
    let stop = CancellationToken::new();
    let shutdown = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "ends with the runtime of the test")]
    tokio::spawn(async move {
        let stopped = async move { shutdown.cancelled().await };
        edge.serve(Routes::default(), &[], Readiness::new(), Tasks::new(), stopped).await
    });
    let client = reqwest::Client::builder().no_proxy().timeout(BOUND).build().expect("a client");
    Fixture { url, folder, stop, client }
}

impl Fixture {
    async fn response(&self, name: &str, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.client.post(&self.url).header("x-api-key", format!("token-of-{name}"));
        request.body(body).send().await.expect("answers")
    }

    async fn told(&self, name: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let response = self.response(name, body).await;
        (response.status().as_u16(), response.text().await.expect("a body"))
    }

    /// A stream that gave its first piece.
    async fn begun(&self) -> reqwest::Response {
        let mut response = self.response("auditor", "stream without end").await;
        assert_eq!(response.chunk().await.expect("read").as_deref(), Some(&b"one "[..]));
        response
    }
}

#[tokio::test]
async fn whoever_may_call_the_rpc_may_call_the_api_and_nobody_else() {
    let fixture = start(LONG).await;
    assert_eq!(fixture.told("auditor", "abc").await, (200, "person:default/auditor 3".into()));
    assert_eq!(fixture.told("nobody", "abc").await, (418, "CREDENTIAL_REQUIRED 36".into()));
    for body in ["abc", "stream"] {
        assert_eq!(fixture.told("approver", body).await, (418, "ROLE_REQUIRED 36".into()));
    }
    let get = fixture.client.get(&fixture.url).send().await.expect("answers");
    assert_eq!(get.status(), 405);
}

#[tokio::test]
async fn a_failure_is_told_in_the_words_of_the_api() {
    let fixture = start(LONG).await;
    assert_eq!(fixture.told("auditor", "fail").await, (418, "LOG_UNAVAILABLE 36".into()));
    assert_eq!(fixture.told("auditor", "panic").await, (418, "HANDLER_PANICKED 36".into()));
    // Of the contract of the RPC it is no part.
    assert_eq!(fixture.told("auditor", "foreign").await, (418, "UNDECLARED_FAILURE 36".into()));
    let large = vec![b'x'; bulkhead_edge::serve::MESSAGE_BYTES_MAX + 1];
    assert_eq!(fixture.told("auditor", large).await, (418, "MESSAGE_TOO_LARGE 36".into()));
}

#[tokio::test]
async fn a_stream_ends_as_its_handler_ends_it() {
    let fixture = start(LONG).await;
    assert_eq!(fixture.told("auditor", "stream").await, (200, "one two ".into()));
    assert_eq!(fixture.told("auditor", "stream that fails").await, (200, "one !OVERLOADED".into()));
}

#[tokio::test]
async fn the_time_that_a_caller_gives_a_stream_runs_while_its_body_comes() {
    let fixture = start(LONG).await;
    let (given, late) = (Duration::from_secs(10), Duration::from_millis(300));
    let pieces = futures::stream::iter(["stream the ", "time left"]).then(move |piece| async move {
        tokio::time::sleep(late / 2).await;
        Ok::<_, Infallible>(piece)
    });
    let request = fixture.client.post(&fixture.url).header("x-api-key", "token-of-auditor");
    let request = request.header("grpc-timeout", "10S").body(reqwest::Body::wrap_stream(pieces));
    let left = request.send().await.expect("answers").text().await.expect("a body");
    let left: u64 = left.parse().expect("milliseconds");
    // A tenth of it is kept back from what the handler may use.
    assert!(Duration::from_millis(left) <= given - given / 10 - late, "{left}");
}

#[tokio::test]
async fn a_stream_that_must_end_says_why() {
    let fixture = start(Duration::from_millis(300)).await;
    let told = fixture.told("auditor", "stream without end").await;
    assert_eq!(told, (200, "one !STREAM_AGE_LIMIT".into()));

    let fixture = start(LONG).await;
    let stream = fixture.begun().await;
    std::fs::write(fixture.folder.path().join("tokens.toml"), tokens(&["approver"])).expect("written");
    assert_eq!(stream.text().await.expect("a body"), "!CREDENTIAL_ENDED");

    let fixture = start(LONG).await;
    let stream = fixture.begun().await;
    fixture.stop.cancel();
    assert_eq!(stream.text().await.expect("a body"), "!SERVICE_STOPPING");
}
