//! `plan → attempt* → check → answer`: follows the plan, model by model, within the caller's time.

mod asking;
mod run;
mod telling;

use std::time::{Duration, Instant};

use crate::attempt::Attempt;
use crate::balance::Draw;
use crate::catalog::Catalog;
use crate::chat::Answer;
use crate::config::RouteConfig;
use crate::failure::Failure;
use crate::meter::Denied;
use crate::output::Flaw;
use crate::plan::{Excluded, Needs, Plan, Reason};

pub(crate) use run::Run;

/// Told to callers when no better time is known.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What a route answered.
#[derive(Debug)]
pub(crate) struct Answered {
    /// Name of the configured model.
    pub(crate) model: String,
    pub(crate) answer: Answer,
    /// What a response format asked for; empty otherwise.
    pub(crate) structured_json: String,
    /// A later model went on where an earlier one broke off.
    pub(crate) continued: bool,
}

/// Why a route did not answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// Only local models may see the request, and the route has none.
    NoLocalModel { excluded: Vec<Excluded> },
    /// Only local models may see the request, and none can be tried now.
    LocalModelsDown { excluded: Vec<Excluded>, retry_after: Duration },
    /// No model that may see the request can be told all that it asks for.
    NotExpressible { excluded: Vec<Excluded> },
    /// A model failed after something of its answer was given, and nothing may follow.
    Broken(Failure),
    /// Models answered, and never what was asked for; what was wrong with the last answer. No other will do it later.
    OutputInvalid(Flaw),
    /// It does not fit into any model that may see it; nothing was sent.
    TooLong { excluded: Vec<Excluded> },
    /// A budget or the request's own caps stand against the models that are left.
    Denied(Denied),
    /// The request itself is wrong, or too long for every model.
    Rejected,
    /// Every model was tried or left out; what was wrong with the last answer, where one answered and another may later.
    Exhausted { excluded: Vec<Excluded>, retry_after: Duration, flaw: Option<Flaw> },
    /// The caller's time is over.
    Deadline,
}

impl Unanswered {
    /// Whether nothing was sent because of what the request is.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NoLocalModel { .. }
            | Self::NotExpressible { .. }
            | Self::TooLong { .. }
            | Self::Denied(_) => true,
            Self::LocalModelsDown { .. }
            | Self::Broken(_)
            | Self::OutputInvalid(_)
            | Self::Rejected
            | Self::Exhausted { .. }
            | Self::Deadline => false,
        }
    }

    /// The stable reason of the contract.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NoLocalModel { .. } => "NO_LOCAL_MODEL",
            Self::LocalModelsDown { .. } => "LOCAL_MODELS_DOWN",
            Self::NotExpressible { .. } => "REQUEST_NOT_EXPRESSIBLE",
            Self::Broken(_) => "STREAM_BROKEN",
            Self::OutputInvalid(_) => "OUTPUT_INVALID",
            Self::Denied(Denied::Cap(_)) => "COST_LIMIT_REACHED",
            Self::Denied(Denied::Exhausted(_)) => "BUDGET_EXHAUSTED",
            Self::TooLong { .. } | Self::Rejected => "REQUEST_REJECTED_BY_MODEL",
            Self::Exhausted { .. } => "NO_MODEL_ANSWERED",
            Self::Deadline => "DEADLINE_EXCEEDED",
        }
    }
}

/// The plan that a request would follow now; it names at least one model.
pub(crate) fn plan(
    catalog: &Catalog,
    route: &RouteConfig,
    needs: Needs<'_>,
    draw: Draw<'_>,
) -> Result<Plan, Unanswered> {
    let now = Instant::now();
    let local_only = needs.local_only;
    let plan = catalog.plan(route, needs, draw, now);
    if !route.fallbacks.on_context_length && plan.is_first_choice_too_small() {
        return Err(Unanswered::TooLong { excluded: plan.excluded });
    }
    if !plan.planned.is_empty() {
        return Ok(plan);
    }
    if is_inexpressible(&plan.excluded) {
        return Err(Unanswered::NotExpressible { excluded: plan.excluded });
    }
    if is_too_long(&plan.excluded) {
        return Err(Unanswered::TooLong { excluded: plan.excluded });
    }
    let retry_after = earliest(&plan.excluded, now);
    match (local_only, retry_after) {
        (false, _) => Err(exhausted(plan.excluded, retry_after)),
        (true, None) => Err(Unanswered::NoLocalModel { excluded: plan.excluded }),
        (true, Some(delay)) => {
            Err(Unanswered::LocalModelsDown { excluded: plan.excluded, retry_after: delay.max(RETRY_DELAY) })
        }
    }
}

