//! Who may see a request: decided once, carried as a value.
//!
//! A cloud model takes a request only as [`Cleared<Anywhere>`], and [`clear`] is the only function that makes
//! one. Retry, fallback and whatever comes later take the clearance, not the raw prompt, so a path that
//! forgets the check does not compile:
//!
//! ```compile_fail,E0308
//! use bulkhead_model_router::clearance::{Cleared, LocalOnly};
//! use bulkhead_model_router::upstream::{Brief, CloudModel};
//!
//! async fn leak(model: &CloudModel, request: &Cleared<LocalOnly>, brief: Brief) {
//!     drop(model.call(request, brief).await);
//! }
//! ```
//!
//! Nor does a stream:
//!
//! ```compile_fail,E0308
//! use bulkhead_model_router::clearance::{Cleared, LocalOnly};
//! use bulkhead_model_router::upstream::{Brief, CloudModel};
//!
//! async fn leak(model: &CloudModel, request: &Cleared<LocalOnly>, brief: Brief) {
//!     drop(model.stream(request, brief).await);
//! }
//! ```
//!
//! The same with a cloud clearance does, and so does a local model with either:
//!
//! ```
//! use bulkhead_model_router::clearance::{Anywhere, Cleared, LocalOnly};
//! use bulkhead_model_router::upstream::{Brief, CloudModel, LocalModel};
//!
//! async fn cloud(model: &CloudModel, request: &Cleared<Anywhere>, brief: Brief) {
//!     drop(model.call(request, brief).await);
//! }
//! async fn local(model: &LocalModel, request: &Cleared<LocalOnly>, brief: Brief) {
//!     drop(model.call(request, brief).await);
//! }
//! ```
//!
//! Nobody else can make one:
//!
//! ```compile_fail,E0451
//! use bulkhead_model_router::chat::Prompt;
//! use bulkhead_model_router::clearance::{Anywhere, Cleared};
//!
//! fn forge(prompt: Prompt) -> Cleared<Anywhere> {
//!     Cleared { request: prompt.into(), scope: std::marker::PhantomData }
//! }
//! ```

use std::marker::PhantomData;

use crate::chat::{Prompt, Turn};
use crate::plan::Needs;
use crate::tokens::Measured;

/// A category that keeps a request on local models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sensitivity {
    /// Keys, passwords, tokens.
    Credentials,
    /// Accounts, balances, invoices.
    Financial,
    /// Health.
    Health,
    /// Plans that are not public.
    PrivateStrategy,
    /// Data about a living person.
    PersonalData,
}

impl Sensitivity {
    /// The word used in the audit log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Financial => "financial",
            Self::Health => "health",
            Self::PrivateStrategy => "private_strategy",
            Self::PersonalData => "personal_data",
        }
    }
}

/// Any model may see it.
#[derive(Debug, Clone, Copy)]
pub struct Anywhere;

/// Only models marked local may see it.
#[derive(Debug, Clone, Copy)]
pub struct LocalOnly;

/// A prompt that passed the check, with how far it may go.
#[derive(Debug, Clone)]
pub struct Cleared<S> {
    request: Measured,
    scope: PhantomData<S>,
}

impl<S> Cleared<S> {
    fn new(request: Measured) -> Self {
        Self { request, scope: PhantomData }
    }

    fn with(&self, turns: Vec<Turn>) -> Self {
        let mut prompt = self.prompt().clone();
        for turn in turns {
            match prompt.turns.last_mut().filter(|last| last.role == turn.role) {
                // Some servers refuse two turns of one speaker in a row.
                Some(last) => last.blocks.extend(turn.blocks),
                None => prompt.turns.push(turn),
            }
        }
        Self::new(prompt.into())
    }

    /// The prompt, for the adapters that write it down for a model.
    pub(crate) fn prompt(&self) -> &Prompt {
        self.request.prompt()
    }
}

/// What the check found.
#[derive(Debug, Clone)]
pub enum Clearance {
    /// Cloud models are allowed.
    Anywhere(Cleared<Anywhere>),
    /// Only local ones.
    LocalOnly(Cleared<LocalOnly>),
}

/// How far a request may go, and why, without the request itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Only local models may see it.
    pub local_only: bool,
    /// One line a rule.
    pub reasons: Vec<String>,
}

/// The rule: any category keeps a request local.
#[must_use]
pub fn decide(sensitivity: &[Sensitivity]) -> Decision {
    if bulkhead_failpoint::active("router.skip_clearance") {
        return Decision { local_only: false, reasons: vec!["the failpoint skips the check".to_owned()] };
    }
    if sensitivity.is_empty() {
        let reason = "no sensitivity was declared: any model of the route may see the request";
        return Decision { local_only: false, reasons: vec![reason.to_owned()] };
    }
    let line = |category: &Sensitivity| {
        format!("the caller declared {}: only local models may see the request", category.as_str())
    };
    Decision { local_only: true, reasons: sensitivity.iter().map(line).collect() }
}

/// Decides, and gives the prompt the clearance that the decision allows.
#[must_use]
pub fn clear(prompt: impl Into<Measured>, sensitivity: &[Sensitivity]) -> Clearance {
    let request = prompt.into();
    if decide(sensitivity).local_only {
        Clearance::LocalOnly(Cleared::new(request))
    } else {
        Clearance::Anywhere(Cleared::new(request))
    }
}

impl Clearance {
    /// Whether only local models may see the request.
    #[must_use]
    pub fn is_local_only(&self) -> bool {
        matches!(self, Self::LocalOnly(_))
    }

    /// The same with more turns at its end, and no wider: what a model is given back to go on from was made from the
    /// prompt.
    #[must_use]
    pub fn with(&self, turns: Vec<Turn>) -> Self {
        match self {
            Self::Anywhere(cleared) => Self::Anywhere(cleared.with(turns)),
            Self::LocalOnly(cleared) => Self::LocalOnly(cleared.with(turns)),
        }
    }

    /// What the request asks of a model.
    #[must_use]
    pub fn needs(&self) -> Needs<'_> {
        let request = match self {
            Self::Anywhere(cleared) => &cleared.request,
            Self::LocalOnly(cleared) => &cleared.request,
        };
        Needs::of(self.is_local_only(), request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{Block, Role};
    use crate::provider::samples;

    #[test]
    fn any_category_keeps_a_request_local_and_none_does_not() {
        use Sensitivity as S;
        for category in [S::Credentials, S::Financial, S::Health, S::PrivateStrategy, S::PersonalData] {
            let decision = decide(&[category]);
            assert!(decision.local_only, "{category:?}");
            assert!(decision.reasons[0].contains(category.as_str()));
        }
        assert!(!decide(&[]).local_only);
    }

    #[test]
    fn speakers_take_turns() {
        let say = |role, text: &str| Turn::new(role, vec![Block::Text(text.into())]);
        let cleared = clear(samples::conversation(), &[]);
        let told = |turns: Vec<Turn>| {
            let longer = cleared.with(turns);
            let turns = &longer.needs().prompt.expect("a prompt").turns;
            turns[2..].iter().map(|turn| (turn.role, turn.blocks.len())).collect::<Vec<_>>()
        };
        assert_eq!(told(vec![say(Role::User, "a")]), [(Role::User, 2)]);
        let both = vec![say(Role::Assistant, "a"), say(Role::User, "b")];
        assert_eq!(told(both), [(Role::User, 1), (Role::Assistant, 1), (Role::User, 1)]);
    }
}
