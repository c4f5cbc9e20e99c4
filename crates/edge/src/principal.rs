//! Who acts.

use std::fmt;

use bulkhead_proto::common::v1 as pb;
use serde::{Deserialize, Serialize};

use crate::Violations;

/// What sort of caller it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A program that acts for its owner.
    Agent,
    /// A human being.
    Person,
    /// One of Bulkhead's own services, or a trusted one beside it.
    Service,
}

impl PrincipalKind {
    /// The word used in configuration, logs and the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Person => "person",
            Self::Service => "service",
        }
    }
}

/// Who acts, without what they may do: what is written down and compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Principal {
    /// Nothing crosses tenants.
    pub tenant: String,
    /// Agent, person or service.
    pub kind: PrincipalKind,
    /// Unique within tenant and kind.
    pub name: String,
    /// The person that an agent belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

impl Principal {
    /// Whether a vote by `voter` would be self-approval: the same principal, or the owner of this agent.
    #[must_use]
    pub fn is_or_belongs_to(&self, voter: &Self) -> bool {
        let same = self.tenant == voter.tenant && self.kind == voter.kind && self.name == voter.name;
        let owner = voter.kind == PrincipalKind::Person && self.owner.as_deref() == Some(voter.name.as_str());
        same || (self.tenant == voter.tenant && owner)
    }

    /// Reads a principal from a message, recording what is wrong under `field`.
    pub fn read(message: Option<pb::Principal>, field: &str, violations: &mut Violations) -> Option<Self> {
        let Some(message) = message else {
            violations.add(field, "is required");
            return None;
        };
        let kind = match message.kind() {
            pb::PrincipalKind::Agent => Some(PrincipalKind::Agent),
            pb::PrincipalKind::Person => Some(PrincipalKind::Person),
            pb::PrincipalKind::Service => Some(PrincipalKind::Service),
            pb::PrincipalKind::Unspecified => None,
        };
        let mut inner = Violations::new();
        inner.require(kind.is_some(), "kind", "must be AGENT, PERSON or SERVICE");
        inner.require(is_tenant(&message.tenant), "tenant", "must be 1 to 64 of [a-z0-9-]");
        inner.require(is_name(&message.name), "name", "must be 1 to 64 of [a-z0-9._-]");
        let owner = (!message.owner.is_empty()).then_some(message.owner);
        let owner_fits = owner.as_deref().is_none_or(is_name);
        inner.require(owner_fits, "owner", "must be empty or 1 to 64 of [a-z0-9._-]");
        violations.add_within(field, inner);
        Some(Self { tenant: message.tenant, kind: kind?, name: message.name, owner })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}/{}", self.kind.as_str(), self.tenant, self.name)
    }
}

impl From<&Principal> for pb::Principal {
    fn from(principal: &Principal) -> Self {
        let kind = match principal.kind {
            PrincipalKind::Agent => pb::PrincipalKind::Agent,
            PrincipalKind::Person => pb::PrincipalKind::Person,
            PrincipalKind::Service => pb::PrincipalKind::Service,
        };
        Self {
            tenant: principal.tenant.clone(),
            kind: kind.into(),
            name: principal.name.clone(),
            owner: principal.owner.clone().unwrap_or_default(),
        }
    }
}

/// 1 to 64 characters of `[a-z0-9-]`.
#[must_use]
pub fn is_tenant(text: &str) -> bool {
    fits(text, |c| matches!(c, '-'))
}

/// 1 to 64 characters of `[a-z0-9._-]`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    fits(text, |c| matches!(c, '-' | '.' | '_'))
}

fn fits(text: &str, extra: impl Fn(char) -> bool) -> bool {
    (1..=64).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || extra(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(kind: PrincipalKind, name: &str, owner: Option<&str>) -> Principal {
        Principal { tenant: "acme".into(), kind, name: name.into(), owner: owner.map(str::to_owned) }
    }

    #[test]
    fn an_agent_belongs_to_itself_and_its_owner_only() {
        let agent = principal(PrincipalKind::Agent, "scribe", Some("ada"));
        assert!(agent.is_or_belongs_to(&agent));
        assert!(agent.is_or_belongs_to(&principal(PrincipalKind::Person, "ada", None)));
        assert!(!agent.is_or_belongs_to(&principal(PrincipalKind::Agent, "ada", None)));
        assert!(!agent.is_or_belongs_to(&principal(PrincipalKind::Person, "bob", None)));
        let elsewhere = Principal { tenant: "other".into(), ..principal(PrincipalKind::Person, "ada", None) };
        assert!(!agent.is_or_belongs_to(&elsewhere));
    }
}
