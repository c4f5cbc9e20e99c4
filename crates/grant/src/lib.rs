//! A decision of people, signed so that an executor can check it without asking.
//!
//! Promises that a grant which verifies says that this approval of exactly this plan was granted, by whom,
//! and until when, under a key that the verifier pinned by file. Using a grant once is the executor's part.

mod keys;

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use ed25519_dalek::{Signature, Signer as _, Verifier as _};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use keys::{KeyFileError, PinnedKeys, SigningKey, write_new_key};

/// Stands before the payload under the signature, so that no other signed JSON can pass for a grant.
const CONTEXT: &[u8] = b"bulkhead-grant-v1\n";

/// What people granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The approval that was decided; used once.
    pub approval_id: String,
    /// Always `approved`; a denial is never signed.
    pub decision: GrantedDecision,
    /// The grant is void from this time on.
    pub not_after: Timestamp,
    /// SHA-256 of the plan's canonical text.
    pub plan_digest: String,
    /// The tenant it belongs to.
    pub tenant: String,
    /// Who agreed, and with which roles.
    pub voters: Vec<Voter>,
}

/// The only decision that is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GrantedDecision {
    /// Do exactly what the plan says.
    Approved,
}

/// A person who agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Voter {
    /// Name within the tenant.
    pub name: String,
    /// The roles held when voting.
    pub roles: Vec<String>,
}

/// A grant as it travels: the exact bytes that were signed, and the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedGrant {
    /// RFC 8785 JSON of the [`Grant`].
    pub payload_json: String,
    /// Which key signed.
    pub key_id: String,
    /// 64 bytes.
    pub signature: Vec<u8>,
}

