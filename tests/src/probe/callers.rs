//! Whoever asks: a holder of each role in one tenant.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;

use anyhow::Context as _;
use bulkhead_edge::PrincipalKind;
use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use uuid::Uuid;

use crate::Sandbox;

/// The roles that RPCs are for, and what kind of principal has them.
const ROLES: [(&str, PrincipalKind); 5] = [
    ("agent", PrincipalKind::Agent),
    ("approver", PrincipalKind::Person),
    ("operator", PrincipalKind::Person),
    ("auditor", PrincipalKind::Person),
    ("service", PrincipalKind::Service),
];

/// A holder of each role.
#[derive(Debug, Clone)]
pub struct Callers {
    /// Theirs.
    pub tenant: String,
    tokens: HashMap<&'static str, String>,
}

impl Callers {
    /// Those that `bulkhead up` makes.
    pub(super) fn of_the_stack(sandbox: &Sandbox) -> anyhow::Result<Self> {
        let tokens = ROLES.iter().map(|(role, _)| Ok((*role, sandbox.token(role)?)));
        Ok(Self { tenant: "default".into(), tokens: tokens.collect::<anyhow::Result<_>>()? })
    }

    /// Others, added to the token file, which services read again by themselves.
    pub(super) fn admitted(sandbox: &Sandbox, tenant: &str, name: &str) -> anyhow::Result<Self> {
        let (mut file, mut tokens) = (TokenFile::default(), HashMap::new());
        for (role, kind) in ROLES {
            let token = format!("test-{}", Uuid::new_v4());
            file.tokens.push(TokenEntry {
                hash: Some(token_hash(&token)),
                certificate: None,
                tenant: tenant.to_owned(),
                kind,
                name: format!("{name}-{role}"),
                owner: (kind == PrincipalKind::Agent).then(|| format!("{name}-owner")),
                roles: vec![role.to_owned()],
            });
            tokens.insert(role, token);
        }
        let identities = sandbox.data().join("identities.toml");
        let mut identities = OpenOptions::new().append(true).open(identities)?;
        write!(identities, "\n{}", toml::to_string(&file)?)?;
        Ok(Self { tenant: tenant.to_owned(), tokens })
    }

    /// The token of whoever has a role.
    ///
    /// # Errors
    /// When nobody has it.
    pub fn token(&self, role: &str) -> anyhow::Result<String> {
        self.tokens.get(role).cloned().with_context(|| format!("nobody is {role}"))
    }
}
