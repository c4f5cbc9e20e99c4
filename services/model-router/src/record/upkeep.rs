//! Keeps the readiness true, about the store and about room for events, and the store small.
//!
//! A service that is not ready may be sent no calls, so neither condition waits for one to be met again: the
//! store is tried in the background, and the outbox's own delivery says when it is empty.

use std::time::{Duration, Instant};

use bulkhead_edge::Readiness;
use bulkhead_edge::fault::chain;
use bulkhead_outbox::FileOutbox;
use bulkhead_sqlite::{Store, WriteError};
use tokio_util::sync::CancellationToken;

use super::RecordError;
use super::unstored::Unstored;
use crate::reload::Catalogs;

/// Condition: the store can be read and written.
const STORE: &str = "store";
/// Condition: there is room for the events of calls. Shared with the outbox, which speaks of its delivery.
const OUTBOX: &str = "audit_outbox";
/// Our word about the latter, by which it is told from the outbox's.
const FULL: &str = "too many events wait for the audit service; no model is called until it takes them";

/// Between proofs that a store without trouble can be written.
const PROOF_INTERVAL: Duration = Duration::from_secs(10);
/// Between looks for trouble, and between proofs while there is some.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Between sweeps that found nothing more: what is swept is days old and in nobody's way.
const SWEEP_INTERVAL: Duration = Duration::from_secs(600);

/// What the recorder says about itself. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    readiness: Readiness,
}

impl Conditions {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { readiness }
    }

    /// A call could not be opened or recorded.
    pub(super) fn failed(&self, error: &RecordError) {
        match error {
            RecordError::Full { .. } => self.readiness.unmet(OUTBOX, FULL),
            RecordError::Outbox(_) | RecordError::Write(_) | RecordError::Read(_) => {
                self.readiness.unmet(STORE, "the store cannot be read or written; the log says why");
            }
            // A crowd passes by itself, trouble is known, and a task that panicked stops the service anyway.
            RecordError::Busy | RecordError::Troubled | RecordError::Lost(_) => {}
        }
    }

    /// A call was opened. What the outbox itself said of its delivery stands.
    pub(super) fn has_room(&self) {
        if self.readiness.problems().get(OUTBOX).is_some_and(|why| why == FULL) {
            self.readiness.met(OUTBOX);
        }
    }

    /// The store was written.
    pub(super) fn written(&self) {
        self.readiness.met(STORE);
    }

    /// Whether the store failed and has not been seen to work since.
    pub(super) fn is_troubled(&self) -> bool {
        self.readiness.problems().contains_key(STORE)
    }
}

/// Proves now and then that the store works, and sweeps it, until the service stops.
pub(super) async fn run(
    store: Store,
    unstored: Unstored,
    catalogs: Catalogs,
    conditions: Conditions,
    stopping: CancellationToken,
) {
    let (mut proved, mut swept) = (Instant::now(), None);
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = stopping.cancelled() => return,
        }
        let is_due = swept.is_none_or(|swept: Instant| swept.elapsed() >= SWEEP_INTERVAL);
        if is_due && !conditions.is_troubled() && !sweep(&catalogs).await {
            swept = Some(Instant::now());
        }
        if !conditions.is_troubled() && proved.elapsed() < PROOF_INTERVAL {
            continue;
        }
        proved = Instant::now();
        match prove(&store, &unstored).await {
            Ok(()) => conditions.written(),
            Err(error) => {
                tracing::error!(error = chain(&error, ": "), "the store does not work");
                conditions.failed(&error);
            }
        }
    }
}

/// Brings what was appended to the disk, until the service stops. What fails is trouble with the store.
pub(super) async fn keep_on_disk(outbox: FileOutbox, conditions: Conditions, stopping: CancellationToken) {
    let failed = |error| {
        let error = RecordError::Outbox(error);
        tracing::error!(error = chain(&error, ": "), "events are not known to be on disk");
        conditions.failed(&error);
    };
    stopping.run_until_cancelled(outbox.keep_on_disk(failed)).await;
}

/// Forgets a little of what no budget in force reads; true: there may be more.
async fn sweep(catalogs: &Catalogs) -> bool {
    let catalog = catalogs.current();
    catalog.meters().ledger().sweep(bulkhead_edge::now()).await.unwrap_or_else(|error| {
        tracing::warn!(error = chain(&error, ": "), "what is spent and over is still in the store");
        false
    })
}

/// Does what calls do with files: appends what could not be appended before, and writes what was spent.
async fn prove(store: &Store, unstored: &Unstored) -> Result<(), RecordError> {
    unstored.outbox().prove().await?;
    unstored.store()?;
    let now = bulkhead_edge::now().as_millisecond();
    let beat =
        "INSERT INTO heartbeat (one, time_ms) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET time_ms = ?1";
    let write = store.writer().write(move |connection| {
        Box::pin(async move {
            let beat = sqlx::query(beat).bind(now);
            beat.execute(connection).await.map_err(WriteError::NotWritten)?;
            Ok::<_, WriteError>(())
        })
    });
    Ok(write.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmet(readiness: &Readiness) -> Vec<&'static str> {
        readiness.problems().into_keys().collect()
    }

    #[test]
    fn each_error_names_its_condition() {
        let cases = [
            (RecordError::Full { waiting: 2 }, vec![OUTBOX]),
            (RecordError::Read(sqlx::Error::PoolClosed), vec![STORE]),
            (RecordError::Write(WriteError::Closed), vec![STORE]),
            (RecordError::Busy, vec![]),
            (RecordError::Troubled, vec![]),
        ];
        for (error, expected) in cases {
            let readiness = Readiness::new();
            let conditions = Conditions::new(readiness.clone());
            conditions.failed(&error);
            assert_eq!(unmet(&readiness), expected, "{error:?}");
            conditions.has_room();
            conditions.written();
            assert_eq!(unmet(&readiness), Vec::<&str>::new(), "{error:?}");
        }
    }

    #[test]
    fn room_for_a_call_does_not_speak_for_the_delivery() {
        let readiness = Readiness::new();
        readiness.unmet(OUTBOX, "the audit service refuses our events");
        Conditions::new(readiness.clone()).has_room();
        assert_eq!(unmet(&readiness), [OUTBOX]);
    }
}
