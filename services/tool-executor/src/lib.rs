//! Plans tool calls, gates them, runs them once, and takes them back.

pub mod config;
pub mod fs;
mod grpc;
pub mod tool;

use std::error::Error;

use bulkhead_edge::process::Announce;
use bulkhead_edge::{Edge, Readiness, Tasks};
use tokio_util::sync::CancellationToken;

pub use config::Config;

/// Name of the service: its table in the configuration, its binary, its `service.name` in traces.
pub const NAME: &str = "tool-executor";

/// The gRPC services it serves, for health.
const SERVICES: &[&str] = &["bulkhead.tools.v1.ToolExecutorService"];

/// Binds, announces the address, and serves until `shutdown`.
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
    announce(edge.address());
    edge.serve(grpc::routes(), SERVICES, readiness, tasks, async move { shutdown.cancelled().await }).await?;
    Ok(())
}
