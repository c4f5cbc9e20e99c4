//! One call, over one of the ways to the model.

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bulkhead_proto::router::v1 as pb;
use bulkhead_proto::router::v1::model_router_service_client::ModelRouterServiceClient;
use bytes::Bytes;
use clap::ValueEnum;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::house::{MODEL, TOKEN};

/// Four lines of an agent's, as long as what the simulator answers to them.
const PROMPT: &str = "Sum up the minutes of the meeting in March: who was there, what was decided and by whom, and which \
                      questions were left open for the next one. Name nobody who only listened, keep to ten lines, and \
                      say so where the minutes contradict each other or leave out what was decided about the budget.";
/// A call that takes longer is none that can be measured.
const CALL_BOUND: Duration = Duration::from_secs(30);
/// How a piece of an answer begins in a chunk of the API, when it is not empty.
const CONTENT: &[u8] = b"\"content\":\"";

/// How a call reaches the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Without anything between.
    Direct,
    /// Through a bare reverse proxy.
    Proxy,
    /// Through what speaks the router's contract and does nothing else.
    Gateway,
    /// Through the router, with its own contract.
    Grpc,
    /// Through the router, as if it were the model.
    Api,
}

impl Way {
    pub(crate) const ALL: [Self; 5] = [Self::Direct, Self::Proxy, Self::Gateway, Self::Grpc, Self::Api];

    /// Whether it is called over the router's own contract.
    pub(crate) fn is_grpc(self) -> bool {
        matches!(self, Self::Gateway | Self::Grpc)
    }

    /// Whether answers come this way in such a shape.
    pub(crate) fn has(self, shape: Shape) -> bool {
        self != Self::Gateway || shape == Shape::Plain
    }
}

impl fmt::Display for Way {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Direct => "the model itself",
            Self::Proxy => "bare proxy",
            Self::Gateway => "bare gateway, gRPC",
            Self::Grpc => "router, gRPC",
            Self::Api => "router, API",
        })
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// The answer as a whole.
    Plain,
    /// The answer as it comes.
    Streamed,
}

impl Shape {
    pub(crate) const ALL: [Self; 2] = [Self::Plain, Self::Streamed];
}

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Plain => "Whole answers",
            Self::Streamed => "Streams; the times are those until the first token",
        })
    }
}

/// A caller with a connection.
pub(crate) enum Caller {
    Http { sender: SendRequest<Full<Bytes>>, body: Bytes, shape: Shape, connection: JoinHandle<()> },
    Grpc { client: ModelRouterServiceClient<Channel>, shape: Shape },
}

impl Drop for Caller {
    fn drop(&mut self) {
        if let Self::Http { connection, .. } = self {
            connection.abort();
        }
    }
}

impl Caller {
    /// One that has a connection for itself, as HTTP/1.1 wants it.
    pub(crate) async fn http(address: &str, shape: Shape) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = async move {
            // Told by the call that it fails.
            drop(connection.await);
        };
        #[expect(clippy::disallowed_methods, reason = "aborted when its caller goes")]
        let connection = tokio::spawn(connection);
        let message = json!({ "role": "user", "content": PROMPT });
        let body = json!({ "model": MODEL, "messages": [message], "stream": shape == Shape::Streamed });
        Ok(Self::Http { sender, body: body.to_string().into(), shape, connection })
    }

    /// One that shares a channel.
    pub(crate) fn grpc(channel: Channel, shape: Shape) -> Self {
        Self::Grpc { client: ModelRouterServiceClient::new(channel), shape }
    }

    /// Until the answer was there; of a stream, until its first token was.
    pub(crate) async fn call(&mut self) -> anyhow::Result<Duration> {
        let called = async {
            match self {
                Self::Http { sender, body, shape, .. } => post(sender, body.clone(), *shape).await,
                Self::Grpc { client, shape: Shape::Plain } => generate(client).await,
                Self::Grpc { client, shape: Shape::Streamed } => stream(client).await,
            }
        };
        tokio::time::timeout(CALL_BOUND, called).await.context("a call took too long")?
    }
}

/// A channel to whoever serves the router's contract.
pub(crate) async fn channel(address: &str) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.tcp_nodelay(true).connect().await?)
}

async fn post(sender: &mut SendRequest<Full<Bytes>>, body: Bytes, shape: Shape) -> anyhow::Result<Duration> {
    let request = hyper::Request::post("/v1/chat/completions")
        .header("host", "bench")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Full::new(body))?;
    sender.ready().await?;
    let asked = Instant::now();
    let response = sender.send_request(request).await?;
    let status = response.status();
    let (mut body, mut first, mut whole) = (response.into_body(), None, Vec::new());
    while let Some(frame) = body.frame().await {
        whole.extend_from_slice(frame?.data_ref().map_or(&[], |bytes| bytes.as_ref()));
        if first.is_none() && shape == Shape::Streamed && has_content(&whole) {
            first = Some(asked.elapsed());
        }
    }
    let took = asked.elapsed();
    ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&whole));
    ensure!(has_content(&whole), "an answer without text: {}", String::from_utf8_lossy(&whole));
    if shape == Shape::Streamed {
        ensure!(whole.ends_with(b"data: [DONE]\n\n"), "a stream broke off");
    }
    Ok(first.unwrap_or(took))
}

/// Whether some content is there, and not empty.
fn has_content(text: &[u8]) -> bool {
    text.windows(CONTENT.len() + 1).any(|window| window.starts_with(CONTENT) && !window.ends_with(b"\"\""))
}

fn question() -> pb::GenerateRequest {
    let text = pb::content_block::Block::Text(PROMPT.into());
    let content = vec![pb::ContentBlock { block: Some(text), ..pb::ContentBlock::default() }];
    pb::GenerateRequest {
        request_id: Uuid::new_v4().to_string(),
        route: MODEL.into(),
        messages: vec![pb::Message { role: pb::Role::User.into(), content }],
        ..pb::GenerateRequest::default()
    }
}

fn with_token<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {TOKEN}").parse()?);
    Ok(request)
}

async fn generate(client: &mut ModelRouterServiceClient<Channel>) -> anyhow::Result<Duration> {
    let request = with_token(question())?;
    let asked = Instant::now();
    let answer = client.generate(request).await?.into_inner();
    let took = asked.elapsed();
    ensure!(answer.message.is_some_and(|message| !message.content.is_empty()), "an answer without text");
    Ok(took)
}

async fn stream(client: &mut ModelRouterServiceClient<Channel>) -> anyhow::Result<Duration> {
    let mut generate = question();
    let request_id = std::mem::take(&mut generate.request_id);
    let request = with_token(pb::StreamGenerateRequest { request_id, generate: Some(generate) })?;
    let asked = Instant::now();
    let mut messages = client.stream_generate(request).await?.into_inner();
    let (mut first, mut completed) = (None, false);
    while let Some(message) = messages.message().await? {
        if first.is_none() && !message.text.is_empty() {
            first = Some(asked.elapsed());
        }
        completed = matches!(message.event, Some(pb::stream_generate_response::Event::Completed(_)));
    }
    ensure!(completed, "a stream broke off");
    first.context("a stream without text")
}
