//! An approval: what was asked, what people said, and how it ended. Types and pure decisions.

pub(crate) mod decide;
pub(crate) mod grant;
pub(crate) mod plan;
pub(crate) mod quorum;

use std::fmt;
use std::str::FromStr;

use bulkhead_edge::Principal;
use bulkhead_grant::SignedGrant;
use jiff::Timestamp;
use uuid::Uuid;

pub(crate) use decide::{Ballot, Event, Rejection, decide, expire};
pub(crate) use plan::Plan;
pub(crate) use quorum::{Requirement, Requirements};

/// Names an approval for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ApprovalId(Uuid);

impl ApprovalId {
    /// A new one; later ones sort after earlier ones.
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl FromStr for ApprovalId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What was asked. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Question {
    /// The service that asks.
    pub(crate) requested_by: Principal,
    /// For whom; its tenant is the approval's tenant.
    pub(crate) on_behalf_of: Principal,
    /// What would be done.
    pub(crate) plan: Plan,
    /// Who has to agree.
    pub(crate) requirements: Requirements,
    /// The session of the call that needs the decision, or empty.
    pub(crate) session_id: String,
    /// The trace that asks, or empty.
    pub(crate) traceparent: String,
    /// When it was asked.
    pub(crate) create_time: Timestamp,
    /// From this time on the answer is no.
    pub(crate) expire_time: Timestamp,
}

/// A question and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Approval {
    /// Its name.
    pub(crate) id: ApprovalId,
    /// Of the tenant, when this approval last changed.
    pub(crate) revision: u64,
    /// What was asked.
    pub(crate) question: Question,
    /// In the order in which they were cast.
    pub(crate) votes: Vec<Vote>,
    /// None while it is pending.
    pub(crate) settlement: Option<Settlement>,
    /// Signed when it was approved.
    pub(crate) grant: Option<SignedGrant>,
}

/// What a person says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Do exactly this.
    Approve,
    /// Do not. Final.
    Deny,
}

/// One person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vote {
    /// Who.
    pub(crate) voter: Principal,
    /// The roles held when voting.
    pub(crate) roles: Vec<String>,
    /// What.
    pub(crate) decision: Decision,
    /// Why.
    pub(crate) reason: String,
    /// When.
    pub(crate) time: Timestamp,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Enough people agreed.
    Approved,
    /// A person said no.
    Denied,
    /// Nobody decided in time.
    Expired,
}

/// The end of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// How.
    pub(crate) outcome: Outcome,
    /// When.
    pub(crate) time: Timestamp,
    /// The trace in which the last vote was cast; empty when it expired.
    pub(crate) traceparent: String,
}

impl Approval {
    /// A new question, nothing said yet. The store gives it its revision.
    pub(crate) fn open(id: ApprovalId, question: Question) -> Self {
        Self { id, revision: 0, question, votes: Vec::new(), settlement: None, grant: None }
    }

    /// Nothing crosses tenants.
    pub(crate) fn tenant(&self) -> &str {
        &self.question.on_behalf_of.tenant
    }

    /// Whether its time is over, decided or not.
    pub(crate) fn is_overdue(&self, now: Timestamp) -> bool {
        now >= self.question.expire_time
    }

    /// The votes that say yes.
    pub(crate) fn agreeing(&self) -> impl Iterator<Item = &Vote> {
        self.votes.iter().filter(|vote| vote.decision == Decision::Approve)
    }

    /// The approval after what happened.
    #[must_use]
    pub(crate) fn after(mut self, event: Event) -> Self {
        match event {
            Event::Voted(vote) => self.votes.push(vote),
            Event::Settled(settlement) => self.settlement = Some(settlement),
        }
        self
    }

    /// The approval as it stands at `now`: one whose time is over reads as expired even before that is
    /// written down, so that nobody is told to wait for a decision that can no longer come.
    #[must_use]
    pub(crate) fn seen_at(self, now: Timestamp) -> Self {
        match expire(&self, now) {
            Some(event) => self.after(event),
            None => self,
        }
    }

    /// About how many bytes it takes in an answer.
    pub(crate) fn weight(&self) -> usize {
        // What surrounds the long texts: principals, digests, times, a grant.
        const FRAME: usize = 2 << 10;
        let roles = |vote: &Vote| vote.roles.iter().map(String::len).sum::<usize>();
        let votes: usize = self.votes.iter().map(|vote| vote.reason.len() + roles(vote) + 256).sum();
        self.question.plan.json().len() + votes + FRAME
    }
}

impl Decision {
    /// The word used in the store and the audit log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }
}

impl Outcome {
    /// The word used in the store and the audit log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Expired => "expired",
        }
    }
}
