//! One request on its way through a route.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::asking::{Attempting, Checked, Failed};
use super::{Answered, RETRY_DELAY, Unanswered, earliest, exhausted, heard_later, plan};
use crate::balance::Draw;
use crate::catalog::Catalog;
use crate::chat::Block;
use crate::clearance::Clearance;
use crate::config::RouteConfig;
use crate::failure::{Failure, Kind};
use crate::health::{Begun, Start, Turn};
use crate::listener::{self, Listener, Sequel};
use crate::meter::Entry;
use crate::output::{Flaw, Rules};
use crate::plan::{Needs, Plan, Planned};
use crate::record::CallRecord;
use crate::schedule::{GiveUp, Next, Repairs, Situation};

/// How long a request waits that lost a model's last place of a minute to another, until the plan tells it how long it
/// really has to.
const LATER: Duration = Duration::from_millis(10);

/// One request on its way through a route.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) route: &'a RouteConfig,
    /// Whose it is, for models that are shared by session; empty: nobody's.
    session: &'a str,
    pub(super) clearance: &'a Clearance,
    pub(super) rules: &'a Rules,
    pub(super) record: &'a mut CallRecord,
    /// Who hears the answer as it is produced; nobody, when only the whole is wanted.
    pub(super) listener: Option<Listener>,
    deadline: Instant,
    /// What the next model is given: the request, or that with what of its answer is there already.
    base: Cow<'a, Clearance>,
    /// What was wrong with the last answer that was not what was asked for.
    flaw: Option<Flaw>,
    /// The last refusal after which another model was asked.
    refusal: Option<Answered>,
}

