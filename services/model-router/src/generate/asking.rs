//! One attempt: a model is asked, what it says is passed on where somebody listens, and its answer is checked.

use std::time::{Duration, Instant};

use tracing::Instrument as _;
use uuid::Uuid;

use super::run::Run;
use super::telling::{chat_span, describe};
use crate::attempt::Attempt;
use crate::catalog::Entry;
use crate::chat::{Answer, Block, StopReason, Usage};
use crate::clearance::Clearance;
use crate::failure::{Failure, Kind};
use crate::health::Turn;
use crate::output::Flaw;
use crate::schedule::{self, Slot};
use crate::tokens;
use crate::upstream::{Brief, Piece, Streaming};

/// One attempt, before it is made.
#[derive(Debug)]
pub(super) struct Attempting<'c> {
    pub(super) index: usize,
    pub(super) asked: &'c Clearance,
    pub(super) waited: Duration,
    pub(super) models_left: usize,
    pub(super) repair: bool,
}

/// An answer that is what was asked for.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) answer: Answer,
    pub(super) structured_json: String,
}

/// Why an attempt gave no answer.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// What the model can be told to do better.
    pub(super) flaw: Option<Flaw>,
    /// What the provider counted all the same.
    pub(super) usage: Option<Usage>,
    /// The answer, where it declined and another model is asked all the same.
    pub(super) refusal: Option<Box<Checked>>,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, flaw: None, usage: None, refusal: None }
    }
}

/// What a model said, before it is checked.
struct Said {
    result: Result<Answer, Failed>,
    /// Until the first piece came.
    first_token: Option<Duration>,
}

impl<'a> Run<'a> {
    pub(super) async fn attempt(
        &mut self,
        attempting: Attempting<'_>,
        turn: Turn<'a>,
    ) -> Result<Checked, Failed> {
        let Some(entry) = self.catalog.model(attempting.index) else { return Err(not_cleared().into()) };
        let target = entry.upstream.target();
        let slot = schedule::slot(self.limit(entry), self.remaining(), attempting.models_left);
        let span = chat_span(target);
        let started = Instant::now();
        self.record.begin(&entry.name, attempting.waited, bulkhead_edge::now());
        let said = self.ask(entry, &attempting, slot).instrument(span.clone()).await;
        // A stream that was alive when the caller's time ended was not silent.
        let is_cut_short = said.first_token.is_some() && self.remaining().is_zero();
        note(turn, slot.is_telling && !is_cut_short, &said.result);
        let result = match said.result {
            Ok(answer) => self.check(answer, attempting.models_left > 1).await,
            Err(failed) => Err(failed),
        };
        describe(&span, &result);
        let usage = match &result {
            Ok(checked) => Some(checked.answer.usage),
            Err(failed) => failed.usage,
        };
        let attempt = Attempt {
            model: entry.name.clone(),
            failure: result.as_ref().err().map(|failed| failed.failure.clone()),
            waited: attempting.waited,
            start: self.record.started(),
            latency: started.elapsed(),
            first_token: said.first_token,
            repair: attempting.repair,
            usage,
            cost_usd_micros: entry.terms.price.zip(usage).map(|(price, usage)| price.cost_usd_micros(usage)),
            charge: None,
        };
        entry.requests.ended(&attempt);
        self.record.end(attempt);
        result
    }

    async fn ask(&mut self, entry: &Entry, attempting: &Attempting<'_>, slot: Slot) -> Said {
        let attempt_id = Uuid::now_v7().simple().to_string();
        if self.listener.is_none() {
            let brief = self.brief(entry, slot.timeout, slot, attempt_id);
            let called = entry.upstream.call(attempting.asked, brief).await;
            let result = called.unwrap_or_else(|| Err(not_cleared())).map_err(Failed::from);
            return Said { result, first_token: None };
        }
        // Once it speaks, the caller's time is its only limit; that it goes on speaking is seen to below.
        let brief = self.brief(entry, self.remaining(), slot, attempt_id);
        self.hear(entry, attempting, brief).await
    }

    /// How long a model may take until it answers, or says its first word: as the route says, else as it says itself.
    fn limit(&self, entry: &Entry) -> Duration {
        let timeouts = &self.route.timeouts;
        if self.listener.is_some() {
            timeouts.first_token.unwrap_or(entry.upstream.target().first_token_timeout)
        } else {
            timeouts.request.unwrap_or(entry.request_timeout)
        }
    }

