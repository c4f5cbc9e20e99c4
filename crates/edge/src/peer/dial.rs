//! Preparing a peer.

use std::sync::Arc;

use super::pool::Pool;
use super::target::Target;
use super::{Credentials, Measured, Peer, PeerChannel, PeerError, PeerSettings, Resolve, Server, resolve};
use crate::tls::{Authority, PeerTlsSettings};

/// Prepares a peer. Does not connect: one that is down now may be up when it is needed.
///
/// # Errors
/// [`PeerError`] for a bad address, token or file.
pub fn dial(settings: &PeerSettings) -> Result<Peer, PeerError> {
    let credentials = Credentials::load(&settings.token_file)?;
    let dialler = Dialler::new(&settings.endpoint);
    match &settings.tls {
        Some(tls) => dialler.tls(tls.clone()).dial(credentials),
        None => dialler.dial(credentials),
    }
}

/// Prepares a peer without TLS, with a token at hand.
///
/// # Errors
/// [`PeerError::Endpoint`] or [`PeerError::Scheme`] for a bad address.
pub fn dial_with(endpoint: &str, credentials: Credentials) -> Result<Peer, PeerError> {
    Dialler::new(endpoint).dial(credentials)
}

/// Prepares a peer with more than an address.
pub struct Dialler {
    endpoint: String,
    tls: Option<PeerTlsSettings>,
    resolver: Arc<dyn Resolve>,
}

impl std::fmt::Debug for Dialler {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Dialler")
            .field("endpoint", &self.endpoint)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

impl Dialler {
    /// For `http://host:port` or, with [`Dialler::tls`], `https://host:port`.
    #[must_use]
    pub fn new(endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), tls: None, resolver: Arc::new(resolve::system) }
    }

    /// Whom to trust, and what to show.
    #[must_use]
    pub fn tls(mut self, settings: PeerTlsSettings) -> Self {
        self.tls = Some(settings);
        self
    }

    /// Asks this for addresses instead of the operating system.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// Prepares the peer. Does not connect.
    ///
    /// # Errors
    /// [`PeerError`] for a bad address or file.
    pub fn dial(self, credentials: Credentials) -> Result<Peer, PeerError> {
        let endpoint = self.endpoint;
        let target = Target::parse(&endpoint)?;
        if target.is_tls() != self.tls.is_some() {
            return Err(PeerError::Scheme { endpoint });
        }
        let authority = self.tls.map(Authority::load).transpose();
        let authority = authority.map_err(|source| PeerError::Tls { endpoint, source: Box::new(source) })?;
        let server = Server::of(&target);
        let pool = Arc::new(Pool::new(target, authority, self.resolver));
        Ok(Measured::new(PeerChannel { pool, credentials }, server))
    }
}
