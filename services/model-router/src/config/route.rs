//! One `[[model-router.route]]`.

use std::time::Duration;

use bulkhead_edge::settings::{OneOrMore, Table};

use super::name;
use crate::balance::Balance;
use crate::listener::Recovery;
use crate::price::COST_USD_MICROS_MAX;
use crate::spend::{ATTEMPTS_MAX, Caps};

/// A configured route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Unique.
    pub name: String,
    /// Places in the list of models, first choice first; the models of one tier share its requests.
    pub tiers: Vec<Vec<usize>>,
    /// How they share them.
    pub balance: Balance,
    /// What becomes of a stream whose model fails after its first token.
    pub recovery: Recovery,
    /// What else the next model is asked for.
    pub fallbacks: Fallbacks,
    /// In place of the models' own limits.
    pub timeouts: Timeouts,
    /// What a request that does not say may take.
    pub caps: Caps,
}

/// Answers of a model, and errors about the request, after which the next one is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallbacks {
    /// It declined.
    pub on_refusal: bool,
    /// The request does not fit into it.
    pub on_context_length: bool,
}

/// How long an attempt may take; none: as the model says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Without streaming, in all.
    pub request: Option<Duration>,
    /// Of a stream, until its first token.
    pub first_token: Option<Duration>,
    /// Of a stream that has begun, between two pieces.
    pub idle: Option<Duration>,
}

impl RouteConfig {
    /// Reads a route; `seen` are the names of the routes before it.
    pub(super) fn read(table: &mut Table<'_>, models: &[String], seen: &mut Vec<String>) -> Option<Self> {
        let name = name(table, seen, "What requests call the route; unique.");
        let chain = table.required::<Vec<OneOrMore<String>>>(
            "chain",
            "Names of models, first choice first. A list in it is a tier, whose models share its requests.",
        );
        let balance = table.choice_or(
            "balance",
            ("weighted", Balance::Weighted),
            [("least-in-flight", Balance::LeastInFlight), ("sticky", Balance::Sticky)],
            "How the models of a tier share its requests: by their weight, the less busy of two, or each session by \
             one of them. By weight: it needs no knowledge that others lack.",
        );
        let recovery = table.choice_or(
            "stream_recovery",
            ("restart", Recovery::Restart),
            [("continue", Recovery::Continue), ("fail", Recovery::Fail)],
            "What becomes of a stream whose model fails after its first token: the next model begins anew and the \
             caller is told what to discard, or goes on from what there is, or the stream fails. Beginning anew: no \
             answer is of two minds.",
        );
        let fallbacks = Fallbacks {
            on_refusal: table.or(
                "fallback_on_refusal",
                false,
                "Asks the next model when one declines. Not: a refusal is an answer, and shopping around for another is \
                 a decision.",
            ),
            on_context_length: table.or(
                "fallback_on_context_length",
                true,
                "Asks the next model when a request is too long for one. It may have more room.",
            ),
        };
        let timeouts = Timeouts {
            request: limit(table, "request_timeout_ms", "How long an attempt without streaming may take."),
            first_token: limit(
                table,
                "first_token_timeout_ms",
                "How long a stream may take until its first token.",
            ),
            idle: limit(table, "idle_timeout_ms", "How long a stream that has begun may be silent."),
        };
        let caps = caps(table);
        let tiers = tiers(table, &chain?, models);
        Some(Self { name: name?, tiers, balance: balance?, recovery: recovery?, fallbacks, timeouts, caps })
    }

    /// Every model of the route, first choice first.
    pub fn models(&self) -> impl Iterator<Item = usize> {
        self.tiers.iter().flatten().copied()
    }
}

fn caps(table: &mut Table<'_>) -> Caps {
    Caps {
        attempts_max: table.optional_number(
            "attempts_max",
            1..=ATTEMPTS_MAX,
            "Attempts of one request in all, over retries, models and repairs; none: what each model allows.",
        ),
        cost_usd_micros_max: table.optional_number(
            "cost_usd_micros_max",
            0..=COST_USD_MICROS_MAX,
            "What one request may cost in all, in millionths of a US dollar, by estimate before and by usage after each \
             attempt; none: any amount.",
        ),
    }
}

fn limit(table: &mut Table<'_>, key: &'static str, what: &'static str) -> Option<Duration> {
    table.optional_number(key, 1..=600_000, what).map(Duration::from_millis)
}

fn tiers(table: &mut Table<'_>, wanted: &[OneOrMore<String>], models: &[String]) -> Vec<Vec<usize>> {
    if wanted.is_empty() || wanted.iter().any(|tier| tier.0.is_empty()) {
        table.mistake("chain", "must name at least one model, and so must each list in it");
    }
    let mut seen = Vec::new();
    wanted.iter().map(|tier| places(table, tier, models, &mut seen)).collect()
}

fn places(
    table: &mut Table<'_>,
    tier: &OneOrMore<String>,
    models: &[String],
    seen: &mut Vec<usize>,
) -> Vec<usize> {
    let mut places = Vec::new();
    for name in &tier.0 {
        match models.iter().position(|model| model == name) {
            None => table.mistake("chain", format!("{name:?} is no model; there are {}", models.join(", "))),
            Some(place) if seen.contains(&place) => {
                let hint = "use attempts_max for more attempts";
                table.mistake("chain", format!("{name:?} is there twice; {hint}"));
            }
            Some(place) => {
                seen.push(place);
                places.push(place);
            }
        }
    }
    places
}