/// Whether every model that may see the request was left out for what it asks for.
fn is_inexpressible(excluded: &[Excluded]) -> bool {
    let mut cleared = excluded.iter().filter(|excluded| excluded.reason != Reason::NotLocal).peekable();
    cleared.peek().is_some() && cleared.all(|excluded| matches!(excluded.reason, Reason::NotExpressible(_)))
}

/// Whether no model that may see the request will ever take it, and for some it is too long: for what they have of a
/// window, or of a minute.
fn is_too_long(excluded: &[Excluded]) -> bool {
    let mut cleared = excluded.iter().filter(|excluded| excluded.reason != Reason::NotLocal);
    let too_long = |reason: &Reason| matches!(reason, Reason::ContextLength | Reason::RateLimitedHere);
    cleared.clone().any(|excluded| too_long(&excluded.reason))
        && cleared.all(|excluded| {
            let is_cause = too_long(&excluded.reason) || matches!(excluded.reason, Reason::NotExpressible(_));
            is_cause && excluded.until.is_none()
        })
}

fn exhausted(excluded: Vec<Excluded>, retry_after: Option<Duration>) -> Unanswered {
    let retry_after = retry_after.unwrap_or_default().max(RETRY_DELAY);
    Unanswered::Exhausted { excluded, retry_after, flaw: None }
}

/// A plan without the models that money stands against; it still names at least one.
pub(crate) fn affordable(
    plan: Plan,
    catalog: &Catalog,
    against: impl Fn(usize) -> Option<Denied>,
    now: Instant,
) -> Result<Plan, Unanswered> {
    let denials: Vec<Denied> = plan.planned.iter().filter_map(|planned| against(planned.index)).collect();
    match denials.last() {
        Some(last) if denials.len() == plan.planned.len() => {
            Err(denied(last.clone(), catalog, &[], plan, against, now))
        }
        Some(_) | None => Ok(plan.without(|model| against(model).and_then(|denied| denied.told(now)))),
    }
}

/// Money stands against models of the plan. Whether that is the last word depends on those that it does not stand against.
fn denied(
    denied: Denied,
    catalog: &Catalog,
    attempts: &[Attempt],
    plan: Plan,
    against: impl Fn(usize) -> Option<Denied>,
    now: Instant,
) -> Unanswered {
    let place = |name: &str| catalog.models().iter().position(|model| model.name == name);
    let pays = |name: &str| place(name).is_some_and(|model| against(model).is_none());
    match paid_later(attempts, &plan, pays, now) {
        Some(wait) => {
            let told = |model| against(model).and_then(|denied| denied.told(now));
            exhausted(plan.without(told).excluded, Some(wait))
        }
        None => Unanswered::Denied(denied),
    }
}

/// When the first model may answer that was not heard: because it failed last in a way that may pass, or is left out for a
/// time. None: those that answered wrong are all there are, or the request's own caps kept the others from being asked.
fn heard_later(attempts: &[Attempt], plan: &Plan, now: Instant) -> Option<Duration> {
    let planned = |name: &str| may_pass(attempts, name) == Some(true);
    soonest(plan, planned, |name| may_pass(attempts, name) != Some(false), now)
}

/// The same where money stood against a model. Of those that it does not stand against, one that was not asked had no place
/// in time, and may be heard later too.
fn paid_later(
    attempts: &[Attempt],
    plan: &Plan,
    pays: impl Fn(&str) -> bool,
    now: Instant,
) -> Option<Duration> {
    let may = |name: &str| may_pass(attempts, name) != Some(false) && pays(name);
    soonest(plan, may, may, now)
}

