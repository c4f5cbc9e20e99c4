//! `bulkhead door`: the one way from outside into a network of containers that has no other, and no way out.
//!
//! Carries bytes between whoever calls one of its ports and a service behind it. Promises that it holds no key, looks
//! into nothing, asks for the addresses of a name at each connection, and ends one as soon as its service has ended
//! it. Never decides who may call: that is the service's, which everybody's TLS and token reach as they are.

#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bulkhead_edge::process;
use clap::Args;
use rand::seq::SliceRandom as _;
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// In logs and traces.
const NAME: &str = "door";
/// Connections at once, which take a task and 16 KiB each; the next ones wait to be accepted.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a caller may say nothing at first.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// For one address of a service. A container that is there answers at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a service may go on answering a caller that says nothing more.
const LINGER: Duration = Duration::from_secs(30);
/// How long open connections have at the end: services that are stopped at the same time drain for ten seconds.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// Arguments of `bulkhead door`.
#[derive(Debug, Args)]
pub(crate) struct DoorArguments {
    /// Where to listen, and which service is behind it: 0.0.0.0:7104=audit:7104. May be given more than once.
    #[arg(value_name = "ADDRESS=HOST:PORT", required = true)]
    ways: Vec<Way>,
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    listen: SocketAddr,
    /// Host and port; the host may have several addresses.
    service: String,
}

impl FromStr for Way {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (listen, service) = text.split_once('=').context("must be ADDRESS=HOST:PORT")?;
        let listen = listen.parse().with_context(|| format!("{listen} is no address with a port"))?;
        let (host, port) = service.rsplit_once(':').with_context(|| format!("{service} has no port"))?;
        anyhow::ensure!(!host.is_empty() && port.parse::<u16>().is_ok(), "{service} is not HOST:PORT");
        Ok(Self { listen, service: service.to_owned() })
    }
}

impl DoorArguments {
    /// Lets callers in until told to stop.
    pub(crate) fn run(self) -> ExitCode {
        process::host(NAME, |announce, shutdown| async move {
            let mut doors = JoinSet::new();
            let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            let mut announce = Some(announce);
            for way in self.ways {
                let listener = TcpListener::bind(way.listen).await?;
                if let Some(announce) = announce.take() {
                    announce(listener.local_addr()?);
                }
                doors.spawn(keep(listener, way.service, Arc::clone(&places), shutdown.clone()));
            }
            // One that panicked is a port that nobody answers any more.
            while let Some(ended) = doors.join_next().await {
                ended?;
            }
            Ok(())
        })
    }
}

/// Lets callers of one port in; after a stop, those who are in may finish.
async fn keep(listener: TcpListener, service: String, places: Arc<Semaphore>, shutdown: CancellationToken) {
    let service: Arc<str> = service.into();
    let mut open = JoinSet::new();
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &places)).await {
        match accepted {
            Ok((caller, place)) => {
                let service = Arc::clone(&service);
                open.spawn(async move {
                    if let Err(error) = carry(caller, &service).await {
                        tracing::info!(%error, %service, "a connection was not carried to its end");
                    }
                    drop(place);
                });
            }
            Err(error) => tracing::warn!(%error, "a connection could not be taken"),
        }
        // Those that have ended are let go of.
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    let left = timeout(DRAIN_TIMEOUT, async { while open.join_next().await.is_some() {} }).await;
    if left.is_err() {
        tracing::warn!(connections = open.len(), %service, "connections were open at the end");
    }
}

/// The next caller, once there is a place.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (caller, _address) = listener.accept().await?;
    Ok((caller, place))
}

/// Carries one connection, once the caller speaks, which in TLS and HTTP callers do first: whoever only asks whether the
/// port is open costs a service nothing.
async fn carry(mut caller: TcpStream, service: &str) -> io::Result<()> {
    match timeout(SILENCE_MAX, caller.peek(&mut [0])).await {
        Ok(Ok(0)) | Err(_) => return Ok(()),
        Ok(spoken) => spoken?,
    };
    let mut callee = connect(service).await?;
    // Both ends ask it of their own sockets; without it small frames wait for each other.
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let (mut asked, mut answered) = caller.split();
    let (mut answers, mut asks) = callee.split();
    let down = async {
        copy(&mut answers, &mut answered).await?;
        answered.shutdown().await
    };
    let up = async {
        copy(&mut asked, &mut asks).await?;
        asks.shutdown().await
    };
    tokio::pin!(down);
    tokio::select! {
        // Whatever a caller still says to a service that has ended the connection, nobody hears.
        ended = &mut down => return ended,
        ended = up => ended?,
    }
    timeout(LINGER, down).await.unwrap_or(Ok(()))
}

/// Connects to one of the service's addresses. Their order is by chance, so that replicas share the callers.
async fn connect(service: &str) -> io::Result<TcpStream> {
    let mut addresses: Vec<SocketAddr> = lookup_host(service).await?.collect();
    addresses.shuffle(&mut rand::rng());
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_late) => failed = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed)
}
