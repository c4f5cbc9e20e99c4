//! Forgets request ids when no retry can come any more.

use std::time::Duration;

use bulkhead_edge::fault::chain;

use super::Engine;

/// Between sweeps. A busy agent makes some thousand ids meanwhile, which one delete takes in its stride.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Between two looks at a journal that failed.
const PROOF_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs until the service stops. What fails is due again an hour later.
    pub(super) async fn keep_swept(self) {
        let stopping = self.0.parts.tasks.stopping();
        while !stopping.is_cancelled() {
            match self.journal().forget_requests(bulkhead_edge::now()).await {
                Ok(0) => {}
                Ok(forgotten) => tracing::info!(forgotten, "forgot old request ids"),
                Err(error) => {
                    tracing::warn!(error = chain(&error, ": "), "old request ids could not be forgotten");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(SWEEP_INTERVAL) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Looks whether a journal that failed works again, so that readiness comes back without a caller. Runs
    /// until the service stops.
    pub(super) async fn keep_proved(self) {
        let stopping = self.0.parts.tasks.stopping();
        loop {
            tokio::select! {
                () = tokio::time::sleep(PROOF_INTERVAL) => {}
                () = stopping.cancelled() => return,
            }
            if self.journal().is_troubled()
                && let Err(error) = self.journal().prove(bulkhead_edge::now()).await
            {
                tracing::error!(error = chain(&error, ": "), "the journal does not work");
            }
        }
    }
}
