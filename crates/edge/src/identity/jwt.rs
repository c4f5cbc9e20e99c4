//! JSON Web Tokens (RFC 7519) of one issuer, signed with EdDSA or RS256 and nothing else.
//!
//! Promises that a token is verified once and then known until it expires or its key is taken back, that no key
//! verifies by another algorithm than its own, and that keys are fetched with a bound on everything: time, size,
//! and how often a stranger can make it happen.

mod cache;
mod claims;
mod input;
mod keys;
mod refetch;
mod source;
mod verifier;

use std::path::PathBuf;
use std::time::Duration;

use crate::PrincipalKind;
use crate::identity::IdentityError;

pub(crate) use source::KeyFollower;
pub use source::KeySourceError;
pub(crate) use verifier::{Verifier, begin};

/// Whose tokens are taken, and how they are read.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// The only `iss` that is taken.
    pub issuer: String,
    /// What `aud` must be or contain.
    pub audience: String,
    /// Where the issuer's keys are.
    pub keys: KeySource,
    /// How far the issuer's clock may be off ours.
    pub clock_skew: Duration,
    /// Kinds of principal that the issuer may name.
    pub kinds: Vec<PrincipalKind>,
    /// Which claim says what.
    pub claims: ClaimNames,
}

/// Where the issuer's key set (RFC 7517) is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In a file, looked at as often as the token file.
    File(PathBuf),
    /// Behind a URL.
    Url {
        /// Which.
        url: reqwest::Url,
        /// Between two fetches.
        refresh: Duration,
    },
}

/// Which claim says what. A name that begins with `/` is a JSON pointer (RFC 6901) into the claims.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    /// The principal's name.
    pub name: String,
    /// The tenant.
    pub tenant: String,
    /// `agent`, `person` or `service`.
    pub kind: String,
    /// The person an agent belongs to; may be absent.
    pub owner: String,
    /// A list of roles.
    pub roles: String,
}

/// Why a token was not taken. Never holds any part of it: what an attacker writes does not reach the log either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    #[error("the token is no JWT that can be read")]
    Malformed,
    #[error("the token is signed with an algorithm other than EdDSA and RS256, or than its key's")]
    Algorithm,
    #[error("the token's header demands an extension (`crit`)")]
    Critical,
    #[error("the token's key is not in the key set")]
    UnknownKey,
    #[error("there are no keys to verify tokens with")]
    NoKeys,
    #[error("the token's signature is not that of its key")]
    Signature,
    #[error("the token's claim for the {0} is missing or of the wrong type")]
    Claim(&'static str),
    #[error("the token is of another issuer")]
    Issuer,
    #[error("the token is for another audience")]
    Audience,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token has expired")]
    Expired,
    #[error("the issuer may not name principals of this kind")]
    Kind,
    #[error("the token's claims name nobody")]
    Identity(#[source] IdentityError),
}
