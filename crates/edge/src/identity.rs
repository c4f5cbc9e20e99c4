//! Who calls: from a credential to an [`Identity`], and for how long that holds.
//!
//! Promises that a static token, a JWT and a client certificate end in the same [`Identity`] under the same rules,
//! that a credential which is taken back stops working within a second, for open streams too, and that no
//! credential, nor a part of one, is ever written anywhere. What is wrong with a credential is told to the log
//! and, but for a genuine token that has expired, never to the caller.

pub(crate) mod credential;
pub(crate) mod failures;
pub mod jwt;
pub(crate) mod refusal;
pub(crate) mod registry;
pub(crate) mod watched;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::principal::{is_name, is_tenant};
use crate::{Principal, PrincipalKind};

/// More roles than this are a mistake: the contract knows five, and groups are few.
const ROLES_MAX: usize = 32;

/// Who a credential belongs to and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who.
    pub principal: Principal,
    /// Their roles, as the contract names them.
    pub roles: Vec<String>,
}

/// Why a principal and its roles make no sense, wherever they come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The tenant is no tenant.
    #[error("`tenant` must be 1 to 64 characters of [a-z0-9-]")]
    Tenant,
    /// The name or the owner is no name.
    #[error("`name` and `owner` must be 1 to 64 characters of [a-z0-9._-]")]
    Name,
    /// Somebody else's owner.
    #[error("only an agent has an `owner`")]
    Owner,
    /// A role is no name, or there are too many.
    #[error("`roles` must be at most {ROLES_MAX} names of 1 to 64 characters of [a-z0-9._-]")]
    Roles,
    /// `service` stands for more than a role: whoever has it may act for others.
    #[error("the role `service` and the kind `service` go together")]
    Service,
}

impl Identity {
    /// Checks what a token file or an issuer says of somebody.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn new(principal: Principal, roles: Vec<String>) -> Result<Self, IdentityError> {
        let is_service = principal.kind == PrincipalKind::Service;
        if !is_tenant(&principal.tenant) {
            return Err(IdentityError::Tenant);
        }
        if !is_name(&principal.name) || !principal.owner.as_deref().is_none_or(is_name) {
            return Err(IdentityError::Name);
        }
        if principal.owner.is_some() && principal.kind != PrincipalKind::Agent {
            return Err(IdentityError::Owner);
        }
        if roles.len() > ROLES_MAX || !roles.iter().all(|role| is_name(role)) {
            return Err(IdentityError::Roles);
        }
        if is_service != roles.iter().any(|role| role == "service") {
            return Err(IdentityError::Service);
        }
        Ok(Self { principal, roles })
    }
}

/// An identity and how long its credential stands behind it.
#[derive(Debug, Clone)]
pub(crate) struct Admitted {
    pub(crate) identity: Arc<Identity>,
    pub(crate) standing: Standing,
}

/// For how long a credential that was good stays good: until it is taken back or expires. A call that has begun
/// may finish; a stream ends with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Standing {
    revoked: CancellationToken,
    expires: Option<Instant>,
}

impl Standing {
    /// Good until `revoked`, and no longer than `expires`.
    pub(crate) fn until(revoked: CancellationToken, expires: Option<Instant>) -> Self {
        Self { revoked, expires }
    }

    /// Resolves when the credential has stopped being good.
    pub(crate) async fn ended(self) {
        match self.expires {
            Some(at) => tokio::select! {
                () = self.revoked.cancelled() => {}
                () = tokio::time::sleep_until(at.into()) => {}
            },
            None => self.revoked.cancelled().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: PrincipalKind, owner: Option<&str>, roles: &[&str]) -> Result<Identity, IdentityError> {
        let principal =
            Principal { tenant: "default".into(), kind, name: "ada".into(), owner: owner.map(str::to_owned) };
        Identity::new(principal, roles.iter().map(|role| (*role).to_owned()).collect())
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        use IdentityError as E;
        use PrincipalKind as K;
        assert_eq!(check(K::Person, None, &["service"]), Err(E::Service));
        assert_eq!(check(K::Service, None, &["agent"]), Err(E::Service));
        assert_eq!(check(K::Person, Some("bob"), &["approver"]), Err(E::Owner));
        assert_eq!(check(K::Agent, Some("Bob"), &["agent"]), Err(E::Name));
        assert_eq!(check(K::Person, None, &["Approver"]), Err(E::Roles));
        assert_eq!(check(K::Person, None, &["r"; 33]), Err(E::Roles));
        assert!(check(K::Agent, Some("bob"), &["agent"]).is_ok());
        assert!(check(K::Service, None, &["service", "agent"]).is_ok());
    }
}
