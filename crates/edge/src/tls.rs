//! TLS for listeners and diallers: what is configured, and what is made of the files.
//!
//! Promises that a private key is never logged, that a pair of certificate and key which do not belong together is
//! never used, that nothing below TLS 1.2 is spoken, and that files are read again without a restart: what is
//! broken then is refused with a reason, and what was in use before stays.

mod files;
mod itself;
mod listen;
mod open;

use std::path::PathBuf;

pub use files::TlsError;
pub(crate) use itself::itself;
pub(crate) use listen::{Acceptor, Reloader};
pub(crate) use open::Authority;

/// How a listener proves who it is, and what it wants to know of its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// What it shows.
    pub identity: IdentityFiles,
    /// What callers have to show.
    pub clients: ClientAuth,
}

/// Whether a listener could start with these files now.
///
/// # Errors
/// [`TlsError`] when it could not.
pub fn check(settings: &TlsSettings) -> Result<(), TlsError> {
    Acceptor::load(settings.clone()).map(drop)
}

/// Whether a dialler could start with these files now.
///
/// # Errors
/// [`TlsError`] when it could not.
pub fn check_peer(settings: &PeerTlsSettings) -> Result<(), TlsError> {
    Authority::load(settings.clone()).map(drop)
}

/// A certificate chain and its private key, both PEM, in files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// Whether callers show certificates, and the file with the authorities that may have signed those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked; one that shows none is served too, one that shows a bad one is not.
    Optional(PathBuf),
    /// One that shows none is not served.
    Required(PathBuf),
}

/// How a dialler knows its peer, and proves who it is itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTlsSettings {
    /// The authorities that may have signed the peer's certificate, PEM.
    pub ca: PathBuf,
    /// What it shows when it is asked.
    pub identity: Option<IdentityFiles>,
}
