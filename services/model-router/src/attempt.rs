//! What is reported of each attempt.

use std::time::Duration;

use jiff::Timestamp;

use crate::chat::Usage;
use crate::failure::{Failure, Persistence};
use crate::price::Charge;

/// One request to one model, over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempt {
    /// Name of the configured model.
    pub model: String,
    /// None: it answered.
    pub failure: Option<Failure>,
    /// How long the router waited before it.
    pub waited: Duration,
    /// When it began.
    pub start: Timestamp,
    /// How long it took.
    pub latency: Duration,
    /// Until the first token came; none where nothing was streamed.
    pub first_token: Option<Duration>,
    /// The model was asked again because its answer was not what was asked for.
    pub repair: bool,
    /// As the provider counted; none: not known.
    pub usage: Option<Usage>,
    /// In millionths of a US dollar; none: not known, or no price is configured.
    pub cost_usd_micros: Option<u64>,
    /// What budgets were charged, once it is settled: more than that cost where the provider did not count. None: no price
    /// is configured.
    pub charge: Option<Charge>,
}

impl Attempt {
    /// The word used in the audit log.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        match self.failure.as_ref().map(|failure| failure.kind.persistence()) {
            None => "answered",
            Some(Persistence::Transient) => "transient",
            Some(Persistence::Permanent) => "permanent",
            Some(Persistence::Unknown) => "unknown",
        }
    }

    /// In one line, for the details of an error: `primary: RATE_LIMITED (429)`.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.failure {
            None => format!("{}: answered", self.model),
            Some(failure) if failure.http_status == 0 => format!("{}: {}", self.model, failure.kind.as_str()),
            Some(failure) => format!("{}: {} ({})", self.model, failure.kind.as_str(), failure.http_status),
        }
    }
}
