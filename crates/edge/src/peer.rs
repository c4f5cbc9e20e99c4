//! Calling another service: its address, our token, the trace, the deadline.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use http::uri::InvalidUri;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;
use tracing::Span;

pub use crate::metrics::Measured;

/// How long a connection may take before the peer counts as down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between HTTP/2 pings, so that a peer that vanished is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Where a peer is and how we prove who we are.
#[derive(Debug, Clone)]
pub struct PeerSettings {
    /// `http://127.0.0.1:7104`.
    pub endpoint: String,
    /// The file that holds our token.
    pub token_file: PathBuf,
}

/// Why a peer cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The address is no URL.
    #[error("peer address {endpoint:?} is not like http://127.0.0.1:7104")]
    Endpoint {
        /// As configured.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: InvalidUri,
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

/// A channel that carries our token and the current trace. Cheap to clone; connects when first used and
/// again after the peer came back.
pub type Peer = InterceptedService<Measured<Channel>, Credentials>;

/// Prepares a channel. Does not connect: a peer that is down now may be up when it is needed.
///
/// # Errors
/// [`PeerError`] for a bad address or token.
pub fn dial(settings: &PeerSettings) -> Result<Peer, PeerError> {
    let credentials = Credentials::load(&settings.token_file)?;
    Ok(InterceptedService::new(Measured::new(channel(&settings.endpoint)?), credentials))
}

/// Prepares a channel with a token at hand, for the command.
///
/// # Errors
/// [`PeerError::Endpoint`] for a bad address.
pub fn dial_with(endpoint: &str, credentials: Credentials) -> Result<Peer, PeerError> {
    Ok(InterceptedService::new(Measured::new(channel(endpoint)?), credentials))
}

fn channel(endpoint: &str) -> Result<Channel, PeerError> {
    let uri: Uri =
        endpoint.parse().map_err(|source| PeerError::Endpoint { endpoint: endpoint.to_owned(), source })?;
    let built = Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    Ok(built.connect_lazy())
}

/// Our token, as the header that carries it. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct Credentials(MetadataValue<Ascii>);

impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

impl Credentials {
    /// Reads the token from a file; white space around it is ignored.
    ///
    /// # Errors
    /// [`PeerError::Token`] or [`PeerError::NotAToken`].
    pub fn load(path: &Path) -> Result<Self, PeerError> {
        let text =
            fs::read_to_string(path).map_err(|source| PeerError::Token { path: path.to_owned(), source })?;
        Self::new(text.trim()).ok_or_else(|| PeerError::NotAToken { path: path.to_owned() })
    }

    /// From a token at hand; none when it is empty or no header could carry it.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        if token.is_empty() {
            return None;
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        bulkhead_telemetry::inject(&Span::current(), &mut headers);
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A request that ends when `remaining` has passed, at the peer as well.
#[must_use]
pub fn within<T>(message: T, remaining: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(remaining);
    request
}

/// What the answer of a peer means for whoever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFailure {
    /// The peer was not reached, is draining, or ran out of time or room: the same call may work later.
    Unavailable,
    /// The peer understood and refused: the same call will be refused again.
    Refused,
}

impl PeerFailure {
    /// Sorts a status by whether waiting may help.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => Self::Unavailable,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => Self::Refused,
        }
    }
}

/// The stable reason in a peer's answer; empty when it gave none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map_or_else(String::new, |info| info.reason)
}
