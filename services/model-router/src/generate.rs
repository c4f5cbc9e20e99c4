//! `plan → attempt* → answer`: follows the plan, model by model, within the caller's time.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::attempt::Attempt;
use crate::budget::Paid;
use crate::catalog::Catalog;
use crate::chat::Answer;
use crate::clearance::Clearance;
use crate::config::RouteConfig;
use crate::failure::{Failure, Kind};
use crate::health::Turn;
use crate::metrics;
use crate::output::{Flaw, Rules};
use crate::plan::{Excluded, Needs, Plan, Planned, Reason};
use crate::record::CallRecord;
use crate::schedule::{self, GiveUp, Next, Repairs, Situation, Slot};
use crate::upstream::{Brief, Target};

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
}

/// Why an attempt gave no answer.
#[derive(Debug)]
struct Failed {
    failure: Failure,
    /// What the model can be told to do better.
    flaw: Option<Flaw>,
}

/// What one model did with a request so far.
#[derive(Debug, Default)]
struct Tally {
    attempts: u32,
    repairs: u32,
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
    /// Models answered, and never what was asked for; what was wrong with the last answer.
    OutputInvalid(Flaw),
    /// It does not fit into any model that may see it; nothing was sent.
    TooLong { excluded: Vec<Excluded> },
    /// The request itself is wrong, or too long for every model.
    Rejected,
    /// Every model was tried or left out.
    Exhausted { excluded: Vec<Excluded>, retry_after: Duration },
    /// The caller's time is over.
    Deadline,
}

impl Unanswered {
    /// Whether nothing was sent because of what the request is.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::NoLocalModel { .. } | Self::NotExpressible { .. } | Self::TooLong { .. } => true,
            Self::LocalModelsDown { .. }
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
            Self::OutputInvalid(_) => "OUTPUT_INVALID",
            Self::TooLong { .. } | Self::Rejected => "REQUEST_REJECTED_BY_MODEL",
            Self::Exhausted { .. } => "NO_MODEL_ANSWERED",
            Self::Deadline => "DEADLINE_EXCEEDED",
        }
    }
}

/// One request on its way through a route.
pub(crate) struct Run<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) clearance: &'a Clearance,
    pub(crate) rules: &'a Rules,
    pub(crate) deadline: Instant,
    pub(crate) record: &'a mut CallRecord,
    /// Of the last answer that was not what was asked for.
    pub(crate) flaw: Option<Flaw>,
}

/// The plan that a request would follow now; it names at least one model.
pub(crate) fn plan(catalog: &Catalog, route: &RouteConfig, needs: Needs<'_>) -> Result<Plan, Unanswered> {
    let now = Instant::now();
    let local_only = needs.local_only;
    let plan = catalog.plan(route, needs, now);
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
    match retry_after {
        None if local_only => Err(Unanswered::NoLocalModel { excluded: plan.excluded }),
        Some(delay) if local_only => {
            Err(Unanswered::LocalModelsDown { excluded: plan.excluded, retry_after: delay.max(RETRY_DELAY) })
        }
        _ => Err(exhausted(plan.excluded, retry_after)),
    }
}

/// Whether every model that may see the request was left out for what it asks for.
fn is_inexpressible(excluded: &[Excluded]) -> bool {
    let mut cleared = excluded.iter().filter(|excluded| excluded.reason != Reason::NotLocal).peekable();
    cleared.peek().is_some() && cleared.all(|excluded| matches!(excluded.reason, Reason::NotExpressible(_)))
}

/// Whether no model that may see the request will ever take it, and for some it is too long.
fn is_too_long(excluded: &[Excluded]) -> bool {
    let mut cleared = excluded.iter().filter(|excluded| excluded.reason != Reason::NotLocal);
    cleared.clone().any(|excluded| excluded.reason == Reason::ContextLength)
        && cleared
            .all(|excluded| matches!(excluded.reason, Reason::ContextLength | Reason::NotExpressible(_)))
}

impl<'a> Run<'a> {
    /// Tries the planned models in order until one answers.
    pub(crate) async fn follow(mut self, route: &RouteConfig) -> Result<Answered, Unanswered> {
        let plan = plan(self.catalog, route, self.clearance.needs())?;
        for (at, planned) in plan.planned.iter().enumerate() {
            let models_left = plan.planned.len() - at;
            if let ControlFlow::Break(end) = self.try_model(planned, models_left).await {
                return end;
            }
        }
        Err(self.unanswered(route))
    }

