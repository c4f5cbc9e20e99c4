//! Calling another service: its addresses, our token, the trace, the deadline.
//!
//! Promises that a call goes to an address that answers while there is one, that a peer which is down is noticed
//! within seconds whatever the caller's patience, and that an error says whether the call can have had an effect.
//! Never sends a call twice.

mod answer;
mod connect;
mod credentials;
mod dial;
mod failure;
mod greeting;
mod pool;
mod resolve;
mod target;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use http::header::{AUTHORIZATION, USER_AGENT};
use tonic::body::Body;
use tonic::{Request, Status};
use tracing::Span;

pub(crate) use self::connect::{ConnectError, speak};
pub use self::credentials::Credentials;
pub use self::dial::{Dialler, dial, dial_with};
pub use self::failure::{PeerFailure, did_nothing, reason};
pub use self::resolve::{Resolve, Resolving};

use self::answer::Answer;
use self::pool::Pool;
pub(crate) use self::target::Server;
pub use crate::metrics::Measured;
use crate::tls::{PeerTlsSettings, TlsError};

/// What we call ourselves, as gRPC over HTTP/2 asks for.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("bulkhead/", env!("CARGO_PKG_VERSION")));
/// Connections that a call is tried on while none has taken it. More than that are lost at once only where something
/// else is wrong.
const TRIES_MAX: usize = 3;

/// Where a peer is and how both sides prove who they are.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// `http://127.0.0.1:7104`, or `https://audit.internal:7104`. All addresses of the name are called.
    pub endpoint: String,
    /// The file that holds our token; read again when it changes.
    pub token_file: PathBuf,
    /// For `https`: whom to trust, and what to show.
    pub tls: Option<PeerTlsSettings>,
}

/// Why a peer cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The address is no URL of a peer.
    #[error("peer address {endpoint:?} is not like http://127.0.0.1:7104")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it, where a parser says so.
        #[source]
        source: Option<http::uri::InvalidUri>,
    },
    /// `https` without authorities, or the other way round.
    #[error(
        "peer address {endpoint:?} and its TLS do not go together: https needs `ca`, http cannot have it"
    )]
    Scheme {
        /// As configured.
        endpoint: String,
    },
    /// The files for TLS cannot be used.
    #[error("TLS to the peer {endpoint:?} cannot be had")]
    Tls {
        /// As configured.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<TlsError>,
    },
    /// The token cannot be read.
    #[error("cannot read the token file {path}")]
    Token {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token holds what no header may.
    #[error("the token file {path} does not hold a token")]
    NotAToken {
        /// Which.
        path: PathBuf,
    },
}

/// A service that we call, each call measured. Cheap to clone; connects when first used and again after the peer came
/// back.
pub type Peer = Measured<PeerChannel>;

/// Gives calls to the connections of a peer, with our token and the current trace.
#[derive(Clone)]
pub struct PeerChannel {
    pool: Arc<Pool>,
    credentials: Credentials,
}

impl fmt::Debug for PeerChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("PeerChannel").field("target", self.pool.target()).finish_non_exhaustive()
    }
}

impl tower::Service<http::Request<Body>> for PeerChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Status>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let headers = request.headers_mut();
        bulkhead_telemetry::inject(&Span::current(), headers);
        headers.insert(AUTHORIZATION, self.credentials.header());
        headers.insert(USER_AGENT, AGENT);
        let pool = Arc::clone(&self.pool);
        Box::pin(async move { send(&pool, request).await })
    }
}

/// Sends a request on a connection that takes it. Only what certainly was not sent is tried on another.
async fn send(pool: &Arc<Pool>, mut request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
    let target = pool.target();
    let deadline = answer::deadline(request.headers());
    *request.uri_mut() = target.uri(request.uri());
    let mut unsent = None;
    for _ in 0..TRIES_MAX {
        let (mut line, load) = match pool.line(deadline).await {
            Ok(line) => line,
            Err(unreachable) => return Err(unreachable.into_status(target)),
        };
        let answered = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, line.try_send_request(request)).await,
            None => Ok(line.try_send_request(request).await),
        };
        let mut lost = match answered {
            Ok(Ok(response)) => {
                return Ok(response.map(|body| Body::new(Answer::new(body, target, deadline, load))));
            }
            Ok(Err(lost)) => lost,
            Err(_elapsed) => return Err(failure::late(target)),
        };
        match lost.take_message() {
            Some(back) => (request, unsent) = (back, Some(lost.into_error())),
            None => return Err(failure::lost(target, lost.into_error())),
        }
    }
    Err(failure::not_taken(target, unsent))
}

/// A request that ends when `remaining` has passed, at the peer as well.
#[must_use]
pub fn within<T>(message: T, remaining: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(remaining);
    request
}
