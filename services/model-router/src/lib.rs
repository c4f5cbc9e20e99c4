//! Calls models: the right one, again where that helps, another where it does not, and never one that may
//! not see the request.
//!
//! `classify → clear → plan → attempt* → answer`. Promises that
//! - a request with a sensitivity category goes to local models alone, on every path ([`clearance`]);
//! - a model marked local is only connected to at a local address ([`upstream`]);
//! - a server's own delay is honoured by every request, for ten minutes at most, and failures are retried within the caller's
//!   deadline and a budget ([`schedule`], [`health`]);
//! - what ExplainRoute prints is what Generate follows, but for the dice of a shared tier ([`plan`]);
//! - a changed configuration holds for the calls that begin after it, or is refused as a whole ([`succession`]);
//! - each call leaves an audit event before its answer goes out, which holds no prompt and no answer.

pub mod attempt;
pub mod balance;
pub mod budget;
pub mod catalog;
pub mod chat;
pub mod circuit;
pub mod clearance;
pub mod config;
mod doors;
pub mod failure;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod generate;
mod grpc;
pub mod health;
pub mod ledger;
pub mod limit;
mod listener;
mod meter;
mod metrics;
pub mod network;
mod open_calls;
pub mod output;
pub mod plan;
pub mod price;
pub mod provider;
pub mod proxy;
mod record;
mod reload;
pub mod schedule;
mod service;
mod slots;
pub mod spend;
pub mod succession;
pub mod tokens;
pub mod upstream;

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use bulkhead_edge::process::Announce;
use bulkhead_edge::settings::Loaded;
use bulkhead_edge::{Edge, Readiness, Tasks, peer};
use bulkhead_exit::{Exit, Obstacle};
use bulkhead_idempotency::memory::Memory;
use bulkhead_outbox::{FileOutbox, Limit};
use bulkhead_sqlite::exit_of;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

pub use config::Config;

use catalog::Catalog;
use ledger::Ledger;
use open_calls::OpenCalls;
use record::{CALLS_MAX, Recorder};
use reload::{Catalogs, Reload};
use service::Service;
use slots::{Slot, Slots};

/// Name of the service: its table in the configuration, its binary, its `service.name` in traces.
pub const NAME: &str = "model-router";

/// The gRPC services it serves, for health.
const SERVICES: &[&str] = &["bulkhead.router.v1.ModelRouterService", "bulkhead.router.v1.SessionService"];

/// What was spent, under the service's folder.
const STORE_FILE: &str = "router.db";
/// The events of calls, beside it.
const OUTBOX_FOLDER: &str = "outbox";

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Binds, announces the address, and serves until `shutdown`, by the configuration as it is meanwhile.
///
/// # Errors
/// When it cannot start, or when a part it cannot do without fails.
pub async fn serve(
    loaded: Loaded<Config>,
    announce: Announce,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tasks = Tasks::new();
    let readiness = Readiness::new();
    let Loaded { config, knobs, file } = loaded;
    let edge = Edge::bind(config.edge.clone()).await?;
    let slots = Slots::new(config.data.clone(), config.data_slots);
    let Slot { folder, store, left } = slots.claim().await.map_err(Obstacle::from)?;
    let ledger = Ledger::open(config.budgets.clone(), store.clone()).await;
    let ledger = ledger.map_err(|error| Obstacle::new(exit_of(&error).unwrap_or(Exit::Unusable), error))?;
    slots.learn(&ledger).await;
    let now = Instant::now();
    let catalogs = Catalogs::new(Catalog::new(&config, Arc::clone(&ledger), now)?, now);
    metrics::observe(&catalogs);
    let reload = Reload::new(file, knobs, catalogs.clone())?;
    tasks.spawn("configuration", reload.run(tasks.stopping()));
    // Room above the announced limit for the calls that are open when it is reached, and what they lead to in budgets.
    let limit = Limit(config.outbox_events_max.saturating_add(i64::try_from(CALLS_MAX * 4)?));
    let audit = peer::dial(&config.audit)?;
    tasks.spawn("left-events", slots.look_after(audit.clone(), ledger, tasks.stopping()));
    let open_calls = OpenCalls::open(&folder, &left).await;
    let outbox = FileOutbox::start(left, limit, audit, readiness.clone(), &tasks);
    outbox.adopt(&store).await?;
    let recorder = Recorder::start(
        store.clone(),
        outbox.clone(),
        config.outbox_events_max,
        catalogs.clone(),
        readiness.clone(),
        tasks.clone(),
        open_calls,
    );
    let last = recorder.clone();
    let service = Service { catalogs, recorder, replay: Memory::default(), streams: Memory::default() };
    announce(edge.address());
    let stopped = async move { shutdown.cancelled().await };
    let edge = edge.with_apis(doors::apis(&service));
    let served = edge.serve(grpc::routes(service), SERVICES, readiness, tasks, stopped).await;
    last.store_kept();
    if let Err(error) = outbox.sync().await {
        tracing::error!(%error, "what is left in the outbox is not known to be on disk");
    }
    store.close().await;
    Ok(served?)
}
