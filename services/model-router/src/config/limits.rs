//! `[[model-router.limit]]`, and what a `[[model-router.model]]` says of how much it may be asked.

use bulkhead_edge::Principal;
use bulkhead_edge::settings::Table;

use super::name;
use crate::limit::concurrency::Bounds;
use crate::limit::rate::Rate;
use crate::record::CALLS_MAX;

/// The most requests or tokens of a minute that can be configured: more than any provider sells.
const PER_MINUTE_MAX: u64 = 1_000_000_000_000;

/// How much a model may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// In a minute.
    pub rate: Rate,
    /// At a time.
    pub concurrency: Bounds,
}

/// How much some callers may ask for in a minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitConfig {
    /// Unique.
    pub name: String,
    /// Who is counted together.
    pub scope: LimitScope,
    /// Only callers of this tenant; none: of every tenant.
    pub tenant: Option<String>,
    /// Only callers of this name; none: every caller.
    pub principal: Option<String>,
    /// What is allowed.
    pub rate: Rate,
}

/// Who is counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitScope {
    /// All callers of a tenant.
    Tenant,
    /// Each caller alone.
    Principal,
}

impl Allowance {
    /// Reads the keys of a model's table.
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        let rate = rate(table);
        let calls_max = u32::try_from(CALLS_MAX).unwrap_or(u32::MAX);
        let min = table.number(
            "concurrency_min",
            1..=calls_max,
            4,
            "Requests that the model is sent at a time, however often it says that it is too much. Four: one rate limit \
             of a minute does not make a crowd wait for one another.",
        );
        let max = table.number(
            "concurrency_max",
            1..=calls_max,
            calls_max,
            "Requests that the model is sent at a time at most; it is lowered while the model says that it is too much. \
             As many as the router takes: the model knows best.",
        );
        if min > max {
            table.mistake("concurrency_min", format!("{min} must not be more than concurrency_max, {max}"));
        }
        Self { rate, concurrency: Bounds { min: min.min(max), max } }
    }
}

impl LimitConfig {
    /// Reads one `[[model-router.limit]]`; `seen` are the names of the limits before it.
    pub(super) fn read(table: &mut Table<'_>, seen: &mut Vec<String>) -> Option<Self> {
        let name = name(table, seen, "What errors call the limit; unique.");
        let scope = table.choice(
            "scope",
            [("tenant", LimitScope::Tenant), ("principal", LimitScope::Principal)],
            "Who is counted together: all callers of a tenant, or each caller alone.",
        );
        let tenant = table.optional("tenant", "Only callers of this tenant; none: of every tenant.");
        let principal = table.optional("principal", "Only callers of this name; none: every caller.");
        let rate = rate(table);
        if !rate.bounds() {
            let right = "is missing; a limit has it or tokens_per_minute_max, or both";
            table.mistake("requests_per_minute_max", right);
        }
        Some(Self { name: name?, scope: scope?, tenant, principal, rate })
    }

    /// What a caller is counted under; none: the limit is not for that caller.
    #[must_use]
    pub fn subject(&self, caller: &Principal) -> Option<String> {
        let is_for = |wanted: &Option<String>, is: &str| wanted.as_deref().is_none_or(|wanted| wanted == is);
        let concerned = is_for(&self.tenant, &caller.tenant) && is_for(&self.principal, &caller.name);
        concerned.then(|| match self.scope {
            LimitScope::Tenant => caller.tenant.clone(),
            LimitScope::Principal => caller.to_string(),
        })
    }
}

fn rate(table: &mut Table<'_>) -> Rate {
    Rate {
        requests_per_minute_max: table.optional_number(
            "requests_per_minute_max",
            0..=PER_MINUTE_MAX,
            "Requests in any sixty seconds; none: as many as come. Of callers their calls count, of a model every attempt.",
        ),
        tokens_per_minute_max: table.optional_number(
            "tokens_per_minute_max",
            0..=PER_MINUTE_MAX,
            "Tokens of prompts and answers in any sixty seconds, by estimate until they are known; none: any number.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::PrincipalKind;

    use super::*;

    #[test]
    fn a_limit_counts_those_whom_it_is_for() {
        let scribe = Principal {
            tenant: "acme".into(),
            kind: PrincipalKind::Agent,
            name: "scribe".into(),
            owner: Some("ada".into()),
        };
        let (acme, other) = (Some("acme"), Some("other"));
        let cases = [
            (LimitScope::Tenant, None, None, Some("acme")),
            (LimitScope::Tenant, acme, Some("scribe"), Some("acme")),
            (LimitScope::Tenant, other, None, None),
            (LimitScope::Principal, None, None, Some("agent:acme/scribe")),
            (LimitScope::Principal, acme, Some("ada"), None),
        ];
        for (scope, tenant, principal, expected) in cases {
            let limit = LimitConfig {
                name: "l".into(),
                scope,
                tenant: tenant.map(str::to_owned),
                principal: principal.map(str::to_owned),
                rate: Rate::default(),
            };
            assert_eq!(limit.subject(&scribe).as_deref(), expected, "{limit:?}");
        }
    }
}