/// Whether the last attempt with a model failed in a way that may pass; none: there was none.
fn may_pass(attempts: &[Attempt], name: &str) -> Option<bool> {
    let last = attempts.iter().rfind(|attempt| attempt.model == name);
    last.map(|attempt| attempt.failure.as_ref().is_some_and(|failure| failure.kind.may_pass()))
}

/// When the first of these models may be asked.
fn soonest(
    plan: &Plan,
    planned: impl Fn(&str) -> bool,
    excluded: impl Fn(&str) -> bool,
    now: Instant,
) -> Option<Duration> {
    let planned = plan.planned.iter().filter(|model| planned(&model.name)).map(|model| model.wait);
    let excluded = plan.excluded.iter().filter(|model| excluded(&model.name));
    let rests = excluded.filter_map(|model| model.until);
    planned.chain(rests.map(|until| until.saturating_duration_since(now))).min()
}

/// When the first of the excluded models may be tried again.
fn earliest(excluded: &[Excluded], now: Instant) -> Option<Duration> {
    excluded
        .iter()
        .filter_map(|excluded| excluded.until)
        .min()
        .map(|until| until.saturating_duration_since(now))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;
    use crate::plan::Planned;

    #[test]
    fn waiting_helps_where_a_model_was_not_heard_that_may_be_heard_later() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let attempt = |model: &str, kind| Attempt {
            model: model.into(),
            failure: Some(Failure::without_response(kind, "")),
            ..Attempt::default()
        };
        let planned = |name: &str, wait| Planned {
            rank: 0,
            index: 0,
            name: name.into(),
            local: false,
            attempts_max: 1,
            wait: seconds(wait),
        };
        let excluded = |name: &str, until: Option<u64>| Excluded {
            rank: 0,
            name: name.into(),
            reason: Reason::MarkedUnusable,
            until: until.map(|until| now + seconds(until)),
            detail: String::new(),
        };
        let both = || vec![planned("a", 0), planned("b", 7)];
        let wrong = || attempt("a", Kind::Unfit);
        let cases = [
            ("all were wrong", vec![wrong(), attempt("b", Kind::Unfit)], both(), vec![], None),
            ("one failed", vec![wrong(), attempt("b", Kind::Overloaded)], both(), vec![], Some(7)),
            ("one was silent", vec![wrong(), attempt("b", Kind::Silence)], both(), vec![], Some(7)),
            ("one has a wrong key", vec![wrong(), attempt("b", Kind::Unauthenticated)], both(), vec![], None),
            (
                "it failed while it was to mend",
                vec![wrong(), attempt("a", Kind::Reset)],
                both(),
                vec![],
                Some(0),
            ),
            (
                "it was wrong after it failed",
                vec![attempt("a", Kind::Reset), wrong()],
                vec![planned("a", 0)],
                vec![],
                None,
            ),
            ("one rests", vec![wrong()], vec![planned("a", 0)], vec![excluded("b", Some(9))], Some(9)),
            ("one was not asked", vec![wrong()], both(), vec![], None),
            ("one will never do", vec![wrong()], vec![planned("a", 0)], vec![excluded("b", None)], None),
        ];
        for (what, attempts, planned, excluded, wait) in cases {
            let told = heard_later(&attempts, &Plan { planned, excluded }, now);
            assert_eq!(told, wait.map(seconds), "{what}");
        }
        // Money stands against the second.
        let down = || attempt("a", Kind::Overloaded);
        let rests = |until| vec![excluded("a", until)];
        let cases = [
            ("the other one failed", vec![down()], both(), vec![], Some(0)),
            ("it has a wrong key", vec![attempt("a", Kind::Unauthenticated)], both(), vec![], None),
            ("there was no time for it", vec![], both(), vec![], Some(0)),
            ("it rests", vec![], vec![planned("b", 0)], rests(Some(9)), Some(9)),
            ("it will never do", vec![], vec![planned("b", 0)], rests(None), None),
            ("there is none", vec![], vec![planned("b", 0)], vec![excluded("b", Some(3))], None),
        ];
        for (what, attempts, planned, excluded, wait) in cases {
            let told = paid_later(&attempts, &Plan { planned, excluded }, |name| name != "b", now);
            assert_eq!(told, wait.map(seconds), "{what}");
        }
    }
}
