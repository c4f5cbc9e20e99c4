//! Where one model stands. Pure: the time is an argument.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Notify;

use crate::limit::concurrency::{Bounds, Concurrency};
use crate::limit::line::Line;
use crate::limit::minute::Fit;
use crate::limit::quota::{Quota, Remaining};

/// What is open, who waits, and what is left.
#[derive(Debug)]
pub(super) struct State {
    pub(super) concurrency: Concurrency,
    /// Who waits for a place, each with what is told when it may be theirs.
    pub(super) line: Line<Arc<Notify>>,
    requests: Remaining,
    tokens: Remaining,
    /// Requests that were begun and that the server has not answered, so that its last word may not count them.
    unanswered: u64,
    /// Tokens of their prompts.
    unanswered_tokens: u64,
}

impl State {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            concurrency: Concurrency::new(bounds),
            line: Line::default(),
            requests: Remaining::default(),
            tokens: Remaining::default(),
            unanswered: 0,
            unanswered_tokens: 0,
        }
    }

    pub(super) fn fit(&self, prompt_tokens: u64, now: Instant) -> Fit {
        self.requests.fit(1, now).and(self.tokens.fit(prompt_tokens, now))
    }

    pub(super) fn begin(&mut self, prompt_tokens: u64) {
        self.concurrency.begin();
        self.requests.take(1);
        self.tokens.take(prompt_tokens);
        self.unanswered = self.unanswered.saturating_add(1);
        self.unanswered_tokens = self.unanswered_tokens.saturating_add(prompt_tokens);
    }

    /// What was begun was not sent, and never will be.
    pub(super) fn unsent(&mut self, prompt_tokens: u64) {
        self.requests.give_back(1);
        self.tokens.give_back(prompt_tokens);
    }

    /// The server has answered a request with such a prompt, or never will. What it says is left counts that request.
    pub(super) fn answered(&mut self, prompt_tokens: u64, quota: Quota, now: Instant) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.unanswered_tokens = self.unanswered_tokens.saturating_sub(prompt_tokens);
        if let Some(left) = quota.requests {
            self.requests.told(left, self.unanswered, now);
        }
        if let Some(left) = quota.tokens {
            self.tokens.told(left, self.unanswered_tokens, now);
        }
    }
}
