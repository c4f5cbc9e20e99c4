//! A plan as bytes: what is hashed, shown to people, granted and executed is one text.

use bulkhead_canonical_json::{self as canonical, CanonicalError};
use bulkhead_edge::Principal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::tool::{Effect, Planned, Precondition, Reversibility, ToolFault, ToolFaultKind};

/// Largest plan in bytes: the approval service takes no more, and people do not read more.
pub const PLAN_BYTES_MAX: usize = 1 << 20;

/// RFC 8785 text of a plan, and its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    json: String,
    digest: String,
}

/// What a plan is of, beside what the tool says it would do.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Who calls.
    pub principal: &'a Principal,
    /// The session, or empty.
    pub session: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// Which edition of the tool.
    pub tool_schema_digest: &'a str,
    /// The arguments.
    pub arguments: &'a Value,
    /// The execution that is taken back, if one is.
    pub undo_of: Option<Uuid>,
}

/// The plan's text has these fields and no others; RFC 8785 sorts them.
#[derive(Serialize)]
struct Document<'a> {
    arguments: &'a Value,
    effects: &'a [Effect],
    preconditions: &'a [Precondition],
    principal: &'a Principal,
    reversibility: Reversibility,
    session: &'a str,
    tool: &'a str,
    tool_schema_digest: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    undo_of: Option<Uuid>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// People could not be shown it.
    #[error("the plan has {bytes} bytes, which is more than {PLAN_BYTES_MAX}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// It holds numbers that have no canonical form.
    #[error("the plan has no canonical form")]
    NotCanonical(#[source] CanonicalError),
}

impl Plan {
    /// Writes the plan down.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn seal(subject: Subject<'_>, planned: &Planned) -> Result<Self, PlanError> {
        let document = Document {
            arguments: subject.arguments,
            effects: &planned.effects,
            preconditions: &planned.preconditions,
            principal: subject.principal,
            reversibility: planned.reversibility,
            session: subject.session,
            tool: subject.tool,
            tool_schema_digest: subject.tool_schema_digest,
            undo_of: subject.undo_of,
        };
        let json = canonical::to_string(&document).map_err(PlanError::NotCanonical)?;
        if json.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLarge { bytes: json.len() });
        }
        let digest = canonical::sha256_hex(&json);
        Ok(Self { json, digest })
    }

    /// The exact bytes that the digest covers.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// 64 lower-case hex digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }
}

impl From<PlanError> for ToolFault {
    fn from(error: PlanError) -> Self {
        let (kind, advice) = match &error {
            PlanError::TooLarge { .. } => {
                (ToolFaultKind::TooLarge, "Split the call into several smaller ones, each with less content.")
            }
            PlanError::NotCanonical(_) => {
                (ToolFaultKind::InvalidArguments, "Send numbers beyond 2^53 as strings.")
            }
        };
        Self { kind, message: format!("Cannot plan the call: {error}. {advice}"), retry_after: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::EffectKind;
    use bulkhead_edge::PrincipalKind;
    use serde_json::json;

    fn principal() -> Principal {
        Principal {
            tenant: "default".into(),
            kind: PrincipalKind::Agent,
            name: "scribe".into(),
            owner: Some("ada".into()),
        }
    }

    fn planned(preview: &str) -> Planned {
        Planned {
            effects: vec![Effect {
                kind: EffectKind::FileCreate,
                target: "work/a.md".into(),
                destination: None,
                preview: preview.into(),
                before_sha256: None,
                after_sha256: Some("00".repeat(32)),
            }],
            preconditions: vec![Precondition::FileAbsent { target: "work/a.md".into() }],
            reversibility: Reversibility::Reversible,
            sensitivity: Vec::new(),
        }
    }

    fn subject<'a>(principal: &'a Principal, arguments: &'a Value) -> Subject<'a> {
        Subject {
            principal,
            session: "s1",
            tool: "fs.write",
            tool_schema_digest: "d",
            arguments,
            undo_of: None,
        }
    }

    #[test]
    fn the_text_is_canonical_and_complete() {
        let (principal, arguments) = (principal(), json!({ "path": "work/a.md", "content": "x" }));
        let plan = Plan::seal(subject(&principal, &arguments), &planned("+x")).expect("sealed");
        assert_eq!(
            plan.json(),
            concat!(
                r#"{"arguments":{"content":"x","path":"work/a.md"},"effects":[{"after_sha256":""#,
                "0000000000000000000000000000000000000000000000000000000000000000",
                r#"","before_sha256":null,"kind":"file.create","preview":"+x","target":"work/a.md"}],"#,
                r#""preconditions":[{"kind":"file.absent","target":"work/a.md"}],"#,
                r#""principal":{"kind":"agent","name":"scribe","owner":"ada","tenant":"default"},"#,
                r#""reversibility":"reversible","session":"s1","tool":"fs.write","tool_schema_digest":"d"}"#,
            )
        );
        assert_eq!(plan.digest(), canonical::sha256_hex(plan.json()));
    }

    #[test]
    fn every_part_moves_the_digest() {
        let (principal, arguments) = (principal(), json!({ "path": "a" }));
        let base = subject(&principal, &arguments);
        let digest =
            |subject: Subject<'_>, planned: &Planned| Plan::seal(subject, planned).expect("sealed").digest;
        let reference = digest(base, &planned("+x"));
        let other_principal = Principal { name: "other".into(), ..principal.clone() };
        let other_arguments = json!({ "path": "b" });
        let others = [
            Subject { principal: &other_principal, ..base },
            Subject { arguments: &other_arguments, ..base },
            Subject { session: "s2", ..base },
            Subject { tool: "fs.delete", ..base },
            Subject { tool_schema_digest: "e", ..base },
            Subject { undo_of: Some(Uuid::nil()), ..base },
        ];
        for other in others {
            assert_ne!(digest(other, &planned("+x")), reference, "{other:?}");
        }
        assert_ne!(digest(base, &planned("+y")), reference);
        let gone = Planned { preconditions: Vec::new(), ..planned("+x") };
        assert_ne!(digest(base, &gone), reference);
        let final_one = Planned { reversibility: Reversibility::Irreversible, ..planned("+x") };
        assert_ne!(digest(base, &final_one), reference);
    }

    #[test]
    fn a_plan_that_nobody_could_be_shown_is_refused() {
        let (principal, arguments) = (principal(), json!({}));
        let sealed = Plan::seal(subject(&principal, &arguments), &planned(&"x".repeat(PLAN_BYTES_MAX)));
        let error = sealed.expect_err("too large");
        assert_eq!(ToolFault::from(error).kind, ToolFaultKind::TooLarge);
    }
}
