//! What the event of a call says besides who, when and where (docs/audit-events.md). Pure.
//!
//! Fields are in the order of their names, which is the order in which they are stored.

use std::time::Duration;

use serde::Serialize;

use super::call::{Ending, Facts, Running};
use crate::attempt::Attempt;
use crate::chat::StopReason;
use crate::price::{self, Charge};

/// Of a call that ended.
#[derive(Debug, Serialize)]
pub(super) struct Attributes<'a> {
    attempts: Vec<AttributesOfAttempt<'a>>,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    charge_is_estimate: Option<bool>,
    charged_usd_micros: Option<u64>,
    cost_usd_micros: Option<u64>,
    error: &'a str,
    input_tokens: u64,
    latency_ms: u64,
    local_only: bool,
    model: &'a str,
    output_tokens: u64,
    reasoning_output_tokens: u64,
    route: &'a str,
    sensitivity: &'a [&'static str],
    stop_reason: &'a str,
}

/// Of one attempt of it.
#[derive(Debug, Serialize)]
struct AttributesOfAttempt<'a> {
    charge_is_estimate: Option<bool>,
    charged_usd_micros: Option<u64>,
    cost_usd_micros: Option<u64>,
    error_kind: &'a str,
    http_status: u16,
    latency_ms: u64,
    model: &'a str,
    outcome: &'a str,
    waited_ms: u64,
}

/// Of a call whose router was killed.
#[derive(Debug, Serialize)]
pub(super) struct AttributesOfGone<'a> {
    attempts: Vec<Asked<'a>>,
    error: &'a str,
    local_only: bool,
    route: &'a str,
    sensitivity: &'a [&'static str],
}

/// One attempt of it, as far as it is known.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    model: &'a str,
    outcome: &'a str,
}

impl<'a> Attributes<'a> {
    /// `running`: the attempt that is not over, and `charge` what that is charged.
    pub(super) fn new(
        facts: &'a Facts,
        ending: &'a Ending,
        latency: Duration,
        attempts: &'a [Attempt],
        running: Option<&'a Running>,
        charge: Option<Charge>,
    ) -> Self {
        let usage = ending.usage;
        let over = attempts.iter().map(AttributesOfAttempt::over);
        let running = running.map(|running| AttributesOfAttempt::running(running, ending, charge));
        let charges = attempts.iter().map(|attempt| attempt.charge).chain([charge]);
        let charge = Charge::sum(&charges.collect::<Vec<_>>());
        Self {
            attempts: over.chain(running).collect(),
            cache_creation_input_tokens: usage.cache_creation_input_tokens,
            cache_read_input_tokens: usage.cache_read_input_tokens,
            charge_is_estimate: charge.map(|charge| charge.is_estimate),
            charged_usd_micros: charge.map(|charge| charge.usd_micros),
            cost_usd_micros: price::total(attempts.iter().map(|attempt| attempt.cost_usd_micros)),
            error: ending.error,
            input_tokens: usage.input_tokens,
            latency_ms: millis(latency),
            local_only: facts.local_only,
            model: &ending.model,
            output_tokens: usage.output_tokens,
            reasoning_output_tokens: usage.reasoning_output_tokens,
            route: &facts.route,
            sensitivity: &facts.sensitivity,
            stop_reason: ending.stop_reason.map_or("", StopReason::as_str),
        }
    }
}

impl<'a> AttributesOfAttempt<'a> {
    fn over(attempt: &'a Attempt) -> Self {
        let failure = attempt.failure.as_ref();
        Self {
            charge_is_estimate: attempt.charge.map(|charge| charge.is_estimate),
            charged_usd_micros: attempt.charge.map(|charge| charge.usd_micros),
            cost_usd_micros: attempt.cost_usd_micros,
            error_kind: failure.map_or("", |failure| failure.kind.as_str()),
            http_status: failure.map_or(200, |failure| failure.http_status),
            latency_ms: millis(attempt.latency),
            model: &attempt.model,
            outcome: attempt.outcome(),
            waited_ms: millis(attempt.waited),
        }
    }

    /// The call ended while this one ran; whether the provider did the work is not known.
    fn running(running: &'a Running, ending: &'a Ending, charge: Option<Charge>) -> Self {
        Self {
            charge_is_estimate: charge.map(|charge| charge.is_estimate),
            charged_usd_micros: charge.map(|charge| charge.usd_micros),
            cost_usd_micros: None,
            error_kind: ending.error,
            http_status: 0,
            latency_ms: millis(running.began.elapsed()),
            model: &running.model,
            outcome: "unknown",
            waited_ms: millis(running.waited),
        }
    }
}

