//! One connection, from its handshake to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::calls::{Activity, Caller, Calls};
use super::delivery;
use super::limits::Place;
use crate::metrics::OpenConnection;
use crate::stack::HEADERS_BYTES_MAX;
use crate::tls::Acceptor;
use crate::{ClientCertificate, Tasks};

/// Between HTTP/2 pings on an idle connection; a peer that is gone is noticed within two of them.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Calls that one connection may have open.
const STREAMS_MAX: u32 = 256;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take from the connection to the head of its first request, and with each further
/// head on HTTP/1.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// The transport's own bound on headers: what lies between the stack's and this is still answered.
const HEADERS_BYTES_CUT: u32 = 64 << 10;
/// What is kept of one answer while its reader is slow, in bytes. hyper's own is 400 KiB.
const SEND_BYTES_MAX: usize = 64 << 10;
/// How long a connection that was told to close may take for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What all connections of a listener share.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) router: Router,
    pub(super) builder: Builder<Executor>,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) idle_timeout: Duration,
    /// Set when open calls may finish and no more may come.
    pub(super) draining: CancellationToken,
}

/// Runs each call on a connection as a task that the drain can drop.
#[derive(Debug, Clone)]
pub(super) struct Executor(pub(super) Tasks);

impl<F> hyper::rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        self.0.spawn_connection(async move {
            if delivery::bounded(call).await.is_none() {
                tracing::debug!("an answer that nobody read was given up");
            }
        });
    }
}

pub(super) fn builder(tasks: &Tasks) -> Builder<Executor> {
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
        .max_send_buf_size(SEND_BYTES_MAX)
        .max_header_list_size(HEADERS_BYTES_CUT);
    builder
}

/// Serves a connection to its end. It holds its place until then.
pub(super) async fn serve(host: Host, stream: TcpStream, address: SocketAddr, place: Place) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set; answers on this connection may lag");
    }
    let _counted = OpenConnection::new();
    let secured = tokio::select! {
        secured = secure(host.acceptor.as_ref(), stream) => secured,
        () = host.draining.cancelled() => return,
    };
    match secured {
        Ok((stream, certificate)) => converse(&host, stream, Caller { address, certificate }).await,
        Err(error) => tracing::info!(%error, %address, "a TLS handshake failed"),
    }
    drop(place);
}

type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Performs the handshake, where there is one.
async fn secure(
    acceptor: Option<&Acceptor>,
    stream: TcpStream,
) -> io::Result<(Stream, Option<ClientCertificate>)> {
    let Some(acceptor) = acceptor else { return Ok((Either::Left(stream), None)) };
    let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "it took too long");
    let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await.map_err(late)?;
    accepted.map(|(stream, certificate)| (Either::Right(stream), certificate))
}

/// Serves calls until the peer leaves, nothing is asked for any more, or the service drains.
async fn converse(host: &Host, stream: Stream, caller: Caller) {
    let activity = Activity::new();
    let calls = Calls { router: host.router.clone(), caller, activity: Arc::clone(&activity) };
    let serving = host.builder.serve_connection(TokioIo::new(stream), calls);
    let served = delivery::bounded(async {
        let mut serving = pin!(serving);
        tokio::select! {
            served = &mut serving => return Some(served),
            () = host.draining.cancelled() => {
                serving.as_mut().graceful_shutdown();
                return Some(serving.await);
            }
            () = activity.ceased(HEADERS_TIMEOUT, host.idle_timeout) => {}
        }
        tracing::debug!("a connection without calls is closed");
        serving.as_mut().graceful_shutdown();
        tokio::time::timeout(CLOSE_TIMEOUT, serving).await.ok()
    });
    match served.await {
        Some(Some(Ok(()))) => {}
        Some(Some(Err(error))) => tracing::debug!(error, "a connection ended early"),
        Some(None) => {
            tracing::debug!("a connection without calls was dropped: its peer did not let it close")
        }
        None => tracing::debug!("a connection whose answer nobody read was dropped"),
    }
}
