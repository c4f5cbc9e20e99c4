//! The table `[model-router]` of the configuration.

mod input;
mod model;

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::{EdgeSettings, Mistakes, PeerSettings, Settings};
use ipnet::IpNet;

use crate::health::HealthPolicy;
use crate::network::LocalNetworks;
use crate::schedule::Policy;
use crate::secret::{ProxyUrl, Secret};
use crate::upstream::Target;
use input::{Input, RouteInput};

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// Where events go.
    pub audit: PeerSettings,
    /// Folder of its store.
    pub data: PathBuf,
    /// Events that may wait for the audit service.
    pub outbox_events_max: i64,
    /// What counts as local.
    pub local_networks: LocalNetworks,
    /// The proxy for cloud models; the environment's are never used.
    pub cloud_proxy: Option<ProxyUrl>,
    /// Waits between attempts.
    pub retry: Policy,
    /// How long unlucky models are left alone.
    pub health: HealthPolicy,
    /// Every model, in the order of the file.
    pub models: Vec<ModelConfig>,
    /// Every route.
    pub routes: Vec<RouteConfig>,
}

/// A configured model.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// Unique.
    pub name: String,
    /// It may see sensitive requests, and its address is checked.
    pub local: bool,
    /// Where it is and how to speak to it.
    pub target: Target,
    /// How long one attempt may take.
    pub request_timeout: Duration,
    /// Attempts that one request may make.
    pub attempts_max: u32,
}

/// An ordered chain of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Unique.
    pub name: String,
    /// Places in [`Config::models`], first choice first.
    pub chain: Vec<usize>,
}

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn read(settings: Settings) -> Result<Self, Mistakes> {
        let input: Input = settings.parse()?;
        let mut mistakes = Mistakes::new();
        input.check_ranges(&mut mistakes);
        let networks = networks(&input.local_networks, &mut mistakes);
        let names: Vec<String> = input.models.iter().map(|model| model.name.clone()).collect();
        check_names("model", &names, &mut mistakes);
        let routes = routes(&input.routes, &names, &mut mistakes);
        let cloud_proxy = input.cloud_proxy.as_ref().and_then(|text| proxy(text, &mut mistakes));
        let models =
            input.models.into_iter().filter_map(|model| model.check(&networks, &mut mistakes)).collect();
        let longest = Duration::from_millis(input.patience_ms);
        let config = Self {
            edge: input.edge.check(&mut mistakes),
            audit: input.audit.into(),
            data: input.data,
            outbox_events_max: input.outbox_events_max,
            local_networks: networks,
            cloud_proxy,
            retry: Policy {
                base: Duration::from_millis(input.retry_base_ms),
                cap: Duration::from_millis(input.retry_cap_ms),
                patience: longest,
            },
            health: HealthPolicy {
                unusable: Duration::from_millis(input.unusable_ms),
                circuit_failures: input.circuit_failures,
                circuit_open: Duration::from_millis(input.circuit_open_ms),
                probe: Duration::from_millis(input.circuit_open_ms),
            },
            models,
            routes,
        };
        mistakes.finish(Some(config))
    }
}

fn networks(texts: &[String], mistakes: &mut Mistakes) -> LocalNetworks {
    let parsed = texts.iter().filter_map(|text| match text.parse::<IpNet>() {
        Ok(network) => Some(network),
        Err(_not_cidr) => {
            mistakes
                .add("local_networks", format!("{text:?} must be a network such as 10.0.0.0/8 or ::1/128"));
            None
        }
    });
    LocalNetworks::new(parsed.collect::<Vec<_>>())
}

fn proxy(text: &Secret, mistakes: &mut Mistakes) -> Option<ProxyUrl> {
    let url = ProxyUrl::parse(text);
    if url.is_none() {
        // The text is not repeated: it may hold a password.
        mistakes.add("cloud_proxy", "must be a URL such as http://proxy.example:3128");
    }
    url
}

/// Names are unique and short, so that they fit into metadata and logs.
fn check_names(what: &str, names: &[String], mistakes: &mut Mistakes) {
    if names.is_empty() {
        mistakes.add(what, format!("there must be at least one [[model-router.{what}]]"));
    }
    for (at, name) in names.iter().enumerate() {
        let fits = (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'));
        if !fits {
            mistakes.add(&format!("{what}.name"), format!("{name:?} must be 1 to 64 of [A-Za-z0-9._:-]"));
        }
        if names[..at].contains(name) {
            mistakes.add(&format!("{what}.name"), format!("{name:?} is there twice; names must be unique"));
        }
    }
}

fn routes(inputs: &[RouteInput], models: &[String], mistakes: &mut Mistakes) -> Vec<RouteConfig> {
    let names: Vec<String> = inputs.iter().map(|route| route.name.clone()).collect();
    check_names("route", &names, mistakes);
    inputs
        .iter()
        .map(|route| RouteConfig { name: route.name.clone(), chain: chain(route, models, mistakes) })
        .collect()
}

fn chain(route: &RouteInput, models: &[String], mistakes: &mut Mistakes) -> Vec<usize> {
    let key = format!("route.{}.chain", route.name);
    if route.chain.is_empty() {
        mistakes.add(&key, "must name at least one model");
    }
    let mut places = Vec::new();
    for name in &route.chain {
        match models.iter().position(|model| model == name) {
            None => mistakes.add(&key, format!("{name:?} is no model; there are {}", models.join(", "))),
            Some(place) if places.contains(&place) => {
                mistakes.add(&key, format!("{name:?} is there twice; use attempts_max for more attempts"));
            }
            Some(place) => places.push(place),
        }
    }
    places
}

#[cfg(test)]
mod tests;
