//! Closes approvals when their time is over, and looks after the store.

use std::time::Duration;

use bulkhead_edge::fault::chain;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::desk::{Desk, DeskError};
use crate::metrics;

/// Between proofs that the store can be written; also bounds how far a clock that was set can mislead.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Runs until the service stops.
pub(crate) async fn run(desk: Desk, stopping: CancellationToken) {
    let mut changes = desk.changes();
    let mut health = desk.health();
    let mut upkeep_time = clock::now();
    loop {
        changes.mark_unchanged();
        health.mark_unchanged();
        let now = clock::now();
        let delay = match round(&desk, now, &mut upkeep_time).await {
            Ok(next) => Duration::try_from(next.duration_since(clock::now())).unwrap_or_default(),
            Err(error) => {
                tracing::error!(error = chain(&error, ": "), "expired approvals wait to be closed");
                RETRY_DELAY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(delay.min(UPKEEP_INTERVAL)) => {}
            // The sweeper's own desk keeps both channels open.
            _ = changes.changed() => {}
            _ = health.changed() => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// Does what is due and says when there is more.
async fn round(desk: &Desk, now: Timestamp, upkeep_time: &mut Timestamp) -> Result<Timestamp, DeskError> {
    if now >= *upkeep_time || desk.is_troubled() {
        desk.upkeep(now).await?;
        *upkeep_time = now.checked_add(UPKEEP_INTERVAL).unwrap_or(Timestamp::MAX);
    }
    let closed = desk.expire_due(now).await?;
    if closed > 0 {
        tracing::info!(closed, "approvals expired");
    }
    metrics::pending(desk.pending().await?);
    let next = desk.next_expiry().await?;
    Ok(next.map_or(*upkeep_time, |expiry| expiry.min(*upkeep_time)))
}
