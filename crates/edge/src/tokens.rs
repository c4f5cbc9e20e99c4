//! Static bearer tokens, stored as hashes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::principal::{is_name, is_tenant};
use crate::{Principal, PrincipalKind};

/// Who a token belongs to and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub principal: Principal,
    /// Their roles, as the contract names them.
    pub roles: Vec<String>,
}

/// Every token that this service accepts. Tokens are 256 random bits, so a plain SHA-256 is enough: there
/// is nothing to guess, and looking a hash up says nothing about the token behind it.
#[derive(Debug, Clone, Default)]
pub struct TokenTable {
    by_hash: HashMap<[u8; 32], Identity>,
}

/// One `[[token]]` of the file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenEntry {
    /// `sha256:` and 64 hex digits of the SHA-256 of the token.
    pub hash: String,
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
    /// It is not TOML of the right shape.
    #[error("the token file {path} is not valid: {}", source.message())]
    Parse {
        /// Which.
        path: PathBuf,
        /// Where.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// An entry makes no sense.
    #[error("token {index} of {path}: {problem}")]
    Entry {
        /// Which file.
        path: PathBuf,
        /// From 1, in the order of the file.
        index: usize,
        /// What would be right.
        problem: &'static str,
    },
}

impl TokenTable {
    /// Loads the file, refusing it whole when one entry is wrong.
    ///
    /// # Errors
    /// [`TokenFileError`], which names the file and the entry.
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let text = fs::read_to_string(path)
            .map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        let file: TokenFile = toml::from_str(&text)
            .map_err(|source| TokenFileError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        let mut by_hash = HashMap::new();
        for (at, entry) in file.tokens.into_iter().enumerate() {
            let wrong = |problem| TokenFileError::Entry { path: path.to_owned(), index: at + 1, problem };
            let (hash, identity) = identity(entry).map_err(wrong)?;
            if by_hash.insert(hash, identity).is_some() {
                return Err(wrong("has the hash of an earlier token"));
            }
        }
        Ok(Self { by_hash })
    }

    /// Whose token this is.
    #[must_use]
    pub fn identify(&self, token: &str) -> Option<&Identity> {
        self.by_hash.get::<[u8; 32]>(&Sha256::digest(token).into())
    }
}

/// The form in which a token is stored.
#[must_use]
pub fn token_hash(token: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token)))
}

fn identity(entry: TokenEntry) -> Result<([u8; 32], Identity), &'static str> {
    let mut hash = [0; 32];
    let digits = entry.hash.strip_prefix("sha256:").ok_or("`hash` must start with sha256:")?;
    hex::decode_to_slice(digits, &mut hash).map_err(|_source| "`hash` must end in 64 hex digits")?;
    if !is_tenant(&entry.tenant) {
        return Err("`tenant` must be 1 to 64 characters of [a-z0-9-]");
    }
    if !is_name(&entry.name) || !entry.owner.as_deref().is_none_or(is_name) {
        return Err("`name` and `owner` must be 1 to 64 characters of [a-z0-9._-]");
    }
    if entry.owner.is_some() && entry.kind != PrincipalKind::Agent {
        return Err("only an agent has an `owner`");
    }
    let is_service = entry.kind == PrincipalKind::Service;
    if is_service != entry.roles.iter().any(|role| role == "service") {
        return Err("the role `service` and the kind `service` go together");
    }
    let principal =
        Principal { tenant: entry.tenant, kind: entry.kind, name: entry.name, owner: entry.owner };
    Ok((hash, Identity { principal, roles: entry.roles }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: PrincipalKind, owner: Option<&str>, roles: &[&str]) -> TokenEntry {
        TokenEntry {
            hash: token_hash("secret"),
            tenant: "default".into(),
            kind,
            name: "ada".into(),
            owner: owner.map(str::to_owned),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    #[test]
    fn only_the_right_token_is_recognised() {
        let (hash, identity) = identity(entry(PrincipalKind::Person, None, &["approver"])).expect("valid");
        let table = TokenTable { by_hash: HashMap::from([(hash, identity)]) };
        assert_eq!(table.identify("secret").map(|found| found.principal.name.as_str()), Some("ada"));
        assert!(table.identify("Secret").is_none());
        assert!(table.identify("").is_none());
    }

    #[test]
    fn entries_that_make_no_sense_are_refused() {
        assert!(identity(entry(PrincipalKind::Person, None, &["service"])).is_err());
        assert!(identity(entry(PrincipalKind::Service, None, &["agent"])).is_err());
        assert!(identity(entry(PrincipalKind::Person, Some("bob"), &["approver"])).is_err());
        let short = TokenEntry { hash: "sha256:00".into(), ..entry(PrincipalKind::Person, None, &[]) };
        assert!(identity(short).is_err());
    }
}
