//! The listening side: handshakes with the certificate of now.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use webpki::EndEntityCert;

use super::files::Content;
use super::{TlsError, TlsSettings};
use crate::fault::chain;
use crate::{ClientCertificate, Readiness, Tasks};

/// Between looks at the files. A certificate is changed days before it expires; a second is for people who wait.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Name of the condition in the readiness of a service whose files cannot be used.
const CONDITION: &str = "tls";

/// Accepts TLS. Cheap to clone; every handshake takes the files as they were last found good.
#[derive(Clone)]
pub(crate) struct Acceptor(watch::Receiver<Arc<ServerConfig>>);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Acceptor")
    }
}

/// What keeps an [`Acceptor`] up to date.
pub(crate) struct Reloader {
    settings: TlsSettings,
    /// The content that was taken up or refused last; none stands for files that could not be read.
    seen: Option<Content>,
    /// What could not be used at the last look, and was not refused yet.
    doubted: Option<Option<Content>>,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reloader").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Acceptor {
    /// Reads the files a first time.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be used.
    pub(crate) fn load(settings: TlsSettings) -> Result<(Self, Reloader), TlsError> {
        let content = Content::read(&settings.paths())?;
        let (sender, receiver) = watch::channel(Arc::new(settings.build(&content)?));
        Ok((Self(receiver), Reloader { settings, seen: Some(content), doubted: None, current: sender }))
    }

    /// Performs the handshake and reads the names in the client's certificate. A peer that fails it is told so by
    /// an alert and a proper end of the connection. Has no bound of its own.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<ClientCertificate>)> {
        let config = Arc::clone(&self.0.borrow());
        match TlsAcceptor::from(config).accept(stream).into_fallible().await {
            Ok(stream) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = shown.map(names).transpose().map_err(io::Error::other)?;
                Ok((stream, certificate))
            }
            Err((error, mut stream)) => {
                if let Err(error) = stream.shutdown().await {
                    tracing::debug!(%error, "a connection was gone before its end was sent");
                }
                Err(error)
            }
        }
    }
}

fn names(certificate: &CertificateDer<'_>) -> Result<ClientCertificate, webpki::Error> {
    let parsed = EndEntityCert::try_from(certificate)?;
    Ok(ClientCertificate { uri_names: parsed.valid_uri_names().map(str::to_owned).collect() })
}

impl Reloader {
    /// Looks at the files until the service stops.
    pub(crate) fn start(mut self, readiness: Readiness, tasks: &Tasks) {
        let stopping = tasks.stopping();
        tasks.spawn("tls", async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(LOOK_INTERVAL) => self.look(&readiness),
                    () = stopping.cancelled() => return,
                }
            }
        });
    }

    /// Takes the files up if they have changed and can be used. What was found unusable is told once, and at the
    /// second look: files are changed one after the other.
    fn look(&mut self, readiness: &Readiness) {
        let read = Content::read(&self.settings.paths());
        let found = read.as_ref().ok().cloned();
        if found == self.seen {
            return;
        }
        match read.and_then(|content| self.settings.build(&content)) {
            Ok(config) => {
                self.current.send_replace(Arc::new(config));
                readiness.met(CONDITION);
                tracing::info!("new connections get the changed TLS files");
            }
            Err(_) if self.doubted.as_ref() != Some(&found) => {
                self.doubted = Some(found);
                return;
            }
            Err(error) => refuse(&error, readiness),
        }
        self.seen = found;
        self.doubted = None;
    }
}

fn refuse(error: &TlsError, readiness: &Readiness) {
    let error = chain(error, ": ");
    tracing::error!(error, "the changed TLS files cannot be used; the former ones stay");
    readiness.unmet(CONDITION, "the TLS files were changed and cannot be used; see the log");
}
