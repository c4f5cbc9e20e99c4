//! The connections to one peer: one to each of its addresses, made when calls want them.
//!
//! Nothing runs while nobody calls. A call that finds no connection waits for an attempt which ends after it came,
//! so that it is never told of a peer's state before its own time; attempts at one address are spaced with jitter.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::sync::Notify;
use tokio::time::Instant;
use tonic::body::Body;

use super::Resolve;
use super::connect::{ConnectError, connect, detach};
use super::failure::Unreachable;
use super::target::Target;
use crate::fault::chain;
use crate::tls::Authority;
use members::{Job, Members, Verdict};

mod members;

/// How long the name may take to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest that a call waits for a connection: a pause between attempts, a resolution, a connection.
const WAIT_MAX: Duration = Duration::from_secs(6);

/// A connection, and the mark by which its calls are counted.
pub(super) type Line = (SendRequest<Body>, Arc<()>);

/// See the module.
pub(super) struct Pool {
    target: Target,
    authority: Option<Authority>,
    resolver: Arc<dyn Resolve>,
    members: Mutex<Members>,
    changed: Notify,
}

impl Pool {
    pub(super) fn new(target: Target, authority: Option<Authority>, resolver: Arc<dyn Resolve>) -> Self {
        Self { target, authority, resolver, members: Mutex::default(), changed: Notify::new() }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    /// A connection for one call: of those there are the one with the fewest calls.
    pub(super) async fn line(self: &Arc<Self>, deadline: Option<Instant>) -> Result<Line, Unreachable> {
        let bound = Instant::now() + WAIT_MAX;
        let bound = deadline.map_or(bound, |deadline| deadline.min(bound));
        let failures_before = self.members().failures();
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let now = Instant::now();
            let (jobs, verdict) = self.members().decide(now, failures_before);
            for job in jobs {
                self.start(job);
            }
            let until = match verdict {
                Verdict::Use(line) => return Ok(line),
                Verdict::Down(unreachable) => return Err(unreachable),
                Verdict::Wait { until } => until.map_or(bound, |until| until.min(bound)),
            };
            if now >= bound {
                return Err(self.members().unreachable(now));
            }
            tokio::select! { () = changed => {}, () = tokio::time::sleep_until(until) => {} }
        }
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(self: &Arc<Self>, job: Job) {
        let pool = Arc::clone(self);
        match job {
            Job::Resolve => detach(async move { pool.resolve().await }),
            Job::Connect(address) => detach(async move { pool.connect(address).await }),
        }
    }

    async fn resolve(&self) {
        let host = self.target.host();
        let resolving = self.resolver.resolve(host.clone(), self.target.port());
        let late = |_elapsed| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let resolved = tokio::time::timeout(RESOLVE_TIMEOUT, resolving).await.unwrap_or_else(late);
        let resolved = resolved.map_err(|source| ConnectError::Resolve { host, source });
        if let Err(error) = &resolved {
            tracing::warn!(peer = %self.target, error = chain(error, ": "), "the addresses of a peer are not known");
        }
        self.members().resolved(resolved, Instant::now(), rand::random());
        self.changed.notify_waiters();
    }

    async fn connect(&self, address: SocketAddr) {
        let connected = connect(&self.target, self.authority.as_ref(), address).await;
        let first = self.members().is_fresh(address);
        match &connected {
            Ok(_) => tracing::debug!(peer = %self.target, %address, "connected"),
            Err(error) if first => {
                tracing::warn!(peer = %self.target, error = chain(error, ": "), "an address of a peer is down");
            }
            Err(error) => tracing::debug!(peer = %self.target, error = chain(error, ": "), "still down"),
        }
        self.members().connected(address, connected, Instant::now(), rand::random());
        self.changed.notify_waiters();
    }
}
