//! PEM files to what rustls takes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{ClientAuth, IdentityFiles, PeerTlsSettings, TlsSettings};

/// What connections may speak; the first that the other side knows is taken (RFC 7301).
const LISTENER_PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be had from the files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not the PEM that was expected.
    #[error("{path} does not hold {expected} in PEM")]
    Pem {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
        /// What is wrong.
        #[source]
        source: pem::Error,
    },
    /// A certificate in a list of authorities cannot be one.
    #[error("{path} holds a certificate that cannot be an authority")]
    Authority {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// No client could be verified with these authorities.
    #[error("clients cannot be verified with {path}")]
    Verifier {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::server::VerifierBuilderError,
    },
    /// Certificate and key cannot be used together.
    #[error("the certificate {certificate} cannot be used with the key {key}")]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The provider of cryptography lacks a protocol version.
    #[error("this build cannot speak TLS 1.2 and 1.3")]
    Versions(#[source] rustls::Error),
}

/// The content of the files that a configuration is made of, in the order of their names. Compared to notice a
/// change; has no `Debug`, since a key is among them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Content(Vec<Vec<u8>>);

impl Content {
    /// Reads them all. They are a few kilobytes.
    pub(super) fn read(paths: &[&Path]) -> Result<Self, TlsError> {
        let read = |path: &&Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_path_buf(), source })
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn file(&self, place: usize) -> &[u8] {
        self.0.get(place).map_or(&[], Vec::as_slice)
    }
}

impl TlsSettings {
    pub(super) fn paths(&self) -> Vec<&Path> {
        let clients = match &self.clients {
            ClientAuth::None => None,
            ClientAuth::Optional(ca) | ClientAuth::Required(ca) => Some(ca.as_path()),
        };
        [self.identity.certificate.as_path(), self.identity.key.as_path()]
            .into_iter()
            .chain(clients)
            .collect()
    }

    /// Content in the order of [`TlsSettings::paths`].
    pub(super) fn build(&self, content: &Content) -> Result<ServerConfig, TlsError> {
        let provider = provider();
        let verifier = match &self.clients {
            ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
            ClientAuth::Optional(ca) => client_verifier(ca, content.file(2), &provider, false)?,
            ClientAuth::Required(ca) => client_verifier(ca, content.file(2), &provider, true)?,
        };
        let chain = certificates(&self.identity.certificate, content.file(0))?;
        let key = private_key(&self.identity.key, content.file(1))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|source| pair(&self.identity, source))?;
        config.alpn_protocols = LISTENER_PROTOCOLS.map(<[u8]>::to_vec).into();
        // A resumed session is not verified again, so that a certificate which expired would be let in once more.
        // Connections here live long; a full handshake each is the cheaper price.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }
}

impl PeerTlsSettings {
    pub(super) fn paths(&self) -> Vec<&Path> {
        let identity =
            self.identity.iter().flat_map(|files| [files.certificate.as_path(), files.key.as_path()]);
        std::iter::once(self.ca.as_path()).chain(identity).collect()
    }

    /// Content in the order of [`PeerTlsSettings::paths`].
    pub(super) fn build(&self, content: &Content) -> Result<ClientConfig, TlsError> {
        let roots = authorities(&self.ca, content.file(0))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Versions)?
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = certificates(&files.certificate, content.file(1))?;
                let key = private_key(&files.key, content.file(2))?;
                builder.with_client_auth_cert(chain, key).map_err(|source| pair(files, source))?
            }
        };
        // Peers speak gRPC.
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(config)
    }
}

/// Named rather than taken from the process, so that nothing else in it can change what is used here.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn client_verifier(
    ca: &Path,
    text: &[u8],
    provider: &Arc<CryptoProvider>,
    required: bool,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = Arc::new(authorities(ca, text)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|source| TlsError::Verifier { path: ca.to_owned(), source })
}

fn authorities(path: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, text)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

pub(super) fn certificates(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { path: path.to_owned(), expected: "a certificate", source };
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if chain.is_empty() { Err(wrong(pem::Error::NoItemsFound)) } else { Ok(chain) }
}

fn private_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|source| TlsError::Pem {
        path: path.to_owned(),
        expected: "a private key",
        source,
    })
}

fn pair(files: &IdentityFiles, source: rustls::Error) -> TlsError {
    TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source }
}
