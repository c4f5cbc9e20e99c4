//! Everybody who may call, as of now.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Admitted;
use super::credential::Credential;
use super::failures::Failures;
use super::refusal::Refusal;
use super::watched::{Content, WatchedFile};
use crate::fault::chain;
use crate::tokens::{TokenFileError, TokenTable};
use crate::{ClientCertificate, Readiness};

/// No token is longer: ours have 68 characters, a JWT has one or two thousand. Bounds the one hash that every
/// presented token costs.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The condition of [`Readiness`] that says whether the token file could be taken.
const CONDITION: &str = "tokens";

/// Who is known, and what is remembered of failures. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: watch::Sender<Arc<TokenTable>>,
    failures: Mutex<Failures>,
}

impl Registry {
    /// Loads the token file. The file is to be given to [`Registry::follow`].
    ///
    /// # Errors
    /// [`TokenFileError`], which names the file and the entry.
    pub(crate) fn open(path: &Path) -> Result<(Self, WatchedFile), TokenFileError> {
        let (file, content) = WatchedFile::open(path)
            .map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        let table = TokenTable::parse(path, &content)?;
        let inner =
            Inner { tokens: watch::Sender::new(Arc::new(table)), failures: Mutex::new(Failures::default()) };
        Ok((Self(Arc::new(inner)), file))
    }

    /// Whose credential this is.
    ///
    /// # Errors
    /// [`Refusal`]. What is known is always found, whatever failed before: the limit is for what would have to be
    /// looked at more closely.
    pub(crate) fn admit(
        &self,
        credential: Credential<'_>,
        source: Option<IpAddr>,
    ) -> Result<Admitted, Refusal> {
        match credential {
            Credential::None => Err(Refusal::Missing),
            Credential::Malformed => Err(Refusal::Malformed),
            Credential::Certificate(certificate) => self.holder_of(certificate),
            Credential::Bearer(token) => self.bearer(token, source),
        }
    }

    fn bearer(&self, token: &str, source: Option<IpAddr>) -> Result<Admitted, Refusal> {
        if token.len() <= TOKEN_BYTES_MAX
            && let Some(admitted) = self.0.tokens.borrow().by_digest(&Sha256::digest(token).into())
        {
            return Ok(admitted);
        }
        self.failures(|failures| failures.spend(source, Instant::now()))
            .map_err(|wait| Refusal::TooMany { wait })?;
        Err(if token.len() > TOKEN_BYTES_MAX { Refusal::TooLong } else { Refusal::UnknownToken })
    }

    fn holder_of(&self, certificate: &ClientCertificate) -> Result<Admitted, Refusal> {
        let [name] = certificate.uri_names.as_slice() else { return Err(Refusal::CertificateName) };
        self.0.tokens.borrow().by_certificate(name).ok_or(Refusal::UnknownCertificate)
    }

    /// The failures are plain numbers: a panic while they were held cannot have left them half changed.
    fn failures<T>(&self, act: impl FnOnce(&mut Failures) -> T) -> T {
        act(&mut self.0.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes what the token file holds from now on, until the service stops.
    pub(crate) async fn follow(self, mut file: WatchedFile, readiness: Readiness, stop: CancellationToken) {
        loop {
            let content = tokio::select! {
                content = file.changed() => content,
                () = stop.cancelled() => return,
            };
            match self.take(file.path(), content) {
                Ok(()) => readiness.met(CONDITION),
                Err(error) => {
                    let why = chain(&error, ": ");
                    tracing::error!(error = why, "the tokens known before stay in force");
                    readiness.unmet(CONDITION, why);
                }
            }
        }
    }

    /// Puts a new table in force, whole or not at all, and ends what stands on credentials that are gone.
    fn take(&self, path: &Path, content: Content) -> Result<(), TokenFileError> {
        let read = |kind| TokenFileError::Read { path: path.to_owned(), source: std::io::Error::from(kind) };
        let mut table = TokenTable::parse(path, &content.map_err(read)?)?;
        let gone = table.succeed(&self.0.tokens.borrow());
        tracing::info!(known = table.len(), revoked = gone.len(), "the token file has changed and was taken");
        self.0.tokens.send_replace(Arc::new(table));
        gone.iter().for_each(CancellationToken::cancel);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "[[token]]\ncertificate = \"spiffe://example.org/agent/scribe\"\n\
        tenant = \"default\"\nkind = \"agent\"\nname = \"scribe\"\nroles = [\"agent\"]\n";

    #[test]
    fn a_certificate_is_known_by_its_one_uri() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, ENTRY).expect("written");
        let (registry, _file) = Registry::open(&path).expect("opens");
        let admit = |names: &[&str]| {
            let uri_names = names.iter().map(|name| (*name).to_owned()).collect();
            let admitted = registry.admit(Credential::Certificate(&ClientCertificate { uri_names }), None);
            admitted.map(|admitted| admitted.identity.principal.to_string())
        };
        assert_eq!(admit(&["spiffe://example.org/agent/scribe"]).as_deref(), Ok("agent:default/scribe"));
        assert_eq!(admit(&["spiffe://example.org/agent/other"]), Err(Refusal::UnknownCertificate));
        assert_eq!(admit(&[]), Err(Refusal::CertificateName));
        let two = ["spiffe://example.org/agent/scribe", "spiffe://example.org/agent/other"];
        assert_eq!(admit(&two), Err(Refusal::CertificateName));
    }
}