impl<'a> AttributesOfGone<'a> {
    /// `asked`: the models that were asked, the last of which may have been working.
    pub(super) fn new(facts: &'a Facts, asked: impl Iterator<Item = &'a str>) -> Self {
        Self {
            attempts: asked.map(|model| Asked { model, outcome: "unknown" }).collect(),
            error: "ROUTER_GONE",
            local_only: facts.local_only,
            route: &facts.route,
            sensitivity: &facts.sensitivity,
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bulkhead_canonical_json as canonical;
    use jiff::Timestamp;

    use super::*;
    use crate::chat::Usage;
    use crate::failure::{Failure, Kind};

    fn facts() -> Facts {
        Facts {
            route: "default".into(),
            local_only: true,
            sensitivity: vec!["health", "financial"],
            deadline: Instant::now(),
        }
    }

    fn attempts() -> [Attempt; 2] {
        let failure = Failure { http_status: 429, ..Failure::without_response(Kind::RateLimited, "slowly") };
        let failed = Attempt { model: "primary".into(), failure: Some(failure), ..Attempt::default() };
        let answered = Attempt {
            model: "fallback".into(),
            waited: Duration::from_millis(5),
            latency: Duration::from_millis(70),
            cost_usd_micros: Some(3),
            charge: Some(Charge { usd_micros: 4, is_estimate: true }),
            ..Attempt::default()
        };
        [failed, answered]
    }

    #[test]
    fn an_event_says_what_the_table_of_kinds_names() {
        let (facts, attempts) = (facts(), attempts());
        let usage = Usage {
            input_tokens: 1,
            output_tokens: 2,
            cache_read_input_tokens: 3,
            cache_creation_input_tokens: 4,
            reasoning_output_tokens: 5,
        };
        let ending = Ending {
            outcome: "answered",
            model: "fallback".into(),
            usage,
            stop_reason: Some(StopReason::MaxTokens),
            error: "",
        };
        let said = Attributes::new(&facts, &ending, Duration::from_millis(80), &attempts, None, None);
        let expected = concat!(
            r#"{"attempts":[{"charge_is_estimate":null,"charged_usd_micros":null,"cost_usd_micros":null,"#,
            r#""error_kind":"RATE_LIMITED","http_status":429,"latency_ms":0,"model":"primary","#,
            r#""outcome":"transient","waited_ms":0},"#,
            r#"{"charge_is_estimate":true,"charged_usd_micros":4,"cost_usd_micros":3,"error_kind":"","#,
            r#""http_status":200,"latency_ms":70,"model":"fallback","outcome":"answered","waited_ms":5}],"#,
            r#""cache_creation_input_tokens":4,"cache_read_input_tokens":3,"charge_is_estimate":true,"#,
            r#""charged_usd_micros":4,"cost_usd_micros":3,"error":"","input_tokens":1,"latency_ms":80,"#,
            r#""local_only":true,"model":"fallback","output_tokens":2,"reasoning_output_tokens":5,"#,
            r#""route":"default","sensitivity":["health","financial"],"stop_reason":"max_tokens"}"#,
        );
        assert_eq!(canonical::of(&said).expect("canonical"), expected);
        let fields = serde_json::to_string(&said).expect("json");
        assert_eq!(fields, expected, "fields are declared in the order of their names");
    }

    #[test]
    fn an_attempt_that_is_not_over_says_why_and_what_it_is_charged() {
        let (facts, began) = (facts(), Instant::now());
        let (waited, start) = (Duration::from_secs(1), Timestamp::UNIX_EPOCH);
        let running = Running { model: "primary".into(), waited, start, began };
        let ending = Ending { outcome: "failed", error: "CALLER_GONE", ..Ending::default() };
        let charge = Some(Charge { usd_micros: 9, is_estimate: true });
        let said = Attributes::new(&facts, &ending, Duration::ZERO, &[], Some(&running), charge);
        let mut said = serde_json::to_value(&said).expect("json");
        assert_eq!((&said["charged_usd_micros"], &said["cost_usd_micros"]), (&9.into(), &().into()));
        said["attempts"][0]["latency_ms"] = 0.into();
        let expected = serde_json::json!([{
            "model": "primary",
            "outcome": "unknown",
            "http_status": 0,
            "error_kind": "CALLER_GONE",
            "waited_ms": 1_000,
            "latency_ms": 0,
            "cost_usd_micros": null,
            "charged_usd_micros": 9,
            "charge_is_estimate": true,
        }]);
        assert_eq!(said["attempts"], expected);
    }

    #[test]
    fn a_call_whose_router_is_gone_names_the_models_that_were_asked() {
        let facts = facts();
        let said = AttributesOfGone::new(&facts, ["primary", "fallback"].into_iter());
        let expected = concat!(
            r#"{"attempts":[{"model":"primary","outcome":"unknown"},{"model":"fallback","outcome":"unknown"}],"#,
            r#""error":"ROUTER_GONE","local_only":true,"route":"default","sensitivity":["health","financial"]}"#,
        );
        assert_eq!(serde_json::to_string(&said).expect("json"), expected);
    }
}
