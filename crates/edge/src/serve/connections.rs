//! Accepting connections and draining them.
//!
//! hyper is driven directly: tonic's own server answers an expired `grpc-timeout` with CANCELLED before the
//! stack could say DEADLINE_EXCEEDED, and has no bound for slow or silent peers.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection::{self, Host, builder};
use super::limits::{ConnectionLimits, FreePlace, Places};
use crate::Tasks;
use crate::tls::Acceptor;

/// Pause after a failed accept (out of file descriptors, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port, and how it is served.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) acceptor: Option<Acceptor>,
    pub(super) limits: ConnectionLimits,
}

impl Listener {
    /// Serves every connection until `stop`, then lets open calls finish for at most `drain_limit`: a client
    /// that never reads must not keep the process alive. When this returns, no handler runs any more.
    pub(super) async fn serve(
        self,
        router: Router,
        tasks: &Tasks,
        stop: impl Future<Output = ()>,
        drain_limit: Duration,
    ) {
        let draining = CancellationToken::new();
        let host = Host {
            router,
            builder: builder(tasks),
            acceptor: self.acceptor,
            idle_timeout: self.limits.idle_timeout,
            draining: draining.clone(),
        };
        let places = Places::new(&self.limits);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &places) => accepted,
                () = &mut stop => break,
            };
            match accepted {
                Ok(arrived) => admit(arrived, &places, &host, tasks),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        draining.cancel();
        if tokio::time::timeout(drain_limit, tasks.connections_ended()).await.is_err() {
            tracing::warn!(limit_ms = %drain_limit.as_millis(), "some calls were still open when the drain limit passed");
        }
        tasks.abort_connections().await;
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Places,
) -> std::io::Result<(TcpStream, SocketAddr, FreePlace)> {
    let free = places.free().await?;
    let (stream, address) = listener.accept().await?;
    Ok((stream, address, free))
}

/// Serves a connection unless its address has too many.
fn admit(arrived: (TcpStream, SocketAddr, FreePlace), places: &Arc<Places>, host: &Host, tasks: &Tasks) {
    let (stream, address, free) = arrived;
    match places.take(free, address.ip()) {
        Some(place) => tasks.spawn_connection(connection::serve(host.clone(), stream, address, place)),
        None => {
            tracing::warn!(address = %address.ip(), "a connection was refused: its address has all that it may");
        }
    }
}
