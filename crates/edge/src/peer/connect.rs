//! Opening one connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tonic::body::Body;

use super::greeting::{Greeted, GreetingError};
use super::target::Target;
use crate::tls::Authority;

/// How long a connection may take, TLS and the peer's first words included, before its address counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between HTTP/2 pings, and how long an answer to one may take, so that a peer that vanished is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// What the peer may send ahead of what is read, in bytes: HTTP/2's own 64 KiB make a megabyte take 16 round trips.
const WINDOW_BYTES: u32 = 1 << 20;
/// Headers of an answer, in bytes. Details of an error travel in them.
const HEADERS_BYTES_MAX: u32 = 64 << 10;

/// Why an address was not reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("the name {host} was not resolved")]
    Resolve {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("{address} does not accept connections")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no TLS with {address}")]
    Tls {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no HTTP/2 with {address}")]
    Http2 {
        address: SocketAddr,
        #[source]
        source: hyper::Error,
    },
    #[error("{address} does not begin HTTP/2")]
    Greeting {
        address: SocketAddr,
        #[source]
        source: GreetingError,
    },
    #[error("{address} took longer than {} s to connect", CONNECT_TIMEOUT.as_secs())]
    Late { address: SocketAddr },
}

/// Connects to an address, within a bound.
pub(super) async fn connect(
    target: &Target,
    authority: Option<&Authority>,
    address: SocketAddr,
) -> Result<SendRequest<Body>, ConnectError> {
    let opened = tokio::time::timeout(CONNECT_TIMEOUT, open(target, authority, address)).await;
    opened.unwrap_or(Err(ConnectError::Late { address }))
}

async fn open(
    target: &Target,
    authority: Option<&Authority>,
    address: SocketAddr,
) -> Result<SendRequest<Body>, ConnectError> {
    let tcp = |source| ConnectError::Tcp { address, source };
    let stream = TcpStream::connect(address).await.map_err(tcp)?;
    stream.set_nodelay(true).map_err(tcp)?;
    match authority {
        None => speak(stream, address).await,
        Some(authority) => {
            let secured = authority.connect(target.name(), stream).await;
            speak(secured.map_err(|source| ConnectError::Tls { address, source })?, address).await
        }
    }
}

/// Starts HTTP/2 on a stream, and waits until the peer has too: who can send calls knows that there is somebody to
/// send them to.
pub(crate) async fn speak<S>(stream: S, address: SocketAddr) -> Result<SendRequest<Body>, ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (stream, greeting) = Greeted::new(stream);
    let spoken = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_header_list_size(HEADERS_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await;
    // Asked first: where something went wrong, it knows more.
    greeting.heard().await.map_err(|source| ConnectError::Greeting { address, source })?;
    let (sender, connection) = spoken.map_err(|source| ConnectError::Http2 { address, source })?;
    detach(drive(connection, address));
    Ok(sender)
}

async fn drive<S>(connection: Connection<TokioIo<S>, Body, TokioExecutor>, address: SocketAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, %address, "a connection to a peer ended early");
    }
}

/// Runs what belongs to a pool beside the call that began it.
pub(super) fn detach(job: impl Future<Output = ()> + Send + 'static) {
    #[expect(
        clippy::disallowed_methods,
        reason = "what fails in it fails the calls that wait for it; it ends with them"
    )]
    tokio::spawn(job);
}
