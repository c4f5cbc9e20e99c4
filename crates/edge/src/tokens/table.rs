//! Who holds which static credential.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::spiffe::is_spiffe_id;
use super::{EntryError, TokenEntry, TokenFile, TokenFileError};
use crate::Principal;
use crate::identity::{Admitted, Identity, Standing};

/// Every static credential that this service accepts.
///
/// A token is looked up by its SHA-256. How long that takes depends on the length of what was presented, and on
/// comparing digests, never tokens: whoever learns from the time that a guess shares the first bytes of its digest
/// with a stored one has learned nothing about the token, which is 256 random bits, nor how to guess better.
#[derive(Debug, Default)]
pub struct TokenTable {
    by_credential: HashMap<Credential, Holder>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Credential {
    Digest([u8; 32]),
    Certificate(String),
}

#[derive(Debug)]
struct Holder {
    identity: Arc<Identity>,
    revoked: CancellationToken,
}

impl Holder {
    fn admitted(&self) -> Admitted {
        Admitted {
            identity: Arc::clone(&self.identity),
            standing: Standing::until(self.revoked.clone(), None),
        }
    }
}

impl TokenTable {
    /// Reads a token file, refusing it whole when one entry is wrong.
    ///
    /// # Errors
    /// [`TokenFileError`], which names the file and the entry.
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let content =
            std::fs::read(path).map_err(|source| TokenFileError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &content)
    }

    /// Reads what a token file holds, refusing it whole when one entry is wrong. One that holds nothing at all is
    /// being written, or was cut short by a full disk: it would take back every token there is.
    ///
    /// # Errors
    /// [`TokenFileError`], which names the file and the entry.
    pub fn parse(path: &Path, content: &[u8]) -> Result<Self, TokenFileError> {
        if content.trim_ascii().is_empty() {
            return Err(TokenFileError::Empty { path: path.to_owned() });
        }
        let file = read(path, content)?;
        let mut by_credential = HashMap::new();
        for (at, entry) in file.tokens.into_iter().enumerate() {
            let wrong = |source| TokenFileError::Entry { path: path.to_owned(), index: at + 1, source };
            let (credential, identity) = checked(entry).map_err(wrong)?;
            let holder = Holder { identity: Arc::new(identity), revoked: CancellationToken::new() };
            if by_credential.insert(credential, holder).is_some() {
                return Err(wrong(EntryError::Twice));
            }
        }
        Ok(Self { by_credential })
    }

    /// How many credentials there are.
    pub(crate) fn len(&self) -> usize {
        self.by_credential.len()
    }

    /// Whose token has this SHA-256.
    pub(crate) fn by_digest(&self, digest: &[u8; 32]) -> Option<Admitted> {
        self.by_credential.get(&Credential::Digest(*digest)).map(Holder::admitted)
    }

    /// Whose client certificate has this name.
    pub(crate) fn by_certificate(&self, name: &str) -> Option<Admitted> {
        self.by_credential.get(&Credential::Certificate(name.to_owned())).map(Holder::admitted)
    }

    /// Takes over from an earlier table what stands on credentials that are unchanged. Returns what stands on the
    /// others, to be cancelled once this table is in force: a holder whose roles have changed has to come again.
    pub(crate) fn succeed(&mut self, earlier: &Self) -> Vec<CancellationToken> {
        let mut gone = Vec::new();
        for (credential, before) in &earlier.by_credential {
            match self.by_credential.get_mut(credential) {
                Some(now) if now.identity == before.identity => now.revoked = before.revoked.clone(),
                _ => gone.push(before.revoked.clone()),
            }
        }
        gone
    }
}

fn read(path: &Path, content: &[u8]) -> Result<TokenFile, TokenFileError> {
    let parse = |line, problem: &str| TokenFileError::Parse {
        path: path.to_owned(),
        line,
        problem: problem.to_owned(),
    };
    let text = match std::str::from_utf8(content) {
        Ok(text) => text,
        Err(error) => return Err(parse(line_at(content, error.valid_up_to()), "is not UTF-8")),
    };
    toml::from_str(text).map_err(|error: toml::de::Error| {
        parse(line_at(content, error.span().map_or(0, |span| span.start)), error.message())
    })
}

