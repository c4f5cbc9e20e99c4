//! Decisions of people, each bound to the exact effect that was shown.
//!
//! Promises:
//! 1. A vote that was answered is on disk, and so is the grant that it completed.
//! 2. An approval is settled once. One denial is final; expiry is a denial.
//! 3. Nobody decides on a request of their own, or of the agent they own.
//! 4. A vote counts for the plan whose digest it names and for no other; the grant is signed over that digest.
//! 5. Each change is stored in one transaction with the audit events that tell of it, or not at all.
//! 6. Nothing of one tenant is shown to another.
//!
//! What is deliberately absent: an approval that is settled cannot be reopened, a vote cannot be taken back
//! (only overruled by a denial), and no call reads the clock of its caller.

mod approval;
mod clock;
pub mod config;
mod desk;
mod events;
mod grpc;
mod metrics;
mod store;
mod sweeper;

use std::error::Error;

use bulkhead_edge::process::Announce;
use bulkhead_edge::{Edge, Readiness, Tasks, peer};
use bulkhead_exit::Obstacle;
use bulkhead_outbox::Outbox;
use bulkhead_sqlite::Store;
use sqlx::migrate::Migrator;
use tokio_util::sync::CancellationToken;

use crate::desk::{Desk, Signer};
use crate::grpc::Grpc;

pub use config::Config;

/// Name of the service: its table in the configuration, its binary, its `service.name` in traces.
pub const NAME: &str = "approval";

/// The gRPC services it serves, for health.
const SERVICES: &[&str] = &["bulkhead.approval.v1.ApprovalService"];

/// Brings a store up to date.
static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Binds, announces the address, and serves until `shutdown`.
///
/// # Errors
/// When it cannot start, or when a part it cannot do without fails.
pub async fn serve(
    config: Config,
    announce: Announce,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    metrics::observe();
    let tasks = Tasks::new();
    let readiness = Readiness::new();
    let key = config.grant_key;
    let public_key = key.public();
    let audit = peer::dial(&config.audit)?;
    let store = Store::open(&config.data.join("approval.db"), &MIGRATIONS).await.map_err(Obstacle::from)?;
    let edge = Edge::bind(config.edge).await?;

    let outbox = Outbox::start(store.clone(), config.outbox_limit, audit, readiness.clone(), &tasks);
    let signer = Signer { key, lifetime: config.grant_lifetime };
    let desk = Desk::new(store.clone(), outbox, signer, readiness.clone(), tasks.clone());
    tasks.spawn("sweeper", sweeper::run(desk.clone(), tasks.stopping()));
    let grpc = Grpc { desk, expiry: config.expiry, public_key, stopping: tasks.stopping() };

    announce(edge.address());
    edge.serve(grpc.routes(), SERVICES, readiness, tasks, async move { shutdown.cancelled().await }).await?;
    store.close().await;
    Ok(())
}
