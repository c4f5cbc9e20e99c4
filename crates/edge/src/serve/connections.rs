//! Accepting, serving and draining connections.
//!
//! hyper is driven directly: tonic's own server answers an expired `grpc-timeout` with CANCELLED before the
//! stack could say DEADLINE_EXCEEDED, and has no bound for slow or silent peers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Tasks;
use crate::metrics::OpenConnection;
use crate::stack::HEADERS_BYTES_MAX;

/// Between HTTP/2 pings on an idle connection; a peer that is gone is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Calls that one connection may have open.
const STREAMS_MAX: u32 = 256;
/// Connections that may be open; the next ones wait in the listener's queue. Well below the 1,024 file
/// descriptors that processes usually get, since stores and peers need some.
const CONNECTIONS_MAX: usize = 768;
/// How long a peer may take from the connection to the head of its first request, and with each further
/// head on HTTP/1.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// The transport's own bound on headers: what lies between the stack's and this is still answered.
const HEADERS_BYTES_CUT: u32 = 64 << 10;
/// Pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves every connection until `stop`, then lets open calls finish for at most `drain_limit`: a client
/// that never reads must not keep the process alive. When this returns, no handler runs any more.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tasks: &Tasks,
    stop: impl Future<Output = ()>,
    drain_limit: Duration,
) {
    let builder = builder(tasks);
    let open = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, source, place)) => {
                connection(stream, source, place, &builder, router.clone(), &open, tasks)
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain_limit, open.shutdown()).await.is_err() {
        tracing::warn!(limit_ms = %drain_limit.as_millis(), "some calls were still open when the drain limit passed");
    }
    tasks.abort_connections().await;
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, source) = listener.accept().await?;
    Ok((stream, source, place))
}

/// Runs each call on a connection as a task that the drain can drop.
#[derive(Debug, Clone)]
struct Executor(Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn_connection(async move {
            call.await;
        });
    }
}

fn builder(tasks: &Tasks) -> Builder<Executor> {
    let mut builder = Builder::new(Executor(tasks.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADERS_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_CUT);
    builder
}

fn connection(
    stream: TcpStream,
    source: SocketAddr,
    place: OwnedSemaphorePermit,
    builder: &Builder<Executor>,
    router: Router,
    open: &GracefulShutdown,
    tasks: &Tasks,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set; answers on this connection may lag");
    }
    let asked = CancellationToken::new();
    let first = asked.clone();
    let router = router.map_request(move |mut request: Request<_>| {
        first.cancel();
        request.extensions_mut().insert(ConnectInfo(source));
        request
    });
    let serving =
        builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).into_owned();
    let serving = open.watch(serving);
    let counted = OpenConnection::new();
    tasks.spawn_connection(async move {
        tokio::select! {
            served = serving => if let Err(error) = served {
                tracing::debug!(error, "a connection ended early");
            },
            () = silence(asked) => tracing::debug!("a connection without a request was closed"),
        }
        drop((place, counted));
    });
}

/// Resolves when a peer has asked for nothing in the time it has for that.
async fn silence(asked: CancellationToken) {
    if tokio::time::timeout(HEADERS_TIMEOUT, asked.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}
