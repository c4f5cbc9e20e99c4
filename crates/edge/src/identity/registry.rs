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
use super::jwt::{JwtError, Verifier};
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
    jwt: Option<Arc<Verifier>>,
    failures: Mutex<Failures>,
}

impl Registry {
    /// Loads the token file, which is then to be followed. JWTs are known to the verifier, if there is one.
    ///
    /// # Errors
    /// [`TokenFileError`], which names the file and the entry.
    pub(crate) fn open(
        path: &Path,
        jwt: Option<Arc<Verifier>>,
    ) -> Result<(Self, WatchedFile), TokenFileError> {
        let (file, content) = WatchedFile::open(path)
            .map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        let tokens = watch::Sender::new(Arc::new(TokenTable::parse(path, &content)?));
        Ok((Self(Arc::new(Inner { tokens, jwt, failures: Mutex::default() })), file))
    }

    /// Whose credential this is.
    ///
    /// # Errors
    /// [`Refusal`]. What is known is always found, whatever failed before: the limit is for what would have to be
    /// looked at more closely.
    pub(crate) async fn admit(
        &self,
        credential: Credential<'_>,
        source: Option<IpAddr>,
    ) -> Result<Admitted, Refusal> {
        match credential {
            Credential::None => Err(Refusal::Missing),
            Credential::Malformed => Err(Refusal::Malformed),
            Credential::Certificate(certificate) => self.holder_of(certificate),
            Credential::Bearer(token) => self.holder(token, source).await,
        }
    }

    async fn holder(&self, token: &str, source: Option<IpAddr>) -> Result<Admitted, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            self.spend(source)?;
            return Err(Refusal::TooLong);
        }
        let digest = Sha256::digest(token).into();
        if let Some(admitted) = self.known(&digest) {
            return Ok(admitted);
        }
        self.spend(source)?;
        let Some(verifier) = self.0.jwt.as_ref().filter(|_| is_compact(token)) else {
            return Err(Refusal::UnknownToken);
        };
        let verified = verifier.verify(digest, token).await;
        if !verified.as_ref().is_err_and(|error| *error != JwtError::NoKeys) {
            self.failures(|failures| failures.refund(source));
        }
        verified.map_err(Refusal::Token)
    }

    /// No more than lookups.
    fn known(&self, digest: &[u8; 32]) -> Option<Admitted> {
        let fixed = self.0.tokens.borrow().by_digest(digest);
        fixed.or_else(|| self.0.jwt.as_ref()?.known(digest))
    }

    fn spend(&self, source: Option<IpAddr>) -> Result<(), Refusal> {
        let spent = self.failures(|failures| failures.spend(source, Instant::now()));
        spent.map_err(|wait| Refusal::TooMany { wait })
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

/// Whether a token has the three parts of a JWS in its compact form (RFC 7515, 3.1).
fn is_compact(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = "[[token]]\ncertificate = \"spiffe://example.org/agent/scribe\"\n\
        tenant = \"default\"\nkind = \"agent\"\nname = \"scribe\"\nroles = [\"agent\"]\n";

    #[tokio::test]
    async fn a_certificate_is_known_by_its_one_uri() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, ENTRY).expect("written");
        let (registry, _file) = Registry::open(&path, None).expect("opens");
        let admit = async |names: &[&str]| {
            let certificate =
                ClientCertificate { uri_names: names.iter().map(|name| (*name).to_owned()).collect() };
            let admitted = registry.admit(Credential::Certificate(&certificate), None).await;
            admitted.map(|admitted| admitted.identity.principal.to_string())
        };
        assert_eq!(
            admit(&["spiffe://example.org/agent/scribe"]).await.as_deref(),
            Ok("agent:default/scribe")
        );
        assert_eq!(admit(&["spiffe://example.org/agent/other"]).await, Err(Refusal::UnknownCertificate));
        assert_eq!(admit(&[]).await, Err(Refusal::CertificateName));
        let two = ["spiffe://example.org/agent/scribe", "spiffe://example.org/agent/other"];
        assert_eq!(admit(&two).await, Err(Refusal::CertificateName));
    }
}
