//! gRPC by hand: bytes out, and everything that comes back.

use std::time::Duration;

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};
use http::HeaderMap;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::within;

/// Far beyond every deadline that is sent: whatever takes longer hangs.
const HANG_BOUND: Duration = Duration::from_secs(60);

/// The five bytes before each gRPC message: a flag and a length.
const PREFIX_BYTES: usize = 5;

/// One call.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// `127.0.0.1:7102`.
    pub address: String,
    /// `bulkhead.audit.v1.AuditService/AppendEvents`.
    pub path: String,
    /// Of the bearer; empty: none.
    pub token: String,
    /// `grpc-timeout`.
    pub timeout: &'static str,
    /// Additional headers.
    pub headers: HeaderMap,
    /// The HTTP body, prefix included.
    pub body: Bytes,
    /// Whether to leave after the first message: a stream may have no end.
    pub streams: bool,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// The gRPC code.
    pub code: i32,
    /// Reason of the `ErrorInfo`, or empty.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The fields of the `BadRequest`.
    pub fields: Vec<String>,
    /// Whether a `RetryInfo` is there.
    pub says_when_to_retry: bool,
    /// The first message, encoded; empty when there is none.
    pub reply: Bytes,
}

/// A client. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Wire(Client<HttpConnector, Full<Bytes>>);

impl Default for Wire {
    fn default() -> Self {
        Self(Client::builder(TokioExecutor::new()).http2_only(true).build_http())
    }
}

impl Wire {
    /// Calls, and reads to the end, or of a stream up to the first message.
    ///
    /// # Errors
    /// When the connection fails, nothing comes in a minute, or what comes is not gRPC.
    pub async fn ask(&self, ask: Ask) -> anyhow::Result<Answer> {
        let path = ask.path.clone();
        within(&path, HANG_BOUND, self.exchange(ask)).await?.with_context(|| format!("{path} broke off"))
    }

    /// Whether a page answers with success.
    pub(crate) async fn get(&self, url: String) -> anyhow::Result<bool> {
        let request = http::Request::get(url).body(Full::default())?;
        let response = within("a page", HANG_BOUND, self.0.request(request)).await??;
        Ok(response.status().is_success())
    }

    async fn exchange(&self, ask: Ask) -> anyhow::Result<Answer> {
        let streams = ask.streams;
        answered(self.0.request(request("http", ask)?).await?, streams).await
    }
}

/// The call as an HTTP request.
pub(crate) fn request(scheme: &str, ask: Ask) -> anyhow::Result<http::Request<Full<Bytes>>> {
    let mut request = http::Request::post(format!("{scheme}://{}/{}", ask.address, ask.path))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", ask.timeout);
    if !ask.token.is_empty() {
        request = request.header("authorization", format!("Bearer {}", ask.token));
    }
    let mut request = request.body(Full::new(ask.body))?;
    request.headers_mut().extend(ask.headers);
    Ok(request)
}

/// What a response says as gRPC.
pub(crate) async fn answered(response: http::Response<Incoming>, streams: bool) -> anyhow::Result<Answer> {
    let (parts, body) = response.into_parts();
    if parts.headers.contains_key("grpc-status") {
        return answer(&parts.headers, Bytes::new());
    }
    anyhow::ensure!(parts.status.is_success(), "HTTP status {}", parts.status);
    read(body, streams).await
}

/// A message as a gRPC body.
#[must_use]
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut body = Vec::with_capacity(PREFIX_BYTES + message.len());
    body.push(0);
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(message);
    body.into()
}

async fn read(mut body: Incoming, streams: bool) -> anyhow::Result<Answer> {
    let mut received = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => received.extend_from_slice(&data),
            Err(frame) => {
                let trailers = frame.into_trailers().ok().context("neither data nor trailers")?;
                return answer(&trailers, last(&received).unwrap_or_default());
            }
        }
        if let Some(reply) = first(&received).filter(|_| streams) {
            return Ok(Answer { reply, ..Answer::default() });
        }
    }
    anyhow::bail!("the answer ended without a status")
}

/// The first message of a body, once it is there in full.
fn first(received: &[u8]) -> Option<Bytes> {
    split(received).map(|(message, _rest)| Bytes::copy_from_slice(message))
}

/// The last message of a body: the only one, or the end of a stream.
fn last(received: &[u8]) -> Option<Bytes> {
    let messages = std::iter::successors(split(received), |(_message, rest)| split(rest));
    messages.last().map(|(message, _rest)| Bytes::copy_from_slice(message))
}

fn split(received: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = received.get(1..)?;
    let length = usize::try_from(rest.try_get_u32().ok()?).ok()?;
    rest.split_at_checked(length)
}

fn answer(headers: &HeaderMap, reply: Bytes) -> anyhow::Result<Answer> {
    let status = Status::from_header_map(headers).context("no gRPC status")?;
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    Ok(Answer {
        code: status.code().into(),
        reason: details.error_info().map(|info| info.reason.clone()).unwrap_or_default(),
        message: status.message().to_owned(),
        fields: violations.into_iter().map(|violation| violation.field).collect(),
        says_when_to_retry: details.retry_info().is_some(),
        reply,
    })
}