    async fn try_model(
        &mut self,
        planned: &Planned,
        models_left: usize,
    ) -> ControlFlow<Result<Answered, Unanswered>> {
        let mut asked = Cow::Borrowed(self.clearance);
        let (mut pause, mut retry, mut tally) = (Duration::ZERO, None, Tally::default());
        while let Some((turn, waited)) = self.take_turn(planned, retry.take(), pause).await {
            let attempt = Attempting {
                index: planned.index,
                asked: &asked,
                waited,
                models_left,
                repair: tally.repairs > 0,
            };
            let Failed { failure, flaw } = match self.attempt(attempt, turn).await {
                Ok((answer, structured_json)) => {
                    let model = planned.name.clone();
                    return ControlFlow::Break(Ok(Answered { model, answer, structured_json }));
                }
                Err(failed) => failed,
            };
            tally.attempts += 1;
            let next = self.next(planned, &tally, &failure, flaw.is_some());
            tracing::warn!(
                model = planned.name,
                attempt = tally.attempts + tally.repairs,
                error_kind = failure.kind.as_str(),
                http_status = failure.http_status,
                error = failure.message,
                ?next,
                "an attempt failed"
            );
            match next {
                Next::RetryAfter(wait, paid) => (pause, retry) = (wait, Some(paid)),
                Next::Repair => {
                    tally = Tally { attempts: tally.attempts - 1, repairs: tally.repairs + 1 };
                    pause = Duration::ZERO;
                    asked = Cow::Owned(self.clearance.with(flaw.iter().flat_map(Flaw::repair).collect()));
                }
                Next::NextModel => {
                    self.flaw = flaw.or(self.flaw.take());
                    break;
                }
                Next::GiveUp(GiveUp::Rejected) => return ControlFlow::Break(Err(Unanswered::Rejected)),
                Next::GiveUp(GiveUp::Deadline) => return ControlFlow::Break(Err(Unanswered::Deadline)),
            }
        }
        ControlFlow::Continue(())
    }

    /// Waits until the model may be touched, by our own schedule and by what its server told anybody. None:
    /// that is too late, or it was marked in the meantime.
    async fn take_turn(
        &self,
        planned: &Planned,
        retry: Option<Paid>,
        pause: Duration,
    ) -> Option<(Turn<'a>, Duration)> {
        let began = Instant::now();
        let mut pause = pause;
        loop {
            let now = Instant::now();
            let held =
                self.catalog.judge(planned.index, self.clearance.needs(), now).inspect_err(|excluded| {
                    tracing::info!(
                        model = planned.name,
                        reason = excluded.reason.as_str(),
                        "a model is skipped"
                    );
                });
            let held = held.ok()?;
            if pause.is_zero() && !held.is_zero() {
                // Whoever waits for the same moment must not come in the same moment.
                pause = held + self.catalog.policy().base.mul_f64(rand::random());
            }
            let due = held.max(pause.saturating_sub(now.duration_since(began)));
            if due.is_zero() || bulkhead_failpoint::active("router.skip_delay") {
                let turn = self.catalog.health().begin(planned.index, retry, now)?;
                return Some((turn, began.elapsed()));
            }
            if due >= self.remaining() {
                tracing::info!(model = planned.name, due_ms = %due.as_millis(), "no time to wait for a model");
                return None;
            }
            tokio::time::sleep(due).await;
        }
    }

    async fn attempt(
        &mut self,
        attempting: Attempting<'_>,
        turn: Turn<'a>,
    ) -> Result<(Answer, String), Failed> {
        let Some(entry) = self.catalog.model(attempting.index) else { return Err(not_cleared().into()) };
        let slot = schedule::slot(entry.request_timeout, self.remaining(), attempting.models_left);
        let span = chat_span(entry.upstream.target());
        let started = Instant::now();
        self.record.begin(&entry.name, attempting.waited, bulkhead_edge::now());
        let brief = Brief { timeout: slot.timeout, attempt_id: Uuid::now_v7().simple().to_string() };
        let called = entry.upstream.call(attempting.asked, brief).instrument(span.clone()).await;
        let called = called.unwrap_or_else(|| Err(not_cleared()));
        note(turn, slot, &called);
        let usage = called.as_ref().ok().map(|answer| answer.usage);
        let result = called.map_err(Failed::from).and_then(|answer| self.check(answer));
        describe(&span, &result);
        let attempt = Attempt {
            model: entry.name.clone(),
            failure: result.as_ref().err().map(|failed| failed.failure.clone()),
            waited: attempting.waited,
            start: self.record.started(),
            latency: started.elapsed(),
            repair: attempting.repair,
            usage,
            cost_usd_micros: entry.terms.price.zip(usage).map(|(price, usage)| price.cost_usd_micros(usage)),
        };
        metrics::called(entry.upstream.target(), attempt.latency, usage, attempt.failure.as_ref());
        metrics::attempted(&attempt);
        self.record.end(attempt);
        result
    }

    /// An answer that is not what was asked for is a failed attempt that the model can be told of.
    fn check(&self, answer: Answer) -> Result<(Answer, String), Failed> {
        match self.rules.check(&answer) {
            Ok(structured_json) => Ok((answer, structured_json)),
            Err(flaw) => {
                let failure =
                    Failure { http_status: 200, ..Failure::without_response(Kind::Unfit, flaw.told) };
                Err(Failed { failure, flaw: Some(flaw) })
            }
        }
    }

