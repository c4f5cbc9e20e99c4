//! The effect that people are shown, byte for byte what was hashed.

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use serde_json::Value;

/// Largest plan, in bytes. The contract's bound: what a person can be shown, with room for a large diff.
pub(crate) const PLAN_BYTES_MAX: usize = 1 << 20;

/// Longest tool name that is taken from a plan for the audit log, in bytes.
const TOOL_BYTES_MAX: usize = 128;

/// Canonical JSON and its digest, known to belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    json: String,
    digest: String,
    tool: String,
}

/// Why a plan cannot be asked about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlanError {
    /// Longer than [`PLAN_BYTES_MAX`].
    #[error("must be at most {PLAN_BYTES_MAX} bytes, not {bytes}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// Two parties could read it differently.
    #[error("must be RFC 8785 JSON: {0}")]
    NotCanonical(#[source] CanonicalError),
    /// A plan has named parts.
    #[error("must be a JSON object")]
    NotAnObject,
    /// The digest belongs to something else.
    #[error("must be the SHA-256 of plan_json as 64 lower-case hex digits, which is {expected}")]
    Digest {
        /// What would be right.
        expected: String,
    },
}

impl Plan {
    /// Accepts a plan only in the one form that has this digest.
    pub(crate) fn check(json: String, digest: &str) -> Result<Self, PlanError> {
        if json.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLarge { bytes: json.len() });
        }
        let value = canonical::parse_canonical(&json).map_err(PlanError::NotCanonical)?;
        let parts = value.as_object().ok_or(PlanError::NotAnObject)?;
        let expected = canonical::sha256_hex(&json);
        if digest != expected {
            return Err(PlanError::Digest { expected });
        }
        let tool = parts.get("tool").and_then(Value::as_str).filter(|tool| tool.len() <= TOOL_BYTES_MAX);
        let tool = tool.unwrap_or_default().to_owned();
        Ok(Self { json, digest: expected, tool })
    }

    /// A plan that was checked before it was stored.
    pub(crate) fn stored(json: String, digest: String, tool: String) -> Self {
        Self { json, digest, tool }
    }

    /// RFC 8785 JSON, never cut.
    pub(crate) fn json(&self) -> &str {
        &self.json
    }

    /// SHA-256 of the JSON, 64 lower-case hex digits.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// The tool that the plan names, or empty. For searching; what counts is the plan.
    pub(crate) fn tool(&self) -> &str {
        &self.tool
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Plan, PlanError> {
        Plan::check(json.to_owned(), &canonical::sha256_hex(json))
    }

    #[test]
    fn a_canonical_plan_keeps_its_bytes() {
        let plan = check(r#"{"effects":[],"tool":"fs.delete"}"#).expect("a plan");
        assert_eq!(plan.json(), r#"{"effects":[],"tool":"fs.delete"}"#);
        assert_eq!(plan.tool(), "fs.delete");
    }

    #[test]
    fn plans_that_could_be_read_in_two_ways_are_refused() {
        for json in [r#"{"a":1,"a":2}"#, r#"{"b":1,"a":2}"#, r#"{"a": 1}"#, "{", ""] {
            assert!(matches!(check(json), Err(PlanError::NotCanonical(_))), "accepted {json}");
        }
        assert!(matches!(check("[]"), Err(PlanError::NotAnObject)));
    }

    #[test]
    fn a_digest_of_other_bytes_is_refused() {
        let digest = canonical::sha256_hex(r#"{"a":2}"#);
        assert!(matches!(Plan::check(r#"{"a":1}"#.into(), &digest), Err(PlanError::Digest { .. })));
        let upper = canonical::sha256_hex(r#"{"a":1}"#).to_uppercase();
        assert!(matches!(Plan::check(r#"{"a":1}"#.into(), &upper), Err(PlanError::Digest { .. })));
    }

    #[test]
    fn a_plan_may_fill_its_bound_and_no_more() {
        let of_length = |bytes: usize| format!(r#"{{"t":"{}"}}"#, "x".repeat(bytes - 8));
        assert!(check(&of_length(PLAN_BYTES_MAX)).is_ok());
        assert!(matches!(check(&of_length(PLAN_BYTES_MAX + 1)), Err(PlanError::TooLarge { .. })));
    }
}