/// Why a grant does not count.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// The key is not pinned here.
    #[error("the grant is signed by key {key_id}, which is not pinned")]
    UnknownKey {
        /// As the grant names it.
        key_id: String,
    },
    /// The signature does not belong to the payload.
    #[error("the grant's signature does not verify")]
    BadSignature(#[source] ed25519_dalek::SignatureError),
    /// The payload is not canonical JSON.
    #[error("the grant's payload is not canonical")]
    NotCanonical(#[source] CanonicalError),
    /// The payload has another shape.
    #[error("the grant's payload is not a grant")]
    Shape(#[source] serde_json::Error),
    /// It was granted for something else.
    #[error("the grant is for {what} {found}, not {wanted}")]
    Mismatch {
        /// `approval`, `plan` or `tenant`.
        what: &'static str,
        /// In the grant.
        found: String,
        /// What was to be allowed.
        wanted: String,
    },
    /// It is too late.
    #[error("the grant expired at {not_after}")]
    Expired {
        /// When.
        not_after: Timestamp,
    },
}

/// What a grant has to match.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The approval that was asked for.
    pub approval_id: &'a str,
    /// The plan that is about to run.
    pub plan_digest: &'a str,
    /// The tenant of whoever asked.
    pub tenant: &'a str,
}

impl Grant {
    /// Signs the grant.
    ///
    /// # Errors
    /// [`CanonicalError`] when it has no canonical form, which its types rule out.
    pub fn sign(&self, key: &SigningKey) -> Result<SignedGrant, CanonicalError> {
        let payload_json = canonical::to_string(self)?;
        let signature = key.inner().sign(&message(&payload_json)).to_bytes().to_vec();
        Ok(SignedGrant { payload_json, key_id: key.id(), signature })
    }
}

impl SignedGrant {
    /// From when on the grant says that it is void. Nothing is checked: for telling others, never for deciding.
    #[must_use]
    pub fn stated_not_after(&self) -> Option<Timestamp> {
        serde_json::from_str::<Grant>(&self.payload_json).ok().map(|grant| grant.not_after)
    }

    /// Checks everything about the grant that can be checked without a store.
    ///
    /// # Errors
    /// [`GrantError`]; the effect must not happen.
    pub fn verify(
        &self,
        keys: &PinnedKeys,
        expected: Expected<'_>,
        now: Timestamp,
    ) -> Result<Grant, GrantError> {
        let key =
            keys.get(&self.key_id).ok_or_else(|| GrantError::UnknownKey { key_id: self.key_id.clone() })?;
        let signature = Signature::from_slice(&self.signature).map_err(GrantError::BadSignature)?;
        key.verify(&message(&self.payload_json), &signature).map_err(GrantError::BadSignature)?;
        let payload = canonical::parse_canonical(&self.payload_json).map_err(GrantError::NotCanonical)?;
        let grant: Grant = serde_json::from_value(payload).map_err(GrantError::Shape)?;
        let pairs = [
            ("approval", &grant.approval_id, expected.approval_id),
            ("plan", &grant.plan_digest, expected.plan_digest),
            ("tenant", &grant.tenant, expected.tenant),
        ];
        for (what, found, wanted) in pairs {
            if found != wanted {
                return Err(GrantError::Mismatch { what, found: found.clone(), wanted: wanted.to_owned() });
            }
        }
        if now >= grant.not_after {
            return Err(GrantError::Expired { not_after: grant.not_after });
        }
        Ok(grant)
    }
}

fn message(payload: &str) -> Vec<u8> {
    [CONTEXT, payload.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            approval_id: "a1".into(),
            decision: GrantedDecision::Approved,
            not_after: "2026-05-09T12:00:00Z".parse().expect("a time"),
            plan_digest: "d1".into(),
            tenant: "default".into(),
            voters: vec![Voter { name: "bob".into(), roles: vec!["approver".into()] }],
        }
    }

    const EXPECTED: Expected<'_> = Expected { approval_id: "a1", plan_digest: "d1", tenant: "default" };

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_grant_verifies_for_its_own_plan_until_it_expires() {
        let key = SigningKey::from_seed([7; 32]);
        let keys = PinnedKeys::from_iter([key.public()]);
        let signed = grant().sign(&key).expect("signs");
        assert_eq!(signed.stated_not_after(), Some(grant().not_after));
        assert_eq!(signed.verify(&keys, EXPECTED, at("2026-05-09T11:59:59Z")).expect("verifies"), grant());
        let late = signed.verify(&keys, EXPECTED, at("2026-05-09T12:00:00Z"));
        assert!(matches!(late, Err(GrantError::Expired { .. })));
    }

    #[test]
    fn a_grant_for_anything_else_is_refused() {
        let key = SigningKey::from_seed([7; 32]);
        let keys = PinnedKeys::from_iter([key.public()]);
        let signed = grant().sign(&key).expect("signs");
        let now = at("2026-05-09T11:00:00Z");
        for expected in [
            Expected { approval_id: "a2", ..EXPECTED },
            Expected { plan_digest: "d2", ..EXPECTED },
            Expected { tenant: "other", ..EXPECTED },
        ] {
            assert!(matches!(signed.verify(&keys, expected, now), Err(GrantError::Mismatch { .. })));
        }
    }

    #[test]
    fn a_changed_or_foreign_grant_is_refused() {
        let key = SigningKey::from_seed([7; 32]);
        let keys = PinnedKeys::from_iter([key.public()]);
        let now = at("2026-05-09T11:00:00Z");
        let signed = grant().sign(&key).expect("signs");

        let mut longer = signed.clone();
        longer.payload_json = longer.payload_json.replace("2026-05-09", "2027-05-09");
        assert!(matches!(longer.verify(&keys, EXPECTED, now), Err(GrantError::BadSignature(_))));

        let foreign = grant().sign(&SigningKey::from_seed([8; 32])).expect("signs");
        assert!(matches!(foreign.verify(&keys, EXPECTED, now), Err(GrantError::UnknownKey { .. })));

        let posing = SignedGrant { key_id: key.id(), ..foreign };
        assert!(matches!(posing.verify(&keys, EXPECTED, now), Err(GrantError::BadSignature(_))));
    }
}
