//! One issuer's tokens: which are known, and how an unknown one is verified.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bulkhead_telemetry::metrics::{self, Counter, KeyValue};
use jiff::Timestamp;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Verified};
use super::keys::{KeySet, KeySetError};
use super::refetch::Refetch;
use super::{JwtError, JwtSettings, KeySource, claims};
use crate::clock;
use crate::identity::{Admitted, Standing};

/// One for each token and not for each call, where the cache does its work.
static VERIFICATIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let outcomes = [outcome("taken"), outcome("refused")];
    let description = "JSON Web Tokens that were not known and so were verified.";
    metrics::counter(
        "bulkhead.edge.jwt.verifications",
        description,
        &outcomes.each_ref().map(<[_; 1]>::as_slice),
    )
});

fn outcome(outcome: &'static str) -> [KeyValue; 1] {
    [KeyValue::new("outcome", outcome)]
}

/// Shows the counter, also where no issuer is known.
pub(crate) fn begin() {
    LazyLock::force(&VERIFICATIONS);
}

/// Verifies tokens of one issuer.
#[derive(Debug)]
pub(crate) struct Verifier {
    settings: JwtSettings,
    keys: watch::Sender<Arc<KeySet>>,
    cache: Mutex<Cache>,
    /// Where a fetch can bring a key that is not known yet. A file is looked at all the time.
    pub(super) refetch: Option<Refetch>,
}

impl Verifier {
    /// Knows no key yet.
    pub(super) fn new(settings: JwtSettings) -> Self {
        let refetch = matches!(settings.keys, KeySource::Url { .. }).then(Refetch::default);
        Self { settings, keys: watch::Sender::default(), cache: Mutex::default(), refetch }
    }

    /// Whose token this is, when it was verified before and still holds. No more than a lookup.
    pub(crate) fn known(&self, digest: &[u8; 32]) -> Option<Admitted> {
        let now = clock::now();
        self.cache(|cache| cache.get(digest, now)).map(|verified| admitted(verified, now))
    }

    /// Verifies a token that is not known, and knows it from then on. Waits for the keys where a fetch may bring the
    /// one that is missing.
    pub(crate) async fn verify(&self, digest: [u8; 32], token: &str) -> Result<Admitted, JwtError> {
        let mut checked = self.check(token, clock::now());
        if let (Err(JwtError::UnknownKey | JwtError::NoKeys), Some(refetch)) = (&checked, &self.refetch)
            && refetch.ask().await
        {
            checked = self.check(token, clock::now());
        }
        VERIFICATIONS.add(1, &outcome(if checked.is_ok() { "taken" } else { "refused" }));
        let verified = checked?;
        let (now, expires) = (clock::now(), verified.expires);
        tracing::info!(principal = %verified.identity.principal, %expires, "a token was verified");
        self.cache(|cache| cache.put(digest, verified.clone()));
        Ok(admitted(verified, now))
    }

    fn check(&self, token: &str, now: Timestamp) -> Result<Verified, JwtError> {
        let header = decode_header(token).map_err(|_source| JwtError::Malformed)?;
        if header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        if !matches!(header.alg, Algorithm::EdDSA | Algorithm::RS256) {
            return Err(JwtError::Algorithm);
        }
        let keys = Arc::clone(&self.keys.borrow());
        let key = keys.find(header.kid.as_deref(), header.alg)?;
        // The signature only: the claims are checked by us, at a time that is ours to say.
        let mut validation = Validation::new(key.algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded =
            decode::<Value>(token, &key.decoding, &validation).map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => JwtError::Signature,
                _ => JwtError::Malformed,
            })?;
        let (identity, expires) = claims::identity(&self.settings, &decoded.claims, now)?;
        Ok(Verified { identity: Arc::new(identity), expires, revoked: key.revoked.clone() })
    }

    /// Puts a new key set in force, and ends what stands on keys that are gone. Returns whether there is any key.
    pub(super) fn take(&self, json: &[u8]) -> Result<bool, KeySetError> {
        let mut set = KeySet::parse(json)?;
        let (keys, ignored) = set.counts();
        let gone = {
            let before = self.keys.borrow();
            let gone = set.succeed(&before);
            if !gone.is_empty() || before.counts() != set.counts() {
                tracing::info!(
                    keys,
                    ignored,
                    revoked = gone.len(),
                    "the issuer's key set has changed and was taken"
                );
            }
            gone
        };
        self.keys.send_replace(Arc::new(set));
        gone.iter().for_each(CancellationToken::cancel);
        Ok(keys > 0)
    }

    /// Whether there is any key to verify with.
    pub(super) fn has_keys(&self) -> bool {
        self.keys.borrow().counts().0 > 0
    }

    /// The cache is whole between any two of its steps, so a panic while it was held left it usable.
    fn cache<T>(&self, act: impl FnOnce(&mut Cache) -> T) -> T {
        act(&mut self.cache.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A stream learns of the expiry by a timer, which measures by the monotonic clock from here on.
fn admitted(verified: Verified, now: Timestamp) -> Admitted {
    let left = Duration::try_from(verified.expires.duration_since(now)).unwrap_or(Duration::ZERO);
    let expires = Instant::now().checked_add(left);
    Admitted { identity: verified.identity, standing: Standing::until(verified.revoked, expires) }
}