    fn next(&self, planned: &Planned, tally: &Tally, failure: &Failure, is_flawed: bool) -> Next {
        let repairs = Repairs { made: tally.repairs, max: self.rules.repairs_max };
        let situation = Situation {
            failure,
            attempts: tally.attempts,
            attempts_max: planned.attempts_max,
            repairs: is_flawed.then_some(repairs),
            remaining: self.remaining(),
            random: rand::random(),
        };
        let pay = || self.catalog.health().pay_retry(planned.index, Instant::now());
        self.catalog.policy().next(&situation, pay)
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What the end of the chain means.
    fn unanswered(&mut self, route: &RouteConfig) -> Unanswered {
        if self.remaining().is_zero() {
            return Unanswered::Deadline;
        }
        let mut kinds =
            self.record.attempts().iter().filter_map(|attempt| attempt.failure.as_ref()).peekable();
        if kinds.peek().is_some() && kinds.all(|failure| failure.kind == Kind::ContextLength) {
            return Unanswered::Rejected;
        }
        if let Some(flaw) = self.flaw.take() {
            return Unanswered::OutputInvalid(flaw);
        }
        let now = Instant::now();
        let plan = self.catalog.plan(route, self.clearance.needs(), now);
        let soonest = plan.planned.iter().map(|planned| planned.wait).min();
        let retry_after = soonest.or_else(|| earliest(&plan.excluded, now));
        exhausted(plan.excluded, retry_after)
    }
}

fn exhausted(excluded: Vec<Excluded>, retry_after: Option<Duration>) -> Unanswered {
    Unanswered::Exhausted { excluded, retry_after: retry_after.unwrap_or_default().max(RETRY_DELAY) }
}

/// One attempt, before it is made.
#[derive(Debug)]
struct Attempting<'c> {
    index: usize,
    asked: &'c Clearance,
    waited: Duration,
    models_left: usize,
    repair: bool,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, flaw: None }
    }
}

/// Tells the model's state. Silence that the caller's own deadline cut short says nothing about it.
fn note(turn: Turn<'_>, slot: Slot, result: &Result<Answer, Failure>) {
    match result {
        Ok(_) => turn.answered(),
        Err(failure) if failure.kind == Kind::Silence && !slot.is_telling => drop(turn),
        Err(failure) => turn.failed(failure, Instant::now()),
    }
}

/// When the first of the excluded models may be tried again.
fn earliest(excluded: &[Excluded], now: Instant) -> Option<Duration> {
    excluded
        .iter()
        .filter_map(|excluded| excluded.until)
        .min()
        .map(|until| until.saturating_duration_since(now))
}

fn not_cleared() -> Failure {
    // The plan leaves such models out; the type system sees to it that this branch sends nothing.
    tracing::error!("a model was planned that the request is not cleared for; nothing was sent");
    Failure::without_response(Kind::NotCleared, "the request is not cleared for this model")
}

/// The client span of the OpenTelemetry GenAI conventions.
fn chat_span(target: &Target) -> Span {
    tracing::info_span!(
        "chat",
        otel.name = format!("chat {}", target.provider_model),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = target.adapter.name,
        gen_ai.request.model = target.provider_model,
        gen_ai.response.model = tracing::field::Empty,
        gen_ai.usage.input_tokens = tracing::field::Empty,
        gen_ai.usage.output_tokens = tracing::field::Empty,
        error.type = tracing::field::Empty,
    )
}

fn describe(span: &Span, result: &Result<(Answer, String), Failed>) {
    match result {
        Ok((answer, _)) => {
            if is_model_name(&answer.provider_model) {
                span.record("gen_ai.response.model", answer.provider_model.as_str());
            }
            span.record("gen_ai.usage.input_tokens", count(answer.usage.input_tokens));
            span.record("gen_ai.usage.output_tokens", count(answer.usage.output_tokens));
        }
        Err(Failed { failure, .. }) => {
            span.record("error.type", failure.kind.as_str());
            span.record("otel.status_code", "ERROR");
        }
    }
}

/// OTLP has signed numbers; others would be exported as text.
fn count(tokens: u64) -> i64 {
    i64::try_from(tokens).unwrap_or(i64::MAX)
}

/// Whether the provider's word can be the name of a model; any other text might be the prompt's.
fn is_model_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_names_models_and_quotes_nothing() {
        for name in ["claude-sonnet-4-5@20250929", "llama3.2:1b", "library/qwen_2.5"] {
            assert!(is_model_name(name), "{name}");
        }
        for text in ["", "Ada Lovelace", "room\ntwelve", &"x".repeat(129)] {
            assert!(!is_model_name(text), "{text}");
        }
    }
}
