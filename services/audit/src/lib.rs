//! The record: an append-only log whose lines are the leaves of a Merkle tree.
//!
//! Promises that an event is on disk before `AppendEvents` answers, once, in the order in which it was
//! taken; that a line is never changed; that a signed checkpoint follows within a second; and that anybody
//! who kept one can tell later, offline, whether the log still holds what it held ([`verify`]). It must
//! never acknowledge what is not durable, never drop an event, and never serve a log that its own
//! checkpoint contradicts.

pub mod checkpoint;
pub mod config;
pub mod event;
mod grpc;
pub mod index;
pub mod log;
pub mod merkle;
mod metrics;
pub mod query;
pub mod verify;

use std::error::Error;

use bulkhead_edge::process::Announce;
use bulkhead_edge::{Edge, Readiness, Tasks};
use bulkhead_exit::Obstacle;
use tokio_util::sync::CancellationToken;

use crate::log::{Clock, Layout, Log, Settings};
use crate::query::Query;

pub use config::Config;

/// Name of the service: its table in the configuration, its binary, its `service.name` in traces.
pub const NAME: &str = "audit";

/// The gRPC services it serves, for health.
const SERVICES: &[&str] =
    &["bulkhead.audit.v1.AuditService", "bulkhead.audit.v1.AlertService", "bulkhead.audit.v1.JobService"];

/// Binds, reads the log, announces the address, and serves until `shutdown`.
///
/// # Errors
/// When it cannot start, or when a part it cannot do without fails.
pub async fn serve(
    config: Config,
    announce: Announce,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let tasks = Tasks::new();
    let readiness = Readiness::new();
    let edge = Edge::bind(config.edge).await?;
    let layout = Layout::new(&config.data);
    metrics::observe(layout.logs());
    let settings =
        Settings { layout: layout.clone(), key: config.log_key, clock: Clock::new(bulkhead_edge::now) };
    let (log, index) = Log::open(settings, readiness.clone(), tasks.clone()).await.map_err(Obstacle::from)?;
    announce(edge.address());
    let routes = grpc::routes(log, Query::new(index, layout));
    edge.serve(routes, SERVICES, readiness, tasks, async move { shutdown.cancelled().await }).await?;
    Ok(())
}
