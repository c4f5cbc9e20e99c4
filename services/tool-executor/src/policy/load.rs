//! From text to a policy set that has been checked.

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};

use super::question::Action;
use super::quorum::{self, Approver};

/// What policies may speak of.
const SCHEMA: &str = include_str!("../../policy/schema.cedarschema");
/// Who has to agree, on a permit for `execute_with_approval`.
const APPROVERS: &str = "approvers";
/// Roles that one approval can ask for.
const ROLES_MAX: usize = 8;
/// People of one role that an approval can ask for.
const COUNT_MAX: u32 = 16;

/// Why a policy is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The built-in schema is broken.
    #[error("the built-in policy schema is broken")]
    Schema(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The text is not Cedar.
    #[error("the policy is not valid Cedar")]
    Syntax(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It speaks of what the schema does not know, or mixes types.
    #[error("the policy does not fit the schema: {}", .problems.join("; "))]
    Invalid {
        /// All that is wrong.
        problems: Vec<String>,
    },
    /// It has slots that nothing fills.
    #[error("policy {id} is a template; templates are not supported")]
    Template {
        /// Which.
        id: String,
    },
    /// Two policies have one `@id`.
    #[error("policy {id} stands there twice")]
    Twice {
        /// Which.
        id: String,
    },
    /// A permit for `execute_with_approval` without the annotation.
    #[error("policy {id} permits execute_with_approval and lacks @approvers(\"role:count\")")]
    NoApprovers {
        /// Which.
        id: String,
    },
    /// The annotation where it means nothing.
    #[error("policy {id} has @approvers and is no permit for execute_with_approval")]
    UselessApprovers {
        /// Which.
        id: String,
    },
    /// The annotation cannot be read.
    #[error(
        "policy {id} has @approvers({text:?}); it must be role:count, separated by commas, each role once, \
         with counts from 1 to 16"
    )]
    BadApprovers {
        /// Which.
        id: String,
        /// What stands there.
        text: String,
    },
    /// Together they can ask for more than one approval can.
    #[error("the policy names {count} approver roles; one approval can ask for 8")]
    TooManyRoles {
        /// How many.
        count: usize,
    },
}

pub(super) fn schema() -> Result<Schema, PolicyError> {
    let (schema, _warnings) =
        Schema::from_cedarschema_str(SCHEMA).map_err(|error| PolicyError::Schema(Box::new(error)))?;
    Ok(schema)
}

pub(super) fn policies(text: &str, schema: &Schema) -> Result<PolicySet, PolicyError> {
    let parsed: PolicySet =
        text.parse().map_err(|error: cedar_policy::ParseErrors| PolicyError::Syntax(Box::new(error)))?;
    if let Some(template) = parsed.templates().next() {
        return Err(PolicyError::Template { id: template.id().to_string() });
    }
    let policies = named(&parsed)?;
    for policy in policies.policies() {
        check_approvers(policy)?;
    }
    let roles = quorum::union(policies.policies().flat_map(approvers_of)).len();
    if roles > ROLES_MAX {
        return Err(PolicyError::TooManyRoles { count: roles });
    }
    validate(&policies, schema)?;
    Ok(policies)
}

/// Gives each policy the id of its `@id`; Cedar itself numbers them.
fn named(parsed: &PolicySet) -> Result<PolicySet, PolicyError> {
    let mut policies = PolicySet::new();
    for policy in parsed.policies() {
        let id = policy.annotation("id").map_or_else(|| policy.id().clone(), PolicyId::new);
        let twice = |_error| PolicyError::Twice { id: id.to_string() };
        policies.add(policy.new_id(id.clone())).map_err(twice)?;
    }
    Ok(policies)
}

fn validate(policies: &PolicySet, schema: &Schema) -> Result<(), PolicyError> {
    let result = Validator::new(schema.clone()).validate(policies, ValidationMode::Strict);
    if result.validation_passed() {
        return Ok(());
    }
    Err(PolicyError::Invalid { problems: result.validation_errors().map(ToString::to_string).collect() })
}

fn check_approvers(policy: &Policy) -> Result<(), PolicyError> {
    let id = policy.id().to_string();
    match (policy.annotation(APPROVERS), gates(policy)) {
        (None, false) => Ok(()),
        (None, true) => Err(PolicyError::NoApprovers { id }),
        (Some(_), false) => Err(PolicyError::UselessApprovers { id }),
        (Some(text), true) if parse(text).is_some() => Ok(()),
        (Some(text), true) => Err(PolicyError::BadApprovers { id, text: text.to_owned() }),
    }
}

/// Whether the policy can permit `execute_with_approval`.
fn gates(policy: &Policy) -> bool {
    let is_gate = |uid: &EntityUid| Action::ExecuteWithApproval.uid().is_ok_and(|gate| gate == *uid);
    policy.effect() == Effect::Permit
        && match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::In(uids) => uids.iter().any(is_gate),
            ActionConstraint::Eq(uid) => is_gate(&uid),
        }
}

/// Who has to agree according to one policy. Checked when it was loaded.
pub(super) fn approvers_of(policy: &Policy) -> Vec<Approver> {
    policy.annotation(APPROVERS).and_then(parse).unwrap_or_default()
}

fn parse(text: &str) -> Option<Vec<Approver>> {
    let approvers: Vec<Approver> = text.split(',').map(|part| one(part.trim())).collect::<Option<_>>()?;
    (quorum::union(approvers.clone()).len() == approvers.len()).then_some(approvers)
}

fn one(text: &str) -> Option<Approver> {
    let (role, count) = text.split_once(':')?;
    let is_role = (1..=64).contains(&role.len())
        && role.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let count = count.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count))?;
    is_role.then(|| Approver { role: role.to_owned(), count })
}
