//! Plans tool calls, gates them, runs them once, and takes them back.
//!
//! Promises:
//! - Nothing runs without a [`permit::Permit`], and a permit comes only from the policy's word or from a
//!   verified grant that the policy, asked again, accepts. It is for one plan, by digest.
//! - The intent, the plan, the grant's use and the audit event are on disk in one transaction before the
//!   effect. No durable record, no effect.
//! - A request id acts once, a grant is used once, an execution is taken back once.
//! - What was begun goes on when its caller goes away; after a crash, what was running is reconciled before
//!   anything new begins, and what waits for people goes on waiting.

pub mod approvals;
pub mod config;
pub mod engine;
pub mod events;
pub mod execution;
pub mod fs;
mod grpc;
mod metrics;
pub mod permit;
pub mod plan;
pub mod policy;
mod refusals;
pub mod store;
pub mod tool;
pub mod toolbox;

use std::error::Error;
use std::sync::Arc;

use bulkhead_edge::peer;
use bulkhead_edge::process::Announce;
use bulkhead_edge::{Edge, Readiness, Tasks};
use bulkhead_exit::Obstacle;
use bulkhead_outbox::Outbox;
use tokio_util::sync::CancellationToken;

use approvals::Approvals;
use engine::{Engine, Parts};
use store::Journal;
use tool::Tool;
use toolbox::Toolbox;

pub use config::Config;
pub use policy::DEFAULT_POLICY;

/// Name of the service: its table in the configuration, its binary, its `service.name` in traces.
pub const NAME: &str = "tool-executor";

/// The gRPC services it serves, for health.
const SERVICES: &[&str] = &["bulkhead.tools.v1.ToolExecutorService"];

/// Name of the journal in the data folder.
const JOURNAL: &str = "journal.sqlite";

/// Binds, announces the address, and serves the file tools until `shutdown`.
///
/// # Errors
/// When it cannot start, or when a part it cannot do without fails.
pub async fn serve(
    config: Config,
    announce: Announce,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let files = fs::Files::open(config.fs.clone()).map_err(Obstacle::from)?;
    tokio::select! {
        served = serve_tools(config, files.tools(), announce, shutdown) => served,
        never = files.keep_swept() => match never {},
    }
}

/// The same with other tools.
///
/// # Errors
/// When it cannot start, or when a part it cannot do without fails.
pub async fn serve_tools(
    config: Config,
    tools: Vec<Arc<dyn Tool>>,
    announce: Announce,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    metrics::register();
    let tasks = Tasks::new();
    let readiness = Readiness::new();
    let toolbox = Toolbox::new(tools)?;
    let (audit, approval) = (peer::dial(&config.audit)?, peer::dial(&config.approval.peer)?);

    let edge = Edge::bind(config.edge).await?;
    let store = store::open(&config.data.join(JOURNAL)).await.map_err(Obstacle::from)?;
    let limits = config.limits;
    let outbox = Outbox::start(store.clone(), limits.outbox, audit, readiness.clone(), &tasks);
    let engine = Engine::new(Parts {
        toolbox,
        policy: config.policy,
        keys: config.grant_keys,
        journal: Journal::new(store.clone(), outbox, limits, readiness.clone()),
        approvals: Approvals::new(approval, config.approval.timeout, config.approval.expires_in),
        tasks: tasks.clone(),
        settings: config.engine,
    });
    engine.recover().await.map_err(Obstacle::from)?;
    engine.start();
    announce(edge.address());
    let routes = grpc::routes(engine);
    edge.serve(routes, SERVICES, readiness, tasks, async move { shutdown.cancelled().await }).await?;
    store.close().await;
    Ok(())
}
