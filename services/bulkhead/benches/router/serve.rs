//! The parts that are no service of ours.

use std::io::Write as _;
use std::net::SocketAddr;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;

/// The simulator, until the process is ended.
pub(crate) async fn simulator() -> anyhow::Result<()> {
    let (told, address) = tokio::sync::oneshot::channel();
    // Nobody waits for it when the simulator could not be started, which is told below.
    let told = Box::new(move |address| {
        let _nobody_waits = told.send(address);
    });
    let running = bulkhead_provider_sim::run(any(), told, CancellationToken::new());
    let (ran, announced) =
        tokio::join!(running, async { announce(address.await?).map_err(anyhow::Error::from) });
    ran?;
    announced
}

/// A reverse proxy as it is written in an hour: hyper's server before hyper's client with its pool.
pub(crate) async fn proxy(upstream: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(any()).await?;
    announce(listener.local_addr()?)?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<_, Incoming> = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        // Without it streams wait for delayed acknowledgements, 44 ms at a time.
        stream.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let client = client.clone();
            async move {
                let (mut parts, body) = request.into_parts();
                let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                parts.uri = Uri::builder()
                    .scheme("http")
                    .authority(upstream.to_string())
                    .path_and_query(path)
                    .build()?;
                Ok::<_, anyhow::Error>(client.request(Request::from_parts(parts, body)).await?)
            }
        });
        #[expect(clippy::disallowed_methods, reason = "ends with its connection, or with the process")]
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// The least that serves the router's contract.
pub(crate) async fn gateway(upstream: SocketAddr) -> anyhow::Result<()> {
    let listener = TcpListener::bind(any()).await?;
    announce(listener.local_addr()?)?;
    let gateway = tonic::service::Routes::new(Gateway::before(&upstream.to_string())?).prepare();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(gateway.clone());
        #[expect(clippy::disallowed_methods, reason = "ends with its connection, or with the process")]
        tokio::spawn(async move {
            let connections = auto::Builder::new(TokioExecutor::new());
            // Told by the calls that fail.
            drop(connections.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Answers every export with success.
pub(crate) async fn collector() -> anyhow::Result<()> {
    let listener = TcpListener::bind(any()).await?;
    announce(listener.local_addr()?)?;
    let take = axum::Router::new().fallback(|request: axum::extract::Request| async {
        let read = request.into_body().collect().await;
        let status =
            read.map_or_else(|error| tonic::Status::internal(error.to_string()), |_| tonic::Status::ok(""));
        status.into_http::<axum::body::Body>()
    });
    Ok(axum::serve(listener, take).await?)
}

fn any() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn announce(address: SocketAddr) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::json!({ "listening": address.to_string() }))
}
