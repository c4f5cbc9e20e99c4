//! From verified claims to an identity. Pure: the time is an argument.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{JwtError, JwtSettings};
use crate::{Identity, Principal, PrincipalKind};

/// Whom the claims name and until when, when they are for us, of our issuer, and hold at `now`.
pub(super) fn identity(
    settings: &JwtSettings,
    claims: &Value,
    now: Timestamp,
) -> Result<(Identity, Timestamp), JwtError> {
    if claims.get("iss").and_then(Value::as_str) != Some(&settings.issuer) {
        return Err(JwtError::Issuer);
    }
    if !is_for(claims.get("aud"), &settings.audience) {
        return Err(JwtError::Audience);
    }
    let skew = SignedDuration::try_from(settings.clock_skew).unwrap_or(SignedDuration::ZERO);
    let expires = date(claims.get("exp")).ok_or(JwtError::Claim("expiry"))?;
    // Beyond the end of time is never.
    let expires = expires.checked_add(skew).unwrap_or(Timestamp::MAX);
    if now >= expires {
        return Err(JwtError::Expired);
    }
    if let Some(claim) = claims.get("nbf") {
        let begins = date(Some(claim)).ok_or(JwtError::Claim("beginning"))?;
        if now.checked_add(skew).unwrap_or(Timestamp::MAX) < begins {
            return Err(JwtError::NotYet);
        }
    }
    Ok((named(settings, claims)?, expires))
}

fn named(settings: &JwtSettings, claims: &Value) -> Result<Identity, JwtError> {
    let names = &settings.claims;
    let required = |name: &str, what| text(claims, name).ok_or(JwtError::Claim(what));
    let kind = match required(&names.kind, "kind")? {
        "agent" => PrincipalKind::Agent,
        "person" => PrincipalKind::Person,
        "service" => PrincipalKind::Service,
        _ => return Err(JwtError::Claim("kind")),
    };
    if !settings.kinds.contains(&kind) {
        return Err(JwtError::Kind);
    }
    let owner = match find(claims, &names.owner) {
        None => None,
        Some(owner) => Some(owner.as_str().ok_or(JwtError::Claim("owner"))?.to_owned()),
    };
    let principal = Principal {
        tenant: required(&names.tenant, "tenant")?.to_owned(),
        kind,
        name: required(&names.name, "name")?.to_owned(),
        owner,
    };
    let roles = find(claims, &names.roles).and_then(Value::as_array).ok_or(JwtError::Claim("roles"))?;
    let roles = roles.iter().map(|role| role.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
    Identity::new(principal, roles.ok_or(JwtError::Claim("roles"))?).map_err(JwtError::Identity)
}

/// A claim by its name, or by a JSON pointer.
fn find<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

fn text<'a>(claims: &'a Value, name: &str) -> Option<&'a str> {
    find(claims, name).and_then(Value::as_str)
}

/// `aud` is one audience or a list of them (RFC 7519, 4.1.3).
fn is_for(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(audience)),
        _ => false,
    }
}

/// A NumericDate: seconds since the epoch, which need not be whole (RFC 7519, 2).
fn date(claim: Option<&Value>) -> Option<Timestamp> {
    let claim = claim?;
    match claim.as_i64() {
        Some(seconds) => Timestamp::from_second(seconds).ok(),
        None => {
            let since = SignedDuration::try_from_secs_f64(claim.as_f64()?).ok()?;
            Timestamp::from_duration(since).ok()
        }
    }
}

#[cfg(test)]
mod tests;
