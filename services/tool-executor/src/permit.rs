//! Authority as a value: without a permit nothing runs, and a permit is for one plan.

use bulkhead_grant::{Expected, GrantError, PinnedKeys, SignedGrant};
use jiff::Timestamp;

use crate::policy::{Approver, Decision, NotConfirmed, Policy, Question, Verdict, Voted};

/// The right to run one plan, once. It cannot be copied, and only this module makes one.
#[derive(Debug)]
pub struct Permit {
    plan_digest: String,
    policy_ids: Vec<String>,
    /// Names a trace and gives no right.
    decision_traceparent: String,
}

/// What a verdict lets the executor do next.
#[derive(Debug)]
pub enum Clearance {
    /// Run it.
    Permitted(Permit),
    /// Ask these people first.
    NeedsApproval(Vec<Approver>),
    /// Do not run it; true: it may be planned.
    Refused {
        /// Whether the caller may see what would happen.
        may_plan: bool,
    },
}

/// An approval, and what it must be for.
#[derive(Debug, Clone, Copy)]
pub struct Approved<'a> {
    /// The approval that was asked for.
    pub approval_id: &'a str,
    /// What the approval service signed.
    pub grant: &'a SignedGrant,
}

/// Why an approval does not become a permit.
#[derive(Debug, thiserror::Error)]
pub enum NotRedeemed {
    /// The grant does not count.
    #[error("the grant does not count: {0}")]
    Grant(#[from] GrantError),
    /// The policy, as it is now, does not let it run.
    #[error("{0}")]
    Policy(#[from] NotConfirmed),
}

/// Turns the policy's verdict into what may be done with its plan.
#[must_use]
pub fn clear(verdict: &Verdict) -> Clearance {
    let permit = || {
        Clearance::Permitted(Permit {
            plan_digest: verdict.plan_digest().to_owned(),
            policy_ids: verdict.policy_ids().to_vec(),
            decision_traceparent: String::new(),
        })
    };
    match verdict.decision() {
        Decision::Execute => permit(),
        // The one place where a test binary can let a gated call through.
        Decision::ExecuteWithApproval(_) if bulkhead_failpoint::active("executor.skip_permit") => permit(),
        Decision::ExecuteWithApproval(approvers) => Clearance::NeedsApproval(approvers.clone()),
        Decision::DryRunOnly => Clearance::Refused { may_plan: true },
        Decision::Deny => Clearance::Refused { may_plan: false },
    }
}

/// Turns what people granted into a permit: the grant is genuine and for this very plan, and the policy as
/// it is now accepts the votes and still lets it run.
///
/// # Errors
/// [`NotRedeemed`]; nothing may run.
pub fn redeem(
    approved: Approved<'_>,
    keys: &PinnedKeys,
    policy: &Policy,
    question: &Question<'_>,
    now: Timestamp,
) -> Result<Permit, NotRedeemed> {
    let expected = Expected {
        approval_id: approved.approval_id,
        plan_digest: question.plan.digest(),
        tenant: &question.caller.principal.tenant,
    };
    let checked_at =
        if bulkhead_failpoint::active("executor.grant_never_expires") { Timestamp::MIN } else { now };
    let grant = approved.grant.verify(keys, expected, checked_at)?;
    let votes = grant.voters.into_iter().map(|voter| Voted { name: voter.name, roles: voter.roles });
    let confirmed = policy.confirm(question, &votes.collect::<Vec<_>>())?;
    Ok(Permit {
        plan_digest: confirmed.plan_digest().to_owned(),
        policy_ids: confirmed.policy_ids().to_vec(),
        decision_traceparent: String::new(),
    })
}

impl Permit {
    /// The plan that may run.
    #[must_use]
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// The policies that led to it, sorted.
    #[must_use]
    pub fn policy_ids(&self) -> &[String] {
        &self.policy_ids
    }

    /// The same, with the W3C traceparent of where people decided.
    #[must_use]
    pub fn decided_in(self, decision_traceparent: String) -> Self {
        Self { decision_traceparent, ..self }
    }

    /// Where people decided; empty where nobody had to, or it is not known.
    #[must_use]
    pub fn decision_traceparent(&self) -> &str {
        &self.decision_traceparent
    }
}
