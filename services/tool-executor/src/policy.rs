//! Who may do what: Cedar, asked in three probes.
//!
//! Promises that what no policy permits is denied, that an evaluation error denies (Cedar itself skips a
//! policy that errors, a `forbid` too), that people are asked only for what they could open, and that an
//! approval never opens what the policy keeps shut. Policies see typed attributes derived from the effects,
//! never raw arguments.

mod load;
mod question;
mod quorum;

use std::error::Error;
use std::path::{Path, PathBuf};

use cedar_policy::{Authorizer, Decision as Answer, PolicyId, PolicySet, Schema};
use serde::{Deserialize, Serialize};

pub use load::PolicyError;
pub use question::{Caller, Question, UndoFacts};
pub use quorum::{Approver, Missing, Voted};

use question::Action;

/// The policy that applies where none is configured.
pub const DEFAULT_POLICY: &str = include_str!("../policy/default.cedar");

/// A loaded and validated policy.
#[derive(Debug)]
pub struct Policy {
    policies: PolicySet,
    schema: Schema,
}

/// What the policy says of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may run.
    Execute,
    /// It may run once these people have agreed to exactly this plan.
    ExecuteWithApproval(Vec<Approver>),
    /// It may be planned and not run.
    DryRunOnly,
    /// Not even that.
    Deny,
}

impl Decision {
    /// As lines of the audit log and spans say it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::ExecuteWithApproval(_) => "execute_with_approval",
            Self::DryRunOnly => "dry_run_only",
            Self::Deny => "deny",
        }
    }
}

/// A decision about one plan. Only [`Policy::decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    plan_digest: String,
    decision: Decision,
    policy_ids: Vec<String>,
    problems: Vec<String>,
}

/// The policy's word that an approved plan may run now. Only [`Policy::confirm`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    plan_digest: String,
    policy_ids: Vec<String>,
}

/// Why an approved plan may not run after all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotConfirmed {
    /// The policy does not let people open it.
    #[error("the policy does not allow it any more, with or without approval")]
    Shut {
        /// The policies that led to it.
        policy_ids: Vec<String>,
    },
    /// Too few of the right people agreed.
    #[error("the policy now asks for {0} more")]
    Votes(#[from] Missing),
    /// A policy could not be evaluated.
    #[error("the policy could not be evaluated")]
    Broken {
        /// What Cedar said.
        problems: Vec<String>,
    },
}

/// Why a policy file was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the policy {path} cannot be used")]
pub struct PolicyFileError {
    path: PathBuf,
    #[source]
    source: Box<dyn Error + Send + Sync>,
}

/// What one probe said.
struct Probe {
    allowed: bool,
    policy_ids: Vec<PolicyId>,
    problems: Vec<String>,
}

impl Policy {
    /// Loads a policy from its file.
    ///
    /// # Errors
    /// [`PolicyFileError`].
    pub fn load(path: &Path) -> Result<Self, PolicyFileError> {
        let failed = |source: Box<dyn Error + Send + Sync>| PolicyFileError { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.into()))?;
        Self::parse(&text).map_err(|error| failed(error.into()))
    }

    /// Reads and validates a policy.
    ///
    /// # Errors
    /// [`PolicyError`], which names the policy; the service must not start.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let schema = load::schema()?;
        let policies = load::policies(text, &schema)?;
        Ok(Self { policies, schema })
    }

    /// What may become of a plan.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Verdict {
        let free = self.probe(Action::Execute, question, false);
        if free.settles() {
            return free.verdict(question, Decision::Execute);
        }
        let gated = self.probe(Action::ExecuteWithApproval, question, false);
        if gated.broken() {
            return gated.verdict(question, Decision::Deny);
        }
        if gated.allowed {
            // Nobody is asked for what would be refused after they agreed.
            let opened = self.probe(Action::Execute, question, true);
            if opened.broken() {
                return opened.verdict(question, Decision::Deny);
            }
            if opened.allowed {
                let approvers = self.approvers(&gated);
                return gated.verdict(question, Decision::ExecuteWithApproval(approvers));
            }
        }
        let planned = self.probe(Action::DryRun, question, false);
        let decision = if planned.allowed { Decision::DryRunOnly } else { Decision::Deny };
        planned.verdict(question, decision)
    }

    /// Whether a plan that people approved may run, by the policy as it is now.
    ///
    /// # Errors
    /// [`NotConfirmed`]; it must not run.
    pub fn confirm(&self, question: &Question<'_>, votes: &[Voted]) -> Result<Confirmed, NotConfirmed> {
        let free = self.probe(Action::Execute, question, false).sound()?;
        if free.allowed {
            return Ok(free.confirmed(question));
        }
        let gated = self.probe(Action::ExecuteWithApproval, question, false).sound()?;
        if !gated.allowed {
            return Err(NotConfirmed::Shut { policy_ids: gated.names() });
        }
        quorum::check(&self.approvers(&gated), votes, &question.caller.principal)?;
        let opened = self.probe(Action::Execute, question, true).sound()?;
        if !opened.allowed {
            return Err(NotConfirmed::Shut { policy_ids: opened.names() });
        }
        Ok(opened.confirmed(question))
    }

    fn probe(&self, action: Action, question: &Question<'_>, satisfied: bool) -> Probe {
        let (request, entities) = match question.ask(action, satisfied, &self.schema) {
            Ok(asked) => asked,
            Err(error) => return Probe::unanswerable(&error),
        };
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let diagnostics = response.diagnostics();
        let problems: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        Probe {
            allowed: response.decision() == Answer::Allow && problems.is_empty(),
            policy_ids: diagnostics.reason().cloned().collect(),
            problems,
        }
    }

    /// Union of what the matching permits ask for, the strictest count of each role.
    fn approvers(&self, gated: &Probe) -> Vec<Approver> {
        let permits = gated.policy_ids.iter().filter_map(|id| self.policies.policy(id));
        quorum::union(permits.flat_map(load::approvers_of))
    }
}

impl Probe {
    fn unanswerable(error: &question::AskError) -> Self {
        let problem = bulkhead_edge::fault::chain(error, ": ");
        Self { allowed: false, policy_ids: Vec::new(), problems: vec![problem] }
    }

    fn broken(&self) -> bool {
        !self.problems.is_empty()
    }

    /// Whether no further probe is needed: it may run, or an error denies.
    fn settles(&self) -> bool {
        self.allowed || self.broken()
    }

    fn sound(self) -> Result<Self, NotConfirmed> {
        if self.broken() { Err(NotConfirmed::Broken { problems: self.problems }) } else { Ok(self) }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.policy_ids.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    fn verdict(self, question: &Question<'_>, decision: Decision) -> Verdict {
        Verdict {
            plan_digest: question.plan.digest().to_owned(),
            decision: if self.broken() { Decision::Deny } else { decision },
            policy_ids: self.names(),
            problems: self.problems,
        }
    }

    fn confirmed(&self, question: &Question<'_>) -> Confirmed {
        Confirmed { plan_digest: question.plan.digest().to_owned(), policy_ids: self.names() }
    }
}

impl Verdict {
    /// The plan it is about.
    #[must_use]
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// What it says.
    #[must_use]
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The policies that led to it, sorted.
    #[must_use]
    pub fn policy_ids(&self) -> &[String] {
        &self.policy_ids
    }

    /// What could not be evaluated, for the log; empty unless it denies for that reason.
    #[must_use]
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl Confirmed {
    /// The plan it is about.
    #[must_use]
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// The policies that led to it, sorted.
    #[must_use]
    pub fn policy_ids(&self) -> &[String] {
        &self.policy_ids
    }
}

#[cfg(test)]
mod tests;