fn line_at(content: &[u8], offset: usize) -> usize {
    content.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

fn checked(entry: TokenEntry) -> Result<(Credential, Identity), EntryError> {
    let credential = match (&entry.hash, entry.certificate) {
        (Some(hash), None) => Credential::Digest(digest(hash).ok_or(EntryError::Hash)?),
        (None, Some(name)) if is_spiffe_id(&name) => Credential::Certificate(name),
        (None, Some(_)) => return Err(EntryError::Certificate),
        _ => return Err(EntryError::Credential),
    };
    let principal =
        Principal { tenant: entry.tenant, kind: entry.kind, name: entry.name, owner: entry.owner };
    Ok((credential, Identity::new(principal, entry.roles)?))
}

fn digest(hash: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(hash.strip_prefix("sha256:")?, &mut digest).ok()?;
    Some(digest)
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::tokens::token_hash;

    fn entry(credential: &str, roles: &str) -> String {
        format!(
            "[[token]]\n{credential}\ntenant = \"default\"\nkind = \"person\"\nname = \"ada\"\nroles = [{roles}]\n"
        )
    }

    fn hashed(token: &str) -> String {
        format!("hash = {:?}", token_hash(token))
    }

    fn table(text: &str) -> Result<TokenTable, TokenFileError> {
        TokenTable::parse(Path::new("tokens.toml"), text.as_bytes())
    }

    fn name_of(table: &TokenTable, token: &str) -> Option<String> {
        let found = table.by_digest(&Sha256::digest(token).into());
        found.map(|admitted| admitted.identity.principal.name.clone())
    }

    #[test]
    fn only_the_right_token_is_recognised() {
        let table = table(&entry(&hashed("secret"), "\"approver\"")).expect("valid");
        assert_eq!(name_of(&table, "secret").as_deref(), Some("ada"));
        assert_eq!(name_of(&table, "Secret"), None);
        assert_eq!(name_of(&table, ""), None);
    }

    #[test]
    fn one_wrong_entry_refuses_the_whole_file() {
        let good = entry(&hashed("secret"), "");
        let wrong = [
            (entry("hash = \"sha256:00\"", ""), EntryError::Hash),
            (entry("hash = \"00\"", ""), EntryError::Hash),
            (entry("", ""), EntryError::Credential),
            (entry("hash = \"\"\ncertificate = \"\"", ""), EntryError::Credential),
            (entry("certificate = \"CN=ada\"", ""), EntryError::Certificate),
            (entry(&hashed("secret"), ""), EntryError::Twice),
            (
                entry(&hashed("other"), "\"service\""),
                EntryError::Identity(crate::identity::IdentityError::Service),
            ),
        ];
        for (text, expected) in wrong {
            match table(&format!("{good}{text}")) {
                Err(TokenFileError::Entry { index: 2, source, .. }) => assert_eq!(source, expected),
                other => panic!("{text} gave {other:?}"),
            }
        }
    }

    #[test]
    fn that_nobody_is_known_must_be_said() {
        assert!(matches!(table(" \n"), Err(TokenFileError::Empty { .. })));
        assert_eq!(table("# Nobody.").expect("valid").len(), 0);
    }

    #[test]
    fn a_file_that_is_no_toml_is_refused_without_showing_it() {
        let text = format!("{}hash = \"bhk_a-token-that-somebody-put-here", entry(&hashed("secret"), ""));
        let error = table(&text).expect_err("refused");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("line 7") && !shown.contains("bhk_"), "{shown}");
    }

    #[test]
    fn what_is_unchanged_keeps_its_standing_and_the_rest_is_named() {
        let old = table(
            &[entry(&hashed("kept"), ""), entry(&hashed("changed"), ""), entry(&hashed("gone"), "")].concat(),
        )
        .expect("valid");
        let mut new = table(&[entry(&hashed("kept"), ""), entry(&hashed("changed"), "\"auditor\"")].concat())
            .expect("valid");
        let gone = new.succeed(&old);
        assert_eq!(gone.len(), 2);
        gone.iter().for_each(CancellationToken::cancel);
        let ended = |table: &TokenTable, token: &str| {
            let digest = Credential::Digest(Sha256::digest(token).into());
            table.by_credential[&digest].revoked.is_cancelled()
        };
        assert!(!ended(&new, "kept") && !ended(&old, "kept"));
        assert!(!ended(&new, "changed") && ended(&old, "changed") && ended(&old, "gone"));
    }
}
