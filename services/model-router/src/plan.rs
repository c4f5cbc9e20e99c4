//! Which models a request would be sent to now, in which order, and why not to the others. Pure; what
//! ExplainRoute prints is what Generate follows, but for the dice of a tier whose models share their requests.

use std::time::{Duration, Instant};

use crate::balance::{self, Balance, Draw, Member};
use crate::chat::Prompt;
use crate::health::{Block, ModelState};
use crate::limit::minute::Fit;
use crate::tokens::{Measured, Size};

/// What a request asks of a model.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'p> {
    /// Only local models may see it.
    pub local_only: bool,
    /// The request; none where only its route is known.
    pub prompt: Option<&'p Prompt>,
    /// How much it is, by estimate.
    pub size: Size,
}

impl<'p> Needs<'p> {
    /// Of a request, or of one of which only the route is known.
    #[must_use]
    pub fn new(local_only: bool, prompt: Option<&'p Prompt>) -> Self {
        Self { local_only, prompt, size: prompt.map(Size::of).unwrap_or_default() }
    }

    /// Of a request that was measured.
    #[must_use]
    pub fn of(local_only: bool, request: &'p Measured) -> Self {
        Self { local_only, prompt: Some(request.prompt()), size: request.size() }
    }
}

/// A request that surely does not fit a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlong {
    /// How much it is, by estimate.
    pub size: Size,
    /// What the model has for prompt and answer.
    pub window_tokens: u64,
}

/// A model of a chain as the plan sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Place in the configuration.
    pub index: usize,
    /// Name in the configuration.
    pub name: String,
    /// Marked local.
    pub local: bool,
    /// Attempts that one request may make.
    pub attempts_max: u32,
    /// Its share of the requests of its tier.
    pub weight: u32,
    /// Fields that the request sets and the model's provider has no words for.
    pub inexpressible: Vec<&'static str>,
    /// The request surely does not fit.
    pub overlong: Option<Overlong>,
    /// What is known of it.
    pub state: ModelState,
    /// Whether its limits have room for the request.
    pub room: Fit,
}

/// The order of things.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Tried in this order.
    pub planned: Vec<Planned>,
    /// Not tried.
    pub excluded: Vec<Excluded>,
}

/// A model that would be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Place in the order of the chain.
    pub rank: usize,
    /// Place in the configuration.
    pub index: usize,
    /// Name in the configuration.
    pub name: String,
    /// Marked local.
    pub local: bool,
    /// At most this many attempts.
    pub attempts_max: u32,
    /// How long its server still wants to be left alone, or its limit has no room; zero in general.
    pub wait: Duration,
}

/// A model that would not be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excluded {
    /// Place in the order of the chain; 0 for a model that is looked at alone.
    pub rank: usize,
    /// Name in the configuration.
    pub name: String,
    /// Why.
    pub reason: Reason,
    /// When it may be tried again; none: not as long as the request is what it is.
    pub until: Option<Instant>,
    /// For a person.
    pub detail: String,
}

/// Why a model is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The request is local-only and the model is not local.
    NotLocal,
    /// The request sets fields that the model's provider has no words for.
    NotExpressible(Vec<&'static str>),
    /// The request surely does not fit into it.
    ContextLength,
    /// It failed in a way that will last, or too often.
    MarkedUnusable,
    /// Its server asked for a wait beyond our patience.
    DelayedByServer,
    /// A limit that is set for it here, or that its provider says is used up, has no room within our patience.
    RateLimitedHere,
    /// A budget does not pay for it.
    BudgetExhausted,
    /// It may cost more than the request allows.
    CostLimitReached,
}

/// What stands against a model that could be asked otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// When it may be asked after all, if that is known.
    pub until: Option<Instant>,
    /// For a person.
    pub detail: String,
}

impl Reason {
    /// The stable word of the contract.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NotLocal => "NOT_LOCAL",
            Self::NotExpressible(_) => "NOT_EXPRESSIBLE",
            Self::ContextLength => "CONTEXT_LENGTH",
            Self::MarkedUnusable => "MARKED_UNUSABLE",
            Self::DelayedByServer => "DELAYED_BY_SERVER",
            Self::RateLimitedHere => "RATE_LIMITED_HERE",
            Self::BudgetExhausted => "BUDGET_EXHAUSTED",
            Self::CostLimitReached => "COST_LIMIT_REACHED",
        }
    }
}

impl Plan {
    /// Whether a model that is too small comes before the first that would be asked.
    #[must_use]
    pub fn is_first_choice_too_small(&self) -> bool {
        let first = self.planned.first().map_or(usize::MAX, |planned| planned.rank);
        self.excluded.iter().any(|excluded| excluded.reason == Reason::ContextLength && excluded.rank < first)
    }

    /// The same for a route where what is too long for one model is asked of no other.
    #[must_use]
    pub fn ended_by_length(self) -> Self {
        if !self.is_first_choice_too_small() {
            return self;
        }
        let detail = "the request does not fit into the model before it, and the route asks no other then";
        self.without(|_| {
            Some(Denial { reason: Reason::ContextLength, until: None, detail: detail.to_owned() })
        })
    }

