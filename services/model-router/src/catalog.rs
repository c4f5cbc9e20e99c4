//! The configured models and routes, and what is known of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::balance::Draw;
use crate::config::{Config, ModelConfig, RouteConfig, Terms};
use crate::health::{Health, ModelState};
use crate::ledger::Ledger;
use crate::limit::Limits;
use crate::meter::Meters;
use crate::metrics::Requests;
use crate::plan::{self, Candidate, Excluded, Needs, Overlong, Plan};
use crate::schedule::Policy;
use crate::succession::{Identity, carry};
use crate::upstream::{CloudModel, LocalModel, Upstream, UpstreamError};

/// Everything that routing decides by.
#[derive(Debug)]
pub struct Catalog {
    models: Vec<Entry>,
    routes: Vec<Arc<RouteConfig>>,
    health: Health,
    policy: Policy,
    limits: Arc<Limits>,
    meters: Arc<Meters>,
}

/// A model with its client.
#[derive(Debug)]
pub struct Entry {
    /// Name in the configuration.
    pub name: String,
    /// Marked local.
    pub local: bool,
    /// How long one attempt may take.
    pub request_timeout: Duration,
    /// Attempts that one request may make.
    pub attempts_max: u32,
    /// Its share of the requests of a tier.
    pub weight: u32,
    /// Its size and its prices.
    pub terms: Terms,
    /// Where it is.
    pub upstream: Upstream,
    /// What is counted of it.
    pub(crate) requests: Requests,
}

impl Catalog {
    /// Builds the clients. The ledger is the configuration's.
    ///
    /// # Errors
    /// [`UpstreamError`] for the first model whose client cannot be had.
    pub(crate) fn new(config: &Config, ledger: Arc<Ledger>, now: Instant) -> Result<Self, UpstreamError> {
        let models = entries(config)?;
        let health = Health::new(models.len(), config.health, now);
        Ok(Self::assemble(config, models, health, Limits::new(config), ledger))
    }

    /// One for another configuration. It knows of the models that stay, and of what was taken and spent, what this one
    /// knows, and goes on knowing it while calls of both run.
    ///
    /// # Errors
    /// As [`Catalog::new`]; nothing has changed then.
    pub(crate) fn succeed(&self, config: &Config, now: Instant) -> Result<Self, UpstreamError> {
        let models = entries(config)?;
        let places = carry(&identities(&self.models), &identities(&models));
        let health = self.health.handed_on(&places, config.health, now);
        let limits = self.limits.handed_on(&places, config);
        let ledger = self.meters.ledger().handed_on(config.budgets.clone());
        Ok(Self::assemble(config, models, health, limits, ledger))
    }

    fn assemble(
        config: &Config,
        models: Vec<Entry>,
        health: Health,
        limits: Limits,
        ledger: Arc<Ledger>,
    ) -> Self {
        let limits = Arc::new(limits);
        let meters = Meters::new(&config.models, Arc::clone(&limits), ledger);
        let routes = config.routes.iter().cloned().map(Arc::new).collect();
        Self { models, routes, health, policy: config.retry, limits, meters }
    }

    /// The route of that name.
    #[must_use]
    pub fn route(&self, name: &str) -> Option<&Arc<RouteConfig>> {
        self.routes.iter().find(|route| route.name == name)
    }

    /// Every route.
    #[must_use]
    pub fn routes(&self) -> &[Arc<RouteConfig>] {
        &self.routes
    }

    /// Every model, in the order of the configuration.
    #[must_use]
    pub fn models(&self) -> &[Entry] {
        &self.models
    }

    /// A model by its place.
    #[must_use]
    pub fn model(&self, index: usize) -> Option<&Entry> {
        self.models.get(index)
    }

    /// What is known of the models.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// How much may be asked of whom.
    #[must_use]
    pub fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// What opens the meter of a call.
    pub(crate) fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// The waits that are allowed.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The plan for a route, now. ExplainRoute prints it, Generate follows it.
    #[must_use]
    pub fn plan(&self, route: &RouteConfig, needs: Needs<'_>, draw: Draw<'_>, now: Instant) -> Plan {
        let tier = |models: &Vec<usize>| {
            models.iter().filter_map(|index| self.candidate(*index, needs, now)).collect::<Vec<_>>()
        };
        let chain = plan::chain(route.tiers.iter().map(tier).collect(), route.balance, draw);
        let plan = plan::plan(&chain, needs.local_only, self.policy.patience, now);
        if route.fallbacks.on_context_length { plan } else { plan.ended_by_length() }
    }

    /// Whether one model may be tried now, and after which wait.
    ///
    /// # Errors
    /// Why it may not.
    pub fn judge(&self, index: usize, needs: Needs<'_>, now: Instant) -> Result<Duration, Excluded> {
        let candidate = self.candidate(index, needs, now);
        candidate.map_or(Ok(Duration::ZERO), |candidate| {
            plan::judge(&candidate, needs.local_only, self.policy.patience, now)
        })
    }

    fn candidate(&self, index: usize, needs: Needs<'_>, now: Instant) -> Option<Candidate> {
        let entry = self.models.get(index)?;
        let state: ModelState = self.health.state(index, now);
        let (name, local) = (entry.name.clone(), entry.local);
        let (attempts_max, weight) = (entry.attempts_max, entry.weight);
        let target = entry.upstream.target();
        let inexpressible = |prompt| {
            (target.adapter.inexpressible)(prompt, target.abilities, target.max_output_tokens_default)
        };
        let inexpressible = needs.prompt.map(inexpressible).unwrap_or_default();
        let window = entry.terms.context_window_tokens;
        let overlong = window.filter(|window| needs.size.tokens_min() > *window);
        let overlong = overlong.map(|window_tokens| Overlong { size: needs.size, window_tokens });
        let room = self.limits.look(index, needs.prompt.map(|_| needs.size), now);
        Some(Candidate { index, name, local, attempts_max, weight, inexpressible, overlong, state, room })
    }
}

fn entries(config: &Config) -> Result<Vec<Entry>, UpstreamError> {
    config.models.iter().map(|model| entry(model, config)).collect()
}

fn identities(models: &[Entry]) -> Vec<Identity<'_>> {
    models.iter().map(Entry::identity).collect()
}

impl Entry {
    fn identity(&self) -> Identity<'_> {
        let target = self.upstream.target();
        Identity {
            name: &self.name,
            local: self.local,
            provider: target.adapter.name,
            base_url: &target.base_url,
            provider_model: &target.provider_model,
            key: target.key.as_ref(),
        }
    }
}

fn entry(model: &ModelConfig, config: &Config) -> Result<Entry, UpstreamError> {
    let target = model.target.clone();
    let requests = Requests::new(&model.name, &target);
    let upstream = if model.local {
        Upstream::Local(LocalModel::new(&model.name, target, &config.local_networks)?)
    } else {
        Upstream::Cloud(CloudModel::new(&model.name, target, config.cloud_proxy.as_ref())?)
    };
    Ok(Entry {
        name: model.name.clone(),
        local: model.local,
        request_timeout: model.request_timeout,
        attempts_max: model.attempts_max,
        weight: model.weight,
        terms: model.terms,
        upstream,
        requests,
    })
}
