//! The token file: static bearer tokens, stored as hashes, and the names in client certificates.

mod spiffe;
mod table;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::PrincipalKind;
use crate::identity::IdentityError;

pub use table::TokenTable;

/// One `[[token]]` of the file: a credential, and whose it is. Exactly one of `hash` and `certificate` is there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// `sha256:` and 64 hex digits of the SHA-256 of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The one URI in the holder's client certificate, `spiffe://<trust domain>/<path>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The tenant that the holder belongs to.
    pub tenant: String,
    /// Agent, person or service.
    pub kind: PrincipalKind,
    /// The holder's name.
    pub name: String,
    /// The person an agent belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Roles as the contract names them.
    pub roles: Vec<String>,
}

/// The file as a whole.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// Every entry.
    #[serde(default, rename = "token")]
    pub tokens: Vec<TokenEntry>,
}

/// Why a token file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds nothing at all.
    #[error("the token file {path} is empty; a comment in it says that nobody is meant")]
    Empty {
        /// Which.
        path: PathBuf,
    },
    /// It is not TOML of the right shape.
    #[error("the token file {path} is not valid at line {line}: {problem}")]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where, from 1. The line itself is not kept: somebody may have put a token there.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// An entry makes no sense.
    #[error("token {index} of {path} cannot be taken")]
    Entry {
        /// Which file.
        path: PathBuf,
        /// From 1, in the order of the file.
        index: usize,
        /// What would be right.
        #[source]
        source: EntryError,
    },
}

/// Why an entry makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Neither or both kinds of credential.
    #[error("there must be either `hash` or `certificate`")]
    Credential,
    /// The hash is none.
    #[error("`hash` must be sha256: and 64 hex digits")]
    Hash,
    /// The certificate's name is none.
    #[error("`certificate` must be like spiffe://example.org/agent/scribe")]
    Certificate,
    /// The credential stands in the file twice.
    #[error("has the credential of an earlier token")]
    Twice,
    /// Who it says the holder is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// The form in which a token is stored.
#[must_use]
pub fn token_hash(token: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token)))
}
