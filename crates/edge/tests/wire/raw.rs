//! A client that sends whatever it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use prost::Message as _;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, StatusExt as _, pb};

/// Guards against hanging only; nothing is measured by it.
pub(super) const BOUND: Duration = Duration::from_secs(30);

/// The RPC that the fixture answers as its message asks.
pub(super) const QUERY: &str = "/bulkhead.audit.v1.AuditService/QueryEvents";

/// One HTTP/2 connection.
pub(super) struct Connection {
    send: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

/// One call whose answer is not there yet.
pub(super) struct Open {
    pub(super) send: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// What came back, whole.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connects");
        let (send, connection) = h2::client::handshake(stream).await.expect("a handshake");
        #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
        let driver = tokio::spawn(connection);
        Self { send, driver }
    }

    /// Sends the head of a request.
    pub(super) async fn begin(&self, request: Request<()>) -> Open {
        let mut send = self.send.clone().ready().await.expect("room for a stream");
        let (answer, send) = send.send_request(request, false).expect("sent");
        Open { send, answer }
    }

    /// Sends a request with a body, and reads the answer.
    pub(super) async fn call(&self, request: Request<()>, body: impl Into<Bytes>) -> Answer {
        let mut open = self.begin(request).await;
        open.data(body, true);
        open.answer().await
    }

    /// Closes the connection without a word.
    pub(super) async fn cut(self) {
        self.driver.abort();
        assert!(self.driver.await.expect_err("it was open").is_cancelled());
    }
}

impl Open {
    pub(super) fn data(&mut self, body: impl Into<Bytes>, end: bool) {
        self.send.send_data(body.into(), end).expect("sent");
    }

    pub(super) async fn answer(self) -> Answer {
        tokio::time::timeout(BOUND, Answer::read(self.answer)).await.expect("an answer in time")
    }

    /// The answer's body once its head is there.
    pub(super) async fn stream(self) -> RecvStream {
        let answer = tokio::time::timeout(BOUND, self.answer).await.expect("in time").expect("an answer");
        answer.into_body()
    }
}

impl Answer {
    async fn read(answer: ResponseFuture) -> Self {
        let (head, mut stream) = answer.await.expect("an answer").into_parts();
        let mut body = Vec::new();
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.expect("a whole body");
            stream.flow_control().release_capacity(chunk.len()).expect("was received");
            body.extend_from_slice(&chunk);
        }
        let trailers = stream.trailers().await.expect("a whole answer");
        Self { status: head.status, headers: head.headers, body, trailers }
    }

    /// What gRPC makes of it; checks the shape that every gRPC answer has.
    pub(super) fn grpc(&self) -> Status {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/grpc", "{self:?}");
        assert!(self.headers.contains_key("x-request-id"), "{self:?}");
        let told = self.trailers.as_ref().unwrap_or(&self.headers);
        let status = Status::from_header_map(told).unwrap_or_else(|| panic!("no grpc-status: {self:?}"));
        if status.code() != Code::Ok {
            check_details(&status);
        }
        status
    }

    /// Code and reason of an error.
    pub(super) fn refusal(&self) -> (Code, String) {
        refusal(&self.grpc())
    }
}

/// Code and reason of an error.
pub(super) fn refusal(status: &Status) -> (Code, String) {
    (status.code(), info(status).reason)
}

pub(super) fn info(status: &Status) -> ErrorInfo {
    status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"))
}

/// Every error has exactly one `ErrorInfo`, of our domain, and repeats code and message inside the details.
fn check_details(status: &Status) {
    let details = pb::Status::decode(status.details()).expect("google.rpc.Status");
    let infos: Vec<_> =
        details.details.iter().filter(|any| any.type_url.ends_with("google.rpc.ErrorInfo")).collect();
    assert_eq!(infos.len(), 1, "{details:?}");
    assert_eq!(info(status).domain, "bulkhead");
    assert_eq!(details.code, i32::from(status.code()));
    assert_eq!(details.message, status.message());
}

/// The head of an honest call to an RPC.
pub(super) fn to(path: &str) -> http::request::Builder {
    Request::post(format!("http://edge.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", "Bearer token-of-auditor")
}

/// An honest call to the fixture's RPC.
pub(super) fn query() -> http::request::Builder {
    to(QUERY)
}

pub(super) fn done(builder: http::request::Builder) -> Request<()> {
    builder.body(()).expect("a request")
}

/// A message that asks the fixture to do `what`, as one frame.
pub(super) fn asking(what: &str) -> Bytes {
    let message = bulkhead_proto::audit::v1::QueryEventsRequest {
        kind: what.to_owned(),
        ..bulkhead_proto::audit::v1::QueryEventsRequest::default()
    };
    frame(&message.encode_to_vec())
}

/// Five bytes of prefix, and the message.
pub(super) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("fits");
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}