    /// The same without the models that something stands against. A request finds out on its way, model by model, because
    /// others spend meanwhile; who only wants to know is told beforehand.
    #[must_use]
    pub fn without(self, denied: impl Fn(usize) -> Option<Denial>) -> Self {
        let mut plan = Self { planned: Vec::new(), excluded: self.excluded };
        for planned in self.planned {
            match denied(planned.index) {
                None => plan.planned.push(planned),
                Some(Denial { reason, until, detail }) => {
                    let Planned { rank, name, .. } = planned;
                    plan.excluded.push(Excluded { rank, name, reason, until, detail });
                }
            }
        }
        plan.excluded.sort_by_key(|excluded| excluded.rank);
        plan
    }
}

/// Puts the models of each tier in order.
#[must_use]
pub fn chain(tiers: Vec<Vec<Candidate>>, balance: Balance, draw: Draw<'_>) -> Vec<Candidate> {
    tiers.into_iter().flat_map(|tier| in_order(tier, balance, draw)).collect()
}

fn in_order(tier: Vec<Candidate>, balance: Balance, draw: Draw<'_>) -> Vec<Candidate> {
    let members = tier.iter().map(|candidate| Member {
        name: &candidate.name,
        weight: candidate.weight,
        in_flight: candidate.state.in_flight(),
    });
    let places = balance::order(&members.collect::<Vec<_>>(), balance, draw);
    let mut tier: Vec<_> = tier.into_iter().map(Some).collect();
    places.into_iter().filter_map(|place| tier.get_mut(place)?.take()).collect()
}

/// Sorts a chain.
#[must_use]
pub fn plan(chain: &[Candidate], local_only: bool, patience: Duration, now: Instant) -> Plan {
    let mut plan = Plan::default();
    for (rank, candidate) in chain.iter().enumerate() {
        match judge(candidate, local_only, patience, now) {
            Ok(wait) => plan.planned.push(Planned {
                rank,
                index: candidate.index,
                name: candidate.name.clone(),
                local: candidate.local,
                attempts_max: candidate.attempts_max,
                wait,
            }),
            Err(excluded) => plan.excluded.push(Excluded { rank, ..excluded }),
        }
    }
    plan
}

/// Whether one model may be tried, and after which wait.
///
/// # Errors
/// Why it may not.
pub fn judge(
    candidate: &Candidate,
    local_only: bool,
    patience: Duration,
    now: Instant,
) -> Result<Duration, Excluded> {
    let excluded = |reason, until, detail: String| {
        Err(Excluded { rank: 0, name: candidate.name.clone(), reason, until, detail })
    };
    if local_only && !candidate.local {
        return excluded(Reason::NotLocal, None, "only local models may see the request".to_owned());
    }
    if !candidate.inexpressible.is_empty() {
        let fields = candidate.inexpressible.clone();
        let detail = format!("its provider has no words for {}", fields.join(", "));
        return excluded(Reason::NotExpressible(fields), None, detail);
    }
    if let Some(overlong) = candidate.overlong {
        return excluded(Reason::ContextLength, None, too_long(overlong));
    }
    if let Some(block) = candidate.state.block(now) {
        // Its server may want to be left alone for longer than that.
        let until = block.until().max(now + candidate.state.delay(now));
        return excluded(Reason::MarkedUnusable, Some(until), explain(block, now));
    }
    let wait = candidate.state.delay(now);
    if wait > patience {
        let detail = format!(
            "its server asked not to be called for {} ms more; patience is {} ms",
            wait.as_millis(),
            patience.as_millis()
        );
        return excluded(Reason::DelayedByServer, Some(now + wait), detail);
    }
    let room = match candidate.room {
        Fit::Now => Duration::ZERO,
        Fit::At(until) => until.saturating_duration_since(now),
        Fit::Never => {
            let detail = "the request is more than its limit has in a whole minute".to_owned();
            return excluded(Reason::RateLimitedHere, None, detail);
        }
    };
    if room > patience {
        let (left, patience) = (room.as_millis(), patience.as_millis());
        let detail = format!("its limit has no room for {left} ms more; patience is {patience} ms");
        return excluded(Reason::RateLimitedHere, Some(now + room), detail);
    }
    Ok(wait.max(room))
}

fn too_long(Overlong { size, window_tokens }: Overlong) -> String {
    let prompt = format!("the prompt has some {} tokens", size.prompt_tokens);
    let answer =
        size.answer_tokens_max.map_or_else(String::new, |max| format!(" and the answer may have {max}"));
    format!("{prompt}{answer}; its context window has {window_tokens}")
}

fn explain(block: Block, now: Instant) -> String {
    let left = block.until().saturating_duration_since(now).as_millis();
    match block {
        Block::Marked(kind, _) => format!("it answered {}; tried again in {left} ms", kind.as_str()),
        Block::CircuitOpen(class, _) => {
            format!("it failed too often in a row ({}); probed in {left} ms", class.as_str())
        }
        Block::Probed(_) => "another request is finding out whether it is back".to_owned(),
    }
}

#[cfg(test)]
mod tests;
