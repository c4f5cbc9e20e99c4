//! The issuer's keys (RFC 7517).

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use tokio_util::sync::CancellationToken;

use super::JwtError;

/// Shorter RSA keys do not count (RFC 7518, 3.3).
const RSA_BYTES_MIN: usize = 2_048 / 8;
/// A public key of Ed25519 (RFC 8032, 5.1.5).
const ED25519_BYTES: usize = 32;

/// The keys that tokens may be signed with.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
    ignored: usize,
}

/// One key, which verifies by one algorithm.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    parameters: AlgorithmParameters,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// Cancelled when the key is not in the set any more.
    pub(super) revoked: CancellationToken,
}

/// Why a key set was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It is none.
    #[error("is not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    /// A token could mean either.
    #[error("has two keys with the same `kid`")]
    Twice,
}

impl KeySet {
    /// Reads a key set. Keys for other purposes and of other algorithms are left out.
    pub(super) fn parse(json: &[u8]) -> Result<Self, KeySetError> {
        let set: JwkSet = serde_json::from_slice(json).map_err(KeySetError::Json)?;
        let count = set.keys.len();
        let keys: Vec<Key> = set.keys.into_iter().filter_map(Key::of).collect();
        let twice =
            keys.iter().enumerate().any(|(at, key)| keys[..at].iter().any(|other| other.id == key.id));
        if twice {
            return Err(KeySetError::Twice);
        }
        Ok(Self { ignored: count - keys.len(), keys })
    }

    /// How many keys there are, and how many were left out.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.keys.len(), self.ignored)
    }

    /// The key that a token's header asks for. One without `kid` can only mean the one key there is.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&Key, JwtError> {
        let key = match (id, self.keys.as_slice()) {
            (_, []) => return Err(JwtError::NoKeys),
            (None, [only]) => only,
            (None, _) => return Err(JwtError::UnknownKey),
            (Some(_), keys) => keys.iter().find(|key| key.id.as_deref() == id).ok_or(JwtError::UnknownKey)?,
        };
        if key.algorithm == algorithm { Ok(key) } else { Err(JwtError::Algorithm) }
    }

    /// Takes over the keys that an earlier set had too. Returns what stands on the others, to be cancelled once this
    /// set is in force.
    pub(super) fn succeed(&mut self, earlier: &Self) -> Vec<CancellationToken> {
        let mut gone = Vec::new();
        for before in &earlier.keys {
            let same = |key: &&mut Key| key.id == before.id && key.parameters == before.parameters;
            match self.keys.iter_mut().find(same) {
                Some(key) => key.revoked = before.revoked.clone(),
                None => gone.push(before.revoked.clone()),
            }
        }
        gone
    }
}

impl Key {
    /// The key, when it is one that signs tokens.
    fn of(jwk: Jwk) -> Option<Self> {
        let common = &jwk.common;
        let for_signatures =
            common.public_key_use.as_ref().is_none_or(|what| *what == PublicKeyUse::Signature);
        let verifies =
            common.key_operations.as_ref().is_none_or(|what| what.contains(&KeyOperations::Verify));
        let (algorithm, named, strong) = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) => {
                (Algorithm::RS256, KeyAlgorithm::RS256, bytes(&key.n) >= RSA_BYTES_MIN)
            }
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                (Algorithm::EdDSA, KeyAlgorithm::EdDSA, bytes(&key.x) == ED25519_BYTES)
            }
            _ => return None,
        };
        let fits = common.key_algorithm.is_none_or(|algorithm| algorithm == named);
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        (for_signatures && verifies && fits && strong).then(|| Self {
            id: jwk.common.key_id,
            parameters: jwk.algorithm,
            algorithm,
            decoding,
            revoked: CancellationToken::new(),
        })
    }
}

/// The length of what is encoded in base64.
fn bytes(encoded: &str) -> usize {
    encoded.trim_end_matches('=').len() * 3 / 4
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ed(id: &str, byte: u8) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": encoded(&[byte; 32]) })
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": "rsa", "n": encoded(&vec![0xc5; bytes]), "e": "AQAB" })
    }

    fn encoded(bytes: &[u8]) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    }

    fn set(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn a_key_verifies_by_its_own_algorithm_only() {
        let set = set(&[ed("a", 1), rsa(256)]).expect("a set");
        assert!(set.find(Some("a"), Algorithm::EdDSA).is_ok());
        assert!(set.find(Some("rsa"), Algorithm::RS256).is_ok());
        for (id, algorithm) in [
            ("a", Algorithm::RS256),
            ("a", Algorithm::HS256),
            ("rsa", Algorithm::HS256),
            ("rsa", Algorithm::PS256),
        ] {
            assert_eq!(set.find(Some(id), algorithm).err(), Some(JwtError::Algorithm), "{id} {algorithm:?}");
        }
        assert_eq!(set.find(Some("b"), Algorithm::EdDSA).err(), Some(JwtError::UnknownKey));
        assert_eq!(set.find(None, Algorithm::EdDSA).err(), Some(JwtError::UnknownKey));
    }

    #[test]
    fn what_signs_no_tokens_is_left_out() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let others = [
            with(ed("a", 1), "use", json!("enc")),
            with(ed("a", 1), "alg", json!("ES256")),
            with(ed("a", 1), "key_ops", json!(["sign"])),
            with(ed("a", 1), "crv", json!("X25519")),
            with(ed("a", 1), "x", json!("AAAA")),
            with(rsa(256), "alg", json!("PS256")),
            rsa(128),
            json!({ "kty": "oct", "kid": "h", "k": encoded(&[1; 32]) }),
            json!({ "kty": "EC", "crv": "P-256", "x": encoded(&[1; 32]), "y": encoded(&[1; 32]) }),
            json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA" }),
        ];
        for key in others {
            assert_eq!(set(std::slice::from_ref(&key)).expect("a set").counts(), (0, 1), "{key}");
        }
        assert_eq!(set(&[]).expect("a set").find(None, Algorithm::EdDSA).err(), Some(JwtError::NoKeys));
    }

    #[test]
    fn a_key_that_changes_under_its_name_is_another_key() {
        let old = set(&[ed("kept", 1), ed("changed", 2), ed("gone", 3)]).expect("a set");
        let mut new = set(&[ed("kept", 1), ed("changed", 4)]).expect("a set");
        let gone = new.succeed(&old);
        gone.iter().for_each(CancellationToken::cancel);
        let ended: Vec<_> = old.keys.iter().map(|key| key.revoked.is_cancelled()).collect();
        assert_eq!(ended, [false, true, true]);
        assert!(new.keys.iter().all(|key| !key.revoked.is_cancelled()));
    }

    #[test]
    fn what_is_no_key_set_is_refused() {
        assert!(matches!(KeySet::parse(b"<html>"), Err(KeySetError::Json(_))));
        assert!(matches!(KeySet::parse(b"{}"), Err(KeySetError::Json(_))));
        assert!(matches!(set(&[ed("a", 1), ed("a", 2)]), Err(KeySetError::Twice)));
    }
}
