//! Which state may follow which.

use serde::{Deserialize, Serialize};

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Recorded; whether people have been asked is not known yet, and they will be.
    Planned,
    /// A person has been asked.
    AwaitingApproval,
    /// The intent is on disk; the effect may have happened.
    Running,
    /// It happened.
    Succeeded,
    /// It certainly did not happen, or was certainly undone.
    Failed,
    /// Nobody knows.
    Unknown,
    /// The policy forbids it.
    Refused,
    /// A person said no.
    Denied,
    /// Nobody decided in time.
    Expired,
    /// The world changed since the plan.
    Stale,
    /// Withdrawn before it ran.
    Cancelled,
    /// It happened and was taken back.
    Undone,
}

/// Whether an effect happened. Answered apart from whether to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// Certainly not, or certainly undone.
    No,
    /// Yes.
    Yes,
    /// Nobody knows.
    Unknown,
}

/// What can happen to an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// It was planned, or planned again because nobody could be asked yet.
    Plan,
    /// A person was asked.
    Ask,
    /// It may run: the intent is being written.
    Start,
    /// It happened.
    Succeed,
    /// It certainly did not.
    Fail,
    /// Nobody knows.
    LoseTrack,
    /// The policy, or the check of the grant, forbids it.
    Refuse,
    /// A person said no.
    Deny,
    /// Nobody decided in time, or nobody could be asked for so long.
    Expire,
    /// The world changed since the plan.
    GoStale,
    /// It was taken back.
    Undo,
}

/// A step that may not follow: a bug in the executor, never the caller's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{step:?} may not follow {from:?}")]
pub struct IllegalTransition {
    /// The state before; none: not recorded.
    pub from: Option<State>,
    /// What was to happen.
    pub step: Step,
}

/// The state after a step. Read-only calls, calls that cannot be planned and calls that the policy forbids
/// are recorded once, in their final state; everything else passes RUNNING before it can succeed.
///
/// # Errors
/// [`IllegalTransition`].
pub fn transition(from: Option<State>, step: Step) -> Result<State, IllegalTransition> {
    use State as S;
    match (from, step) {
        (None | Some(S::Planned), Step::Plan) => Ok(S::Planned),
        (Some(S::Planned), Step::Ask) => Ok(S::AwaitingApproval),
        (None | Some(S::Planned | S::AwaitingApproval), Step::Start) => Ok(S::Running),
        (None | Some(S::Running), Step::Succeed) => Ok(S::Succeeded),
        (None | Some(S::Planned | S::Running), Step::Fail) => Ok(S::Failed),
        (Some(S::Running), Step::LoseTrack) => Ok(S::Unknown),
        (None | Some(S::Planned | S::AwaitingApproval), Step::Refuse) => Ok(S::Refused),
        (Some(S::AwaitingApproval), Step::Deny) => Ok(S::Denied),
        (Some(S::Planned | S::AwaitingApproval), Step::Expire) => Ok(S::Expired),
        (None | Some(S::Planned | S::AwaitingApproval | S::Running), Step::GoStale) => Ok(S::Stale),
        (Some(S::Succeeded), Step::Undo) => Ok(S::Undone),
        (from, step) => Err(IllegalTransition { from, step }),
    }
}

impl State {
    /// Whether nothing but an undo can follow.
    #[must_use]
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Planned | Self::AwaitingApproval | Self::Running)
    }

    /// Whether the effect of an execution in this state happened.
    #[must_use]
    pub fn happened(self) -> Happened {
        match self {
            Self::Succeeded | Self::Undone => Happened::Yes,
            Self::Running | Self::Unknown => Happened::Unknown,
            Self::Planned
            | Self::AwaitingApproval
            | Self::Failed
            | Self::Refused
            | Self::Denied
            | Self::Expired
            | Self::Stale
            | Self::Cancelled => Happened::No,
        }
    }

    /// The word in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Planned => "PLANNED",
            Self::AwaitingApproval => "AWAITING_APPROVAL",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Unknown => "UNKNOWN",
            Self::Refused => "REFUSED",
            Self::Denied => "DENIED",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Cancelled => "CANCELLED",
            Self::Undone => "UNDONE",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [State; 12] = [
        State::Planned,
        State::AwaitingApproval,
        State::Running,
        State::Succeeded,
        State::Failed,
        State::Unknown,
        State::Refused,
        State::Denied,
        State::Expired,
        State::Stale,
        State::Cancelled,
        State::Undone,
    ];
    const STEPS: [Step; 11] = [
        Step::Plan,
        Step::Ask,
        Step::Start,
        Step::Succeed,
        Step::Fail,
        Step::LoseTrack,
        Step::Refuse,
        Step::Deny,
        Step::Expire,
        Step::GoStale,
        Step::Undo,
    ];

    #[test]
    fn nothing_follows_a_final_state_but_the_undo_of_a_success() {
        for state in STATES.into_iter().filter(|state| state.is_final()) {
            for step in STEPS {
                let allowed = transition(Some(state), step).is_ok();
                assert_eq!(allowed, state == State::Succeeded && step == Step::Undo, "{state:?} {step:?}");
            }
        }
    }

    #[test]
    fn a_running_effect_ends_only_in_an_outcome() {
        let ends: Vec<_> =
            STEPS.into_iter().filter_map(|s| transition(Some(State::Running), s).ok()).collect();
        assert_eq!(ends, [State::Succeeded, State::Failed, State::Unknown, State::Stale]);
    }

    #[test]
    fn what_waits_for_people_never_skips_the_intent() {
        assert!(transition(Some(State::AwaitingApproval), Step::Succeed).is_err());
        assert!(transition(Some(State::Planned), Step::Succeed).is_err());
        assert_eq!(transition(Some(State::AwaitingApproval), Step::Start), Ok(State::Running));
    }

    #[test]
    fn the_journals_word_is_the_one_in_the_record() {
        for state in STATES {
            assert_eq!(serde_json::json!(state), state.as_str());
        }
    }
}
