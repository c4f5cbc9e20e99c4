//! Whom an endpoint names.

use std::fmt;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{Uri, uri};
use rustls::pki_types::ServerName;

use super::PeerError;

/// An endpoint, understood.
#[derive(Debug, Clone)]
pub(super) struct Target {
    scheme: Scheme,
    authority: Authority,
    name: ServerName<'static>,
    port: u16,
}

impl Target {
    /// Understands `http://host:port` and `https://host:port`.
    ///
    /// # Errors
    /// [`PeerError::Endpoint`].
    pub(super) fn parse(endpoint: &str) -> Result<Self, PeerError> {
        let wrong = |source| PeerError::Endpoint { endpoint: endpoint.to_owned(), source };
        let parts = endpoint.parse::<Uri>().map_err(|source| wrong(Some(source)))?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(wrong(None));
        };
        let port = match (authority.port_u16(), scheme.as_str()) {
            (Some(port), "http" | "https") => port,
            (None, "http") => 80,
            (None, "https") => 443,
            _ => return Err(wrong(None)),
        };
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        match ServerName::try_from(host) {
            Ok(name) if bare && !authority.as_str().contains('@') => {
                Ok(Self { scheme, authority, name, port })
            }
            _ => Err(wrong(None)),
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The name that its certificate must bear.
    pub(super) fn name(&self) -> ServerName<'static> {
        self.name.clone()
    }

    /// What is looked up.
    pub(super) fn host(&self) -> String {
        self.name.to_str().into_owned()
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The address of one method there.
    pub(super) fn uri(&self, method: &Uri) -> Uri {
        let mut parts = uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = method.path_and_query().cloned();
        // Of these three only a missing path makes no address, and a call always has one.
        Uri::from_parts(parts).unwrap_or_else(|_no_path| method.clone())
    }
}

/// Whom calls go to, as their spans say.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    address: Arc<str>,
    port: u16,
}

impl Server {
    pub(super) fn of(target: &Target) -> Self {
        Self { address: target.host().into(), port: target.port() }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_names_a_host_and_a_port() {
        let cases = [
            ("http://127.0.0.1:7104", "127.0.0.1", 7104),
            ("https://audit.internal:7104", "audit.internal", 7104),
            ("https://audit.internal", "audit.internal", 443),
            ("http://[::1]:7104/", "::1", 7104),
        ];
        for (endpoint, host, port) in cases {
            let target = Target::parse(endpoint).expect("an endpoint");
            assert_eq!((target.host().as_str(), target.port()), (host, port), "{endpoint}");
        }
    }

    #[test]
    fn what_names_no_peer_is_refused() {
        for endpoint in [
            "",
            "localhost",
            "127.0.0.1:7104",
            "ftp://a:1",
            "http://u:p@a:1",
            "http://a:1/path",
            "http://a b",
        ] {
            assert!(Target::parse(endpoint).is_err(), "{endpoint}");
        }
    }
}
