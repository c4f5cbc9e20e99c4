//! Accepting, serving and draining connections.
//!
//! hyper is driven directly: tonic's own server answers an expired `grpc-timeout` with CANCELLED before the
//! stack could say DEADLINE_EXCEEDED, and knows no bound for slow headers.

use std::future::Future;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

use crate::Tasks;

/// Between HTTP/2 pings on an idle connection; a peer that is gone is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Calls that one connection may have open.
const STREAMS_MAX: u32 = 256;
/// How long the head of an HTTP/1 request may take.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// Headers of one request, in bytes; tokens and traces need a fraction of it.
const HEADERS_BYTES_MAX: u32 = 16 << 10;
/// Pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves every connection until `stop`, then lets open calls finish for at most `drain_limit`: a client
/// that never reads must not keep the process alive.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    tasks: &Tasks,
    stop: impl Future<Output = ()>,
    drain_limit: Duration,
) {
    let builder = builder();
    let open = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _address)) => connection(stream, &builder, router.clone(), &open, tasks),
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
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_BYTES_MAX);
    builder
}

fn connection(
    stream: TcpStream,
    builder: &Builder<TokioExecutor>,
    router: Router,
    open: &GracefulShutdown,
    tasks: &Tasks,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set; answers on this connection may lag");
    }
    let service = TowerToHyperService::new(router);
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let serving = open.watch(serving);
    tasks.spawn_connection(async move {
        if let Err(error) = serving.await {
            tracing::debug!(error, "a connection ended early");
        }
    });
}
