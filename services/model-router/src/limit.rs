//! What callers may ask for and models may be asked, in a minute and at a time.

pub mod concurrency;
mod line;
pub mod minute;
pub mod models;
pub mod quota;
pub mod rate;

use std::sync::Arc;
use std::time::Instant;

use bulkhead_edge::Principal;

use crate::config::{Config, LimitConfig, ModelConfig};
use crate::tokens::Size;
use concurrency::Concurrency;
use minute::Fit;
use models::ModelLimits;
use rate::{InProcess, Key, Rate, RateStore, Reservation, Short, Want};

/// The limits of a configuration, and what is taken of them.
#[derive(Debug)]
pub struct Limits {
    store: Arc<dyn RateStore>,
    callers: Vec<LimitConfig>,
    models: Vec<Model>,
    at_a_time: Arc<ModelLimits>,
}

#[derive(Debug)]
struct Model {
    key: Key,
    rate: Rate,
    /// The longest answer where a request does not say.
    answer_tokens_default: u64,
}

impl Limits {
    /// Nothing taken; counted in this process.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let bounds = config.models.iter().map(|model| model.allowance.concurrency);
        Self {
            store: Arc::new(InProcess::new()),
            callers: config.limits.clone(),
            models: config.models.iter().map(Model::new).collect(),
            at_a_time: Arc::new(ModelLimits::new(bounds)),
        }
    }

    /// For another configuration: what was taken of limits that stay is taken, and each model has the state of the one
    /// whose place here is given.
    #[must_use]
    pub fn handed_on(&self, places: &[Option<usize>], config: &Config) -> Self {
        let bounds = config.models.iter().map(|model| model.allowance.concurrency);
        Self {
            store: Arc::clone(&self.store),
            callers: config.limits.clone(),
            models: config.models.iter().map(Model::new).collect(),
            at_a_time: Arc::new(self.at_a_time.handed_on(places, bounds)),
        }
    }

    /// Takes what a caller's request needs of all limits that are for it.
    ///
    /// # Errors
    /// [`Short`]; nothing is taken then.
    pub async fn admit(&self, caller: &Principal, tokens: u64, now: Instant) -> Result<Reservation, Short> {
        let wants = self.callers.iter().filter_map(|limit| {
            let key = Key { limit: limit.name.as_str().into(), subject: limit.subject(caller)?.into() };
            Some(Want { key, rate: limit.rate, tokens })
        });
        Reservation::take(&self.store, wants.collect(), now).await
    }

    /// Takes what an attempt needs of a model's limits of a minute.
    ///
    /// # Errors
    /// [`Short`]; nothing is taken then.
    pub(crate) async fn take(&self, model: usize, size: Size, now: Instant) -> Result<Reservation, Short> {
        Reservation::take(&self.store, self.wants(model, size), now).await
    }

    /// Whether a model has enough left for a request, by its configuration and by its provider's last word. Without a
    /// size: for the smallest there is.
    #[must_use]
    pub fn look(&self, model: usize, size: Option<Size>, now: Instant) -> Fit {
        let size = size.unwrap_or(Size { answer_tokens_max: Some(0), ..Size::default() });
        let minute = match self.store.look(&self.wants(model, size), now) {
            Ok(()) => Fit::Now,
            Err(Short { until: Some(until), .. }) => Fit::At(until),
            Err(Short { until: None, .. }) => Fit::Never,
        };
        minute.and(self.at_a_time.look(model, size.prompt_tokens, now))
    }

    /// Tokens that a request may take of a model, by estimate.
    #[must_use]
    pub fn tokens(&self, model: usize, size: Size) -> u64 {
        let default = self.models.get(model).map_or(0, |model| model.answer_tokens_default);
        size.prompt_tokens.saturating_add(size.answer_tokens_max.unwrap_or(default))
    }

    /// What each model is sent at a time.
    pub(crate) fn at_a_time(&self) -> &Arc<ModelLimits> {
        &self.at_a_time
    }

    /// Where the number of a model's requests at a time stands, for those who watch.
    #[must_use]
    pub fn concurrency(&self, model: usize) -> Option<Concurrency> {
        self.at_a_time.concurrency(model)
    }

    fn wants(&self, model: usize, size: Size) -> Vec<Want> {
        let limited = self.models.get(model).filter(|model| model.rate.bounds());
        let tokens = self.tokens(model, size);
        limited.map(|model| Want { key: model.key.clone(), rate: model.rate, tokens }).into_iter().collect()
    }
}

impl Model {
    fn new(model: &ModelConfig) -> Self {
        Self {
            // No limit of callers has this name: theirs hold no slash.
            key: Key { limit: "model/minute".into(), subject: model.name.as_str().into() },
            rate: model.allowance.rate,
            answer_tokens_default: model.target.max_output_tokens_default.into(),
        }
    }
}
