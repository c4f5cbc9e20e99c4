//! The table `[model-router]` of the configuration.

mod abilities;
mod budgets;
mod limits;
mod model;
mod route;
mod terms;

use std::path::PathBuf;
use std::time::Duration;

use bulkhead_edge::settings::Table;
use bulkhead_edge::{EdgeSettings, PeerSettings, Secret};
use ipnet::IpNet;

use crate::circuit::CircuitPolicy;
use crate::health::HealthPolicy;
use crate::ledger::BudgetConfig;
use crate::network::LocalNetworks;
use crate::proxy::ProxyUrl;
use crate::schedule::Policy;
use crate::upstream::Target;

pub use limits::{Allowance, LimitConfig, LimitScope};
pub use route::{Fallbacks, RouteConfig, Timeouts};
pub use terms::Terms;

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// How it meets its callers.
    pub edge: EdgeSettings,
    /// Where events go.
    pub audit: PeerSettings,
    /// Folder of its store.
    pub data: PathBuf,
    /// Routers that may share that folder.
    pub data_slots: u16,
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
    /// Every model, in the order of the file. None is allowed: a stack is of use before its first model is chosen.
    pub models: Vec<ModelConfig>,
    /// Every route.
    pub routes: Vec<RouteConfig>,
    /// How much callers may ask for.
    pub limits: Vec<LimitConfig>,
    /// What tenants and sessions may spend.
    pub budgets: Vec<BudgetConfig>,
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
    /// Its share of the requests of a tier.
    pub weight: u32,
    /// Attempts that one request may make.
    pub attempts_max: u32,
    /// Its size and its prices.
    pub terms: Terms,
    /// How much it may be asked.
    pub allowance: Allowance,
}

impl Config {
    /// Reads the table, and the keys that it names.
    pub fn read(table: &mut Table<'_>) -> Option<Self> {
        let edge = table.table("edge", EdgeSettings::read);
        let audit = table.table("audit", PeerSettings::read);
        let data = table.required("data", "Folder of the store; made by the first start.");
        let data_slots = table.number(
            "data_slots",
            1..=64,
            1,
            "Routers that may share data. With more than one, each keeps its store in the first of the folders \
             replica-0, replica-1, … there that no other has, delivers what was left in those that nobody has, and counts \
             what was spent there. One: the store lies in data itself.",
        );
        let outbox_events_max = table.number(
            "outbox_events_max",
            1..=1_000_000,
            10_000,
            "Events that may wait for audit; beyond it no model is called. At about 1 KiB an event, 10 MiB and an hour \
             of a busy agent.",
        );
        let local_networks = networks(table);
        let cloud_proxy = proxy(table);
        let retry = retry(table);
        let health = health(table);
        let mut names = Vec::new();
        let models = table.tables("model", |table| ModelConfig::read(table, &local_networks, &mut names));
        let models = models.unwrap_or_default();
        let mut seen = Vec::new();
        let routes =
            table.tables("route", |table| RouteConfig::read(table, &names, &mut seen)).unwrap_or_default();
        let mut seen = Vec::new();
        let limits = table.tables("limit", |table| LimitConfig::read(table, &mut seen)).unwrap_or_default();
        let mut seen = Vec::new();
        let budgets =
            table.tables("budget", |table| BudgetConfig::read(table, &models, &mut seen)).unwrap_or_default();
        Some(Self {
            edge: edge?,
            audit: audit?,
            data: data?,
            data_slots,
            outbox_events_max,
            local_networks,
            cloud_proxy,
            retry,
            health,
            models,
            routes,
            limits,
            budgets,
        })
    }
}

fn retry(table: &mut Table<'_>) -> Policy {
    Policy {
        base: table.milliseconds(
            "retry_base_ms",
            1..=60_000,
            200,
            "First cap of the jittered wait between attempts; it doubles. A fifth of a second, about the round trip to \
             a cloud model.",
        ),
        cap: table.milliseconds(
            "retry_cap_ms",
            1..=600_000,
            5_000,
            "Up to this. Five seconds: beyond it another model is the better use of the time.",
        ),
        patience: table.milliseconds(
            "patience_ms",
            0..=600_000,
            10_000,
            "A server that asks for a longer delay is passed over. Ten seconds: most rate limits that pass at all pass \
             sooner, and a person is still there.",
        ),
    }
}

fn health(table: &mut Table<'_>) -> HealthPolicy {
    let circuit_open = table.milliseconds(
        "circuit_open_ms",
        1..=3_600_000,
        15_000,
        "How long an open circuit rests until it is probed. A quarter of a minute, about a restart of a local model.",
    );
    let open_max = table.milliseconds(
        "circuit_open_max_ms",
        1..=86_400_000,
        300_000,
        "Up to this it rests twice as long after each probe that fails. Five minutes: an outage of hours costs few probes, \
         and its end is noticed soon.",
    );
    HealthPolicy {
        unusable: table.milliseconds(
            "unusable_ms",
            1..=86_400_000,
            60_000,
            "How long a model rests after 401, 402, 403 or 404. A minute: a corrected key is noticed soon, a wrong one \
             is not tried all the time.",
        ),
        circuit: CircuitPolicy {
            failures: table.number(
                "circuit_failures",
                1..=1_000,
                5,
                "Failures of one class in a row that open a model's circuit. Five: more than one request alone makes.",
            ),
            open: circuit_open,
            open_max: open_max.max(circuit_open),
        },
        probe: circuit_open,
    }
}

fn networks(table: &mut Table<'_>) -> LocalNetworks {
    let this_machine = ["127.0.0.0/8", "::1/128"].map(str::to_owned).to_vec();
    let texts = table.or(
        "local_networks",
        this_machine,
        "Networks whose models may see sensitive requests. This machine alone.",
    );
    let mut networks = Vec::new();
    for text in texts {
        match text.parse::<IpNet>() {
            Ok(network) => networks.push(network),
            Err(_not_cidr) => {
                let right = "must be a network such as 10.0.0.0/8 or ::1/128";
                table.mistake("local_networks", format!("{text:?} {right}"));
            }
        }
    }
    LocalNetworks::new(networks)
}

fn proxy(table: &mut Table<'_>) -> Option<ProxyUrl> {
    let text = table.optional::<Secret>(
        "cloud_proxy",
        "Proxy for cloud models, such as http://proxy.example:3128. Proxies of the environment are never used.",
    );
    let url = ProxyUrl::parse(&text?);
    if url.is_none() {
        // The text is not repeated: it may hold a password.
        table.mistake("cloud_proxy", "must be a URL such as http://proxy.example:3128");
    }
    url
}

/// A name is unique and short, so that it fits into metadata and logs. `seen` gets every name, right or wrong.
fn name(table: &mut Table<'_>, seen: &mut Vec<String>, meaning: &'static str) -> Option<String> {
    let name = table.required::<String>("name", meaning);
    let fits = |name: &String| {
        (1..=64).contains(&name.len())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':'))
    };
    if let Some(name) = name.as_ref().filter(|name| !fits(name)) {
        table.mistake("name", format!("{name:?} must be 1 to 64 of [A-Za-z0-9._:-]"));
    }
    if let Some(name) = name.as_ref().filter(|name| seen.contains(name)) {
        table.mistake("name", format!("{name:?} is there twice; names must be unique"));
    }
    seen.push(name.clone().unwrap_or_default());
    name
}

#[cfg(test)]
mod tests;