/// What one model did with a request so far.
#[derive(Debug, Default)]
struct Tally {
    attempts: u32,
    repairs: u32,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        route: &'a RouteConfig,
        clearance: &'a Clearance,
        rules: &'a Rules,
        deadline: Instant,
        record: &'a mut CallRecord,
    ) -> Self {
        let base = Cow::Borrowed(clearance);
        Self {
            catalog,
            route,
            session: "",
            clearance,
            rules,
            record,
            listener: None,
            deadline,
            base,
            flaw: None,
            refusal: None,
        }
    }

    /// The same in a session.
    pub(crate) fn of_session(self, session: &'a str) -> Self {
        Self { session, ..self }
    }

    /// The same for one who listens.
    pub(crate) fn heard_by(self, listener: Listener) -> Self {
        Self { listener: Some(listener), ..self }
    }

    /// Tries the planned models in order until one answers.
    pub(crate) async fn follow(&mut self) -> Result<Answered, Unanswered> {
        let draw = Draw::new(self.session);
        let plan = plan(self.catalog, self.route, self.clearance.needs(), draw)?;
        for (at, planned) in plan.planned.iter().enumerate() {
            let models_left = plan.planned.len() - at;
            match self.try_model(planned, models_left).await {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(Ok(answered)) => return Ok(answered),
                ControlFlow::Break(Err(why)) => return self.refusal_or(why).await,
            }
        }
        let why = self.unanswered();
        self.refusal_or(why).await
    }

    /// A refusal is an answer, if nobody gives a better one.
    async fn refusal_or(&mut self, why: Unanswered) -> Result<Answered, Unanswered> {
        match self.refusal.take() {
            Some(refusal) if self.listener.as_ref().is_none_or(Listener::may_begin_anew) => {
                self.tell_again(&refusal).await;
                Ok(refusal)
            }
            Some(_) | None => Err(why),
        }
    }

    async fn tell_again(&mut self, answered: &Answered) {
        if let Some(listener) = &mut self.listener {
            listener.again(&answered.model, &answered.answer.blocks).await;
        }
    }

    /// What was given to whoever listens and still holds.
    pub(crate) fn given(&self) -> Vec<Block> {
        self.listener.as_ref().map(|listener| listener.given().to_vec()).unwrap_or_default()
    }

    async fn try_model(
        &mut self,
        planned: &Planned,
        models_left: usize,
    ) -> ControlFlow<Result<Answered, Unanswered>> {
        let mut asked = self.base.clone();
        let (mut pause, mut start, mut tally) = (Duration::ZERO, Start::First, Tally::default());
        self.record.meter().asks(asked.needs().size);
        while let Some((turn, waited)) = self.take_turn(planned, asked.needs(), start, pause).await {
            let repair = tally.repairs > 0;
            let attempting = Attempting { index: planned.index, asked: &asked, waited, models_left, repair };
            let mut failed = match self.attempt(attempting, turn).await {
                Ok(checked) => return ControlFlow::Break(Ok(self.answered(&planned.name, checked))),
                Err(failed) => failed,
            };
            let refusal = failed.refusal.take();
            let is_whole = refusal.is_some() || failed.flaw.is_some();
            if let Some(refusal) = refusal {
                self.refusal = Some(self.answered(&planned.name, *refusal));
            }
            tally.attempts += 1;
            let next = self.next(planned, &tally, &failed);
            warn(planned, &tally, &failed.failure, &next);
            let sequel = self.sequel(is_whole);
            let Failed { failure, flaw, .. } = failed;
            self.flaw = flaw.clone().or_else(|| self.flaw.take());
            if sequel == Sequel::Nothing {
                let why = match flaw {
                    Some(flaw) => Unanswered::OutputInvalid(flaw),
                    None if self.remaining().is_zero() => Unanswered::Deadline,
                    None => Unanswered::Broken(failure),
                };
                return ControlFlow::Break(Err(why));
            }
            asked = self.base.clone();
            self.record.meter().asks(asked.needs().size);
            match next {
                Next::RetryAfter(wait, paid) => (pause, start) = (wait, Start::Retry(paid)),
                Next::Repair => {
                    tally = Tally { attempts: tally.attempts - 1, repairs: tally.repairs + 1 };
                    (pause, start) = (Duration::ZERO, Start::Repair);
                    asked = Cow::Owned(asked.with(flaw.iter().flat_map(Flaw::repair).collect()));
                    self.record.meter().asks(asked.needs().size);
                }
                Next::NextModel => break,
                Next::GiveUp(GiveUp::Rejected) => return ControlFlow::Break(Err(Unanswered::Rejected)),
                Next::GiveUp(GiveUp::Deadline) => return ControlFlow::Break(Err(Unanswered::Deadline)),
            }
        }
        ControlFlow::Continue(())
    }

    fn answered(&self, model: &str, checked: Checked) -> Answered {
        Answered {
            model: model.to_owned(),
            answer: checked.answer,
            structured_json: checked.structured_json,
            continued: self.listener.as_ref().is_some_and(Listener::continues),
        }
    }

    /// What may follow for whoever listens, and what the next attempt is given.
    fn sequel(&mut self, is_whole: bool) -> Sequel {
        let Some(listener) = &mut self.listener else { return Sequel::Anew };
        let failed = self.record.attempts().last().cloned().unwrap_or_default();
        let sequel = listener.broke(failed, is_whole);
        self.base = match sequel {
            Sequel::GoOn => Cow::Owned(self.clearance.with(listener::go_on(listener.kept()))),
            Sequel::Anew | Sequel::Nothing => Cow::Borrowed(self.clearance),
        };
        sequel
    }

    /// Waits until the model may be touched, by our own schedule and by what its server told anybody. None:
    /// that is too late, or it was marked in the meantime. What the attempt needs is what it is kept a place for, which may
    /// be more than the request itself.
    async fn take_turn(
        &mut self,
        planned: &Planned,
        needs: Needs<'_>,
        start: Start,
        pause: Duration,
    ) -> Option<(Turn<'a>, Duration)> {
        let began = Instant::now();
        let (mut start, mut pause) = (start, pause);
        loop {
            let now = Instant::now();
            let held = self.catalog.judge(planned.index, needs, now).inspect_err(|excluded| {
                let reason = excluded.reason.as_str();
                tracing::info!(model = planned.name, reason, "a model is skipped");
            });
            let held = held.ok()?;
            if pause.is_zero() && !held.is_zero() {
                // Whoever waits for the same moment must not come in the same moment.
                pause = held + self.catalog.policy().base.mul_f64(rand::random());
            }
            let due = held.max(pause.saturating_sub(now.duration_since(began)));
            if due.is_zero() || bulkhead_failpoint::active("router.skip_delay") {
                let patience = self.catalog.policy().patience.min(self.remaining());
                match self.record.meter().enter(planned.index, patience).await {
                    Entry::Open => {}
                    Entry::Later if self.remaining() <= LATER => return None,
                    Entry::Later => {
                        tokio::time::sleep(LATER).await;
                        continue;
                    }
                    Entry::Closed => return None,
                }
                match self.catalog.health().begin(planned.index, start, Instant::now()) {
                    Begun::Turn(turn) => return Some((turn, began.elapsed())),
                    Begun::Blocked => {
                        self.record.meter().leave();
                        return None;
                    }
                    Begun::Later(unused) => {
                        self.record.meter().leave();
                        start = unused;
                        continue;
                    }
                }
            }
            if due >= self.remaining() {
                tracing::info!(model = planned.name, due_ms = %due.as_millis(), "no time to wait for a model");
                return None;
            }
            tokio::time::sleep(due).await;
        }
    }

    fn next(&self, planned: &Planned, tally: &Tally, failed: &Failed) -> Next {
        if failed.failure.kind == Kind::ContextLength && !self.route.fallbacks.on_context_length {
            return Next::GiveUp(GiveUp::Rejected);
        }
        let repairs = Repairs { made: tally.repairs, max: self.rules.repairs_max };
        let situation = Situation {
            failure: &failed.failure,
            attempts: tally.attempts,
            attempts_max: planned.attempts_max,
            repairs: failed.flaw.is_some().then_some(repairs),
            remaining: self.remaining(),
            random: rand::random(),
        };
        let pay = || self.catalog.health().pay_retry(planned.index, Instant::now());
        self.catalog.policy().next(&situation, pay)
    }

    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// What the end of the chain means.
    fn unanswered(&mut self) -> Unanswered {
        if self.remaining().is_zero() {
            return Unanswered::Deadline;
        }
        let mut failures =
            self.record.attempts().iter().filter_map(|attempt| attempt.failure.as_ref()).peekable();
        if failures.peek().is_some() && failures.all(|failure| failure.kind == Kind::ContextLength) {
            return Unanswered::Rejected;
        }
        let denied = self.record.meter().denied();
        let flaw = self.flaw.take();
        let now = Instant::now();
        let draw = Draw::new(self.session);
        let plan = self.catalog.plan(self.route, self.clearance.needs(), draw, now);
        // What was said, wrong as it is, tells more than why nobody was asked to say it better.
        if let Some(flaw) = flaw {
            return self.wrong(flaw, plan, now);
        }
        if let Some(denied) = denied {
            let against = |model| self.record.against(model);
            return super::denied(denied, self.catalog, self.record.attempts(), plan, against, now);
        }
        let soonest = plan.planned.iter().map(|planned| planned.wait).min();
        let retry_after = soonest.or_else(|| earliest(&plan.excluded, now));
        exhausted(plan.excluded, retry_after)
    }

    /// Answers were wrong. Whether that is the last word depends on the models that were not heard.
    fn wrong(&self, flaw: Flaw, plan: Plan, now: Instant) -> Unanswered {
        match heard_later(self.record.attempts(), &plan, now) {
            Some(wait) => Unanswered::Exhausted {
                excluded: plan.excluded,
                retry_after: wait.max(RETRY_DELAY),
                flaw: Some(flaw),
            },
            None => Unanswered::OutputInvalid(flaw),
        }
    }
}

fn warn(planned: &Planned, tally: &Tally, failure: &Failure, next: &Next) {
    tracing::warn!(
        model = planned.name,
        attempt = tally.attempts + tally.repairs,
        error_kind = failure.kind.as_str(),
        http_status = failure.http_status,
        error = failure.message,
        ?next,
        "an attempt failed"
    );
}
