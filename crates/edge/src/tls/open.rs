//! The dialling side: handshakes with the authorities and the certificate of now.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::files::Content;
use super::{PeerTlsSettings, TlsError};
use crate::fault::chain;

/// Who may answer for a peer. The files are looked at before each connection, which are few.
pub(crate) struct Authority {
    settings: PeerTlsSettings,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    /// The last content that was tried.
    seen: Option<Content>,
    config: Arc<ClientConfig>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the files a first time.
    ///
    /// # Errors
    /// [`TlsError`] when they cannot be used.
    pub(crate) fn load(settings: PeerTlsSettings) -> Result<Self, TlsError> {
        let content = Content::read(&settings.paths())?;
        let config = Arc::new(settings.build(&content)?);
        Ok(Self { settings, loaded: Mutex::new(Loaded { seen: Some(content), config }) })
    }

    /// Performs the handshake; the peer's certificate must bear `name`. Has no bound of its own.
    pub(crate) async fn connect(
        &self,
        name: ServerName<'static>,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(self.current()).connect(name, stream).await
    }

    /// The files as they were last found good. What was found unusable is told once.
    fn current(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let content = Content::read(&self.settings.paths());
        let built = match content {
            Ok(content) if loaded.seen.as_ref() == Some(&content) => return Arc::clone(&loaded.config),
            Ok(content) => {
                let built = self.settings.build(&content);
                loaded.seen = Some(content);
                built
            }
            Err(_) if loaded.seen.is_none() => return Arc::clone(&loaded.config),
            Err(error) => {
                loaded.seen = None;
                Err(error)
            }
        };
        match built {
            Ok(config) => loaded.config = Arc::new(config),
            Err(error) => {
                let error = chain(&error, ": ");
                tracing::error!(error, "changed TLS files cannot be used for calling; the former ones stay");
            }
        }
        Arc::clone(&loaded.config)
    }
}
