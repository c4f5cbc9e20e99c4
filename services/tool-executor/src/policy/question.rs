//! What is asked of Cedar: a caller, a tool, and typed facts about the plan.

use std::error::Error;

use bulkhead_edge::{Principal, PrincipalKind};
use cedar_policy::{Context, Entities, EntityId, EntityTypeName, EntityUid, ParseErrors, Request, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::plan::Plan;
use crate::tool::{EffectKind, Planned, Reversibility};

/// Who calls, with the roles that the credential proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Their roles.
    pub roles: Vec<String>,
}

/// What a policy is told of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoFacts {
    /// Whether it is asked for by the principal that acted.
    pub own: bool,
    /// Whether every hash still matched when it was planned.
    pub unchanged: bool,
    /// Whether what is taken back is an undo, so that what an approval allowed once would happen again.
    #[serde(default)]
    pub of_undo: bool,
}

/// May this caller do this with this tool?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who.
    pub caller: &'a Caller,
    /// With which tool.
    pub tool: &'a str,
    /// The plan that the answer is bound to.
    pub plan: &'a Plan,
    /// What it would do.
    pub planned: &'a Planned,
    /// What it takes back, if it does.
    pub undo: Option<UndoFacts>,
}

/// What a probe asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Execute,
    ExecuteWithApproval,
    DryRun,
}

/// A question that Cedar would not take: a bug, answered with a denial.
#[derive(Debug, thiserror::Error)]
#[error("the {part} of the question does not fit the schema")]
pub(super) struct AskError {
    part: &'static str,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

impl AskError {
    fn of<E: Error + Send + Sync + 'static>(part: &'static str) -> impl Fn(E) -> Self {
        move |source| Self { part, source: Box::new(source) }
    }
}

impl Action {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::ExecuteWithApproval => "execute_with_approval",
            Self::DryRun => "dry_run",
        }
    }

    pub(super) fn uid(self) -> Result<EntityUid, AskError> {
        uid("Bulkhead::Action", self.name())
    }
}

impl Question<'_> {
    pub(super) fn ask(
        &self,
        action: Action,
        satisfied: bool,
        schema: &Schema,
    ) -> Result<(Request, Entities), AskError> {
        let action = action.uid()?;
        let facts = self.facts(satisfied);
        let context =
            Context::from_json_value(facts, Some((schema, &action))).map_err(AskError::of("context"))?;
        let entities =
            Entities::from_json_value(self.entities(), Some(schema)).map_err(AskError::of("entities"))?;
        let (kind, id) = self.principal();
        let (principal, resource) = (uid(kind, &id)?, uid("Bulkhead::Tool", self.tool)?);
        let request = Request::new(principal, action, resource, context, Some(schema))
            .map_err(AskError::of("request"))?;
        Ok((request, entities))
    }

    fn facts(&self, satisfied: bool) -> Value {
        let count = |kinds: &[EffectKind]| {
            self.planned.effects.iter().filter(|effect| kinds.contains(&effect.kind)).count()
        };
        let mut facts = json!({
            "effects": {
                "reads": count(&[EffectKind::FileRead, EffectKind::FileList]),
                "creates": count(&[EffectKind::FileCreate]),
                "overwrites": count(&[EffectKind::FileOverwrite]),
                "appends": count(&[EffectKind::FileAppend]),
                "moves": count(&[EffectKind::FileMove]),
                "deletes": count(&[EffectKind::FileDelete]),
            },
            "reversibility": reversibility(self.planned.reversibility),
            "approval": { "satisfied": satisfied },
        });
        if let (Some(undo), Some(object)) = (self.undo, facts.as_object_mut()) {
            let UndoFacts { own, unchanged, of_undo } = undo;
            object
                .insert("undo".to_owned(), json!({ "own": own, "unchanged": unchanged, "of_undo": of_undo }));
        }
        facts
    }

    fn principal(&self) -> (&'static str, String) {
        let principal = &self.caller.principal;
        let kind = match principal.kind {
            PrincipalKind::Agent => "Bulkhead::Agent",
            PrincipalKind::Person => "Bulkhead::Person",
            PrincipalKind::Service => "Bulkhead::Service",
        };
        (kind, format!("{}/{}", principal.tenant, principal.name))
    }

    fn entities(&self) -> Value {
        let (kind, id) = self.principal();
        let principal = &self.caller.principal;
        json!([
            {
                "uid": { "type": kind, "id": id },
                "attrs": { "tenant": principal.tenant, "name": principal.name, "roles": self.caller.roles },
                "parents": [],
            },
            {
                "uid": { "type": "Bulkhead::Tool", "id": self.tool },
                "attrs": { "name": self.tool },
                "parents": [],
            },
        ])
    }
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, AskError> {
    let kind: EntityTypeName = kind.parse().map_err(AskError::of::<ParseErrors>("name"))?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn reversibility(reversibility: Reversibility) -> &'static str {
    match reversibility {
        Reversibility::ReadOnly => "read_only",
        Reversibility::Reversible => "reversible",
        Reversibility::Irreversible => "irreversible",
    }
}
