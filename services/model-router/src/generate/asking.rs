//! One attempt: a model is asked, what it says is passed on where somebody listens, and its answer is checked.

use std::time::{Duration, Instant};

use tracing::Instrument as _;
use uuid::Uuid;

use super::run::Run;
use super::telling::{chat_span, describe};
use crate::attempt::Attempt;
use crate::catalog::Entry;
use crate::chat::{Answer, Block, Usage};
use crate::clearance::Clearance;
use crate::failure::{Failure, Kind};
use crate::health::Turn;
use crate::metrics;
use crate::output::Flaw;
use crate::schedule::{self, Slot};
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
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, flaw: None, usage: None }
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
        let limit = if self.listener.is_some() { target.first_token_timeout } else { entry.request_timeout };
        let slot = schedule::slot(limit, self.remaining(), attempting.models_left);
        let span = chat_span(target);
        let started = Instant::now();
        self.record.begin(&entry.name, attempting.waited, bulkhead_edge::now());
        let said = self.ask(entry, attempting.asked, slot).instrument(span.clone()).await;
        note(turn, slot, &said.result);
        let result = match said.result {
            Ok(answer) => self.check(answer).await,
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
        };
        metrics::called(target, &attempt);
        metrics::attempted(&attempt);
        self.record.end(attempt);
        result
    }

    async fn ask(&mut self, entry: &Entry, asked: &Clearance, slot: Slot) -> Said {
        let attempt_id = Uuid::now_v7().simple().to_string();
        if self.listener.is_none() {
            let brief = Brief { timeout: slot.timeout, first_token_timeout: slot.timeout, attempt_id };
            let called = entry.upstream.call(asked, brief).await;
            let result = called.unwrap_or_else(|| Err(not_cleared())).map_err(Failed::from);
            return Said { result, first_token: None };
        }
        // Once it speaks, the caller's time is its only limit; that it goes on speaking is seen to below.
        let brief = Brief { timeout: self.remaining(), first_token_timeout: slot.timeout, attempt_id };
        self.hear(entry, asked, brief).await
    }

    async fn hear(&mut self, entry: &Entry, asked: &Clearance, brief: Brief) -> Said {
        let started = Instant::now();
        if let Some(listener) = &mut self.listener {
            listener.begin(&entry.name).await;
        }
        let opened = entry.upstream.stream(asked, brief).await;
        let mut stream = match opened.unwrap_or_else(|| Err(not_cleared())) {
            Ok(stream) => stream,
            Err(failure) => return Said { result: Err(failure.into()), first_token: None },
        };
        let mut first_token = None;
        let result = loop {
            match stream.next().await {
                Ok(Piece::Delta(delta)) => {
                    first_token.get_or_insert_with(|| started.elapsed());
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

    /// An answer that is not what was asked for is a failed attempt that the model can be told of.
    async fn check(&mut self, answer: Answer) -> Result<Checked, Failed> {
        let kept = self.listener.as_ref().map(|listener| listener.kept()).unwrap_or_default();
        let answer = after(kept, answer);
        match self.rules.check(&answer) {
            Ok(structured_json) => {
                if let Some(listener) = &mut self.listener {
                    listener.whole(&answer.blocks).await;
                }
                Ok(Checked { answer, structured_json })
            }
            Err(flaw) => {
                let failure =
                    Failure { http_status: 200, ..Failure::without_response(Kind::Unfit, flaw.told) };
                Err(Failed { failure, flaw: Some(flaw), usage: Some(answer.usage) })
            }
        }
    }
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
    Failed { failure, flaw: None, usage: stream.usage_so_far() }
}

/// Tells the model's state. Silence that the caller's own deadline cut short says nothing about it.
fn note(turn: Turn<'_>, slot: Slot, result: &Result<Answer, Failed>) {
    match result {
        Ok(_) => turn.answered(),
        Err(Failed { failure, .. }) if failure.kind == Kind::Silence && !slot.is_telling => drop(turn),
        Err(Failed { failure, .. }) => turn.failed(failure, Instant::now()),
    }
}

fn not_cleared() -> Failure {
    // The plan leaves such models out; the type system sees to it that this branch sends nothing.
    tracing::error!("a model was planned that the request is not cleared for; nothing was sent");
    Failure::without_response(Kind::NotCleared, "the request is not cleared for this model")
}
