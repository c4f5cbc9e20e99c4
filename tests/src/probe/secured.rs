//! TLS by hand: what a listener shows, and calls of whoever shows a certificate and no token.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::wire::{Answer, Ask, answered, request};

/// A caller that trusts the authority of a folder of `bulkhead certs`.
#[derive(Debug, Clone)]
pub struct Secured(Arc<ClientConfig>);

impl Secured {
    /// One that shows `NAME.crt` of the folder, or nothing.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn of(certs: &Path, shows: Option<&str>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certs.join("ca.crt"))?)?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_root_certificates(roots);
        let mut config = match shows {
            None => config.with_no_client_auth(),
            Some(name) => config.with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certs.join(format!("{name}.crt")))?],
                PrivateKeyDer::from_pem_file(certs.join(format!("{name}.key")))?,
            )?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The certificate that a new connection is shown.
    ///
    /// # Errors
    /// When there is no TLS with the address.
    pub async fn shown(&self, address: &str) -> anyhow::Result<Vec<u8>> {
        let stream = self.connect(address).await?;
        let chain = stream.get_ref().1.peer_certificates().context("no certificate was shown")?;
        Ok(chain.first().context("an empty chain")?.to_vec())
    }

    /// Calls over a connection of its own.
    ///
    /// # Errors
    /// When the connection fails, or what comes is not gRPC.
    pub async fn ask(&self, ask: Ask) -> anyhow::Result<Answer> {
        let stream = TokioIo::new(self.connect(&ask.address).await?);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await?;
        let streams = ask.streams;
        let exchange = async {
            let response = sender.send_request(request("https", ask)?).await?;
            answered(response, streams).await
        };
        tokio::select! {
            answer = exchange => answer,
            Err(error) = connection => Err(error.into()),
        }
    }

    async fn connect(&self, address: &str) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        Ok(TlsConnector::from(self.0.clone()).connect(ServerName::try_from("localhost")?, stream).await?)
    }
}