    fn brief(&mut self, entry: &Entry, timeout: Duration, slot: Slot, attempt_id: String) -> Brief {
        let idle_timeout = self.route.timeouts.idle.unwrap_or(entry.upstream.target().idle_timeout);
        let heard = self.record.meter().heard();
        Brief { timeout, first_token_timeout: slot.timeout, idle_timeout, attempt_id, heard }
    }

    async fn hear(&mut self, entry: &Entry, attempting: &Attempting<'_>, brief: Brief) -> Said {
        let started = Instant::now();
        if let Some(listener) = &mut self.listener {
            listener.begin(&entry.name, attempting.waited).await;
        }
        let opened = entry.upstream.stream(attempting.asked, brief).await;
        let mut stream = match opened.unwrap_or_else(|| Err(not_cleared())) {
            Ok(stream) => stream,
            Err(failure) => return Said { result: Err(failure.into()), first_token: None },
        };
        let mut first_token = None;
        let result = loop {
            match stream.next().await {
                Ok(Piece::Delta(delta)) => {
                    first_token.get_or_insert_with(|| started.elapsed());
                    self.record.meter().produced(tokens::of_delta(&delta));
                    if let Some(listener) = &mut self.listener {
                        listener.hear(delta).await;
                    }
                }
                Ok(Piece::Answer(answer)) => break Ok(answer),
                Err(failure) => break Err(broken(failure, &stream)),
            }
        };
        Said { result, first_token }
    }

    /// Whether a refusal is asked of another model. What cannot be taken back is an answer.
    fn passes_on(&self, answer: &Answer) -> bool {
        answer.stop_reason == StopReason::Refusal
            && self.route.fallbacks.on_refusal
            && self.listener.as_ref().is_none_or(|listener| listener.may_begin_anew())
    }

    /// An answer that is not what was asked for is a failed attempt that the model can be told of.
    async fn check(&mut self, answer: Answer, is_another_left: bool) -> Result<Checked, Failed> {
        let kept = self.listener.as_ref().map(|listener| listener.kept()).unwrap_or_default();
        let answer = after(kept, answer);
        match self.rules.check(&answer) {
            Ok(structured_json) => {
                if is_another_left && self.passes_on(&answer) {
                    return Err(declined(Checked { answer, structured_json }));
                }
                if let Some(listener) = &mut self.listener {
                    listener.whole(&answer.blocks).await;
                }
                Ok(Checked { answer, structured_json })
            }
            Err(flaw) => {
                let failure =
                    Failure { http_status: 200, ..Failure::without_response(Kind::Unfit, flaw.told) };
                Err(Failed { flaw: Some(flaw), usage: Some(answer.usage), ..failure.into() })
            }
        }
    }
}

/// A refusal, where the route lets another model be asked.
fn declined(checked: Checked) -> Failed {
    let failure =
        Failure { http_status: 200, ..Failure::without_response(Kind::Refusal, "the model declined") };
    let usage = Some(checked.answer.usage);
    Failed { usage, refusal: Some(Box::new(checked)), ..failure.into() }
}

/// The answer of a model that went on from a text.
fn after(kept: String, answer: Answer) -> Answer {
    if kept.is_empty() {
        return answer;
    }
    let mut blocks = answer.blocks;
    match blocks.iter_mut().find(|block| matches!(block, Block::Text(_))) {
        Some(Block::Text(text)) => text.insert_str(0, &kept),
        Some(_) | None => blocks.insert(0, Block::Text(kept)),
    }
    Answer { blocks, ..answer }
}

fn broken(failure: Failure, stream: &Streaming) -> Failed {
    Failed { usage: stream.usage_so_far(), ..failure.into() }
}

/// Tells the model's state. Silence that the caller's own deadline cut short says nothing about it.
fn note(turn: Turn<'_>, is_telling: bool, result: &Result<Answer, Failed>) {
    match result {
        Ok(_) => turn.answered(),
        Err(Failed { failure, .. }) if failure.kind == Kind::Silence && !is_telling => drop(turn),
        Err(Failed { failure, .. }) => turn.failed(failure, Instant::now()),
    }
}

fn not_cleared() -> Failure {
    // The plan leaves such models out; the type system sees to it that this branch sends nothing.
    tracing::error!("a model was planned that the request is not cleared for; nothing was sent");
    Failure::without_response(Kind::NotCleared, "the request is not cleared for this model")
}
