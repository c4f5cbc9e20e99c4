//! Why a credential was not taken, for the log, and what the caller is told of it.

use std::time::Duration;

use tonic::Code;

use super::jwt::JwtError;
use crate::Fault;

/// Before a token is sent again that could not be verified for want of keys.
const KEYS_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Why a credential was not taken. Never holds any part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there was no credential")]
    Missing,
    #[error("the authorization header is not one `Bearer` credential")]
    Malformed,
    #[error("the token is longer than any that is issued")]
    TooLong,
    #[error("the token is not known")]
    UnknownToken,
    #[error("the client certificate does not name exactly one URI")]
    CertificateName,
    #[error("no entry has the name in the client certificate")]
    UnknownCertificate,
    #[error("the token is not good")]
    Token(#[source] JwtError),
    #[error("too many credentials failed before this one; it was not looked at")]
    TooMany { wait: Duration },
}

impl From<Refusal> for Fault {
    /// Says the same for a missing, a malformed and an unknown credential. Only the holder of a genuine token learns
    /// that it has expired.
    fn from(refusal: Refusal) -> Self {
        use Refusal as R;
        let fault = match &refusal {
            R::Token(JwtError::Expired) => Self::new(Code::Unauthenticated, "CREDENTIAL_EXPIRED")
                .saying("the token has expired; get a new one from its issuer"),
            R::Token(JwtError::NoKeys) => Self::new(Code::Unavailable, "CREDENTIAL_UNVERIFIABLE")
                .saying("the keys to verify this token with are not there yet")
                .retry_after(KEYS_RETRY_DELAY),
            R::Missing
            | R::Malformed
            | R::TooLong
            | R::UnknownToken
            | R::CertificateName
            | R::UnknownCertificate
            | R::Token(_) => Self::new(Code::Unauthenticated, "CREDENTIAL_REQUIRED")
                .saying("send a valid token as `authorization: Bearer <token>`"),
            R::TooMany { wait } => Self::new(Code::ResourceExhausted, "TOO_MANY_FAILED_CREDENTIALS")
                .saying("too many credentials from here failed; only known ones are answered for now")
                .retry_after(*wait),
        };
        fault.because(refusal)
    }
}
