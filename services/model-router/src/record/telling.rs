//! Events that no call carries: of a budget that refuses each call before it begins.

use bulkhead_edge::fault::chain;

use super::{RecordError, Recorder};
use crate::meter::{Closing, Meters};

impl Recorder {
    /// Stores what waits to be told, unless the store is known not to work. What cannot be stored waits for the next write.
    pub(crate) fn tell(&self, meters: &Meters) {
        if self.conditions.is_troubled() {
            return;
        }
        let Some(closing) = meters.untold() else { return };
        let recorder = self.clone();
        self.tasks.spawn("budget-event", async move {
            if let Err(error) = recorder.store_alone(closing).await {
                tracing::warn!(error = chain(&error, ": "), "an event about a budget is not stored yet");
                recorder.conditions.failed(&error);
            }
        });
    }

    async fn store_alone(&self, closing: Closing) -> Result<(), RecordError> {
        // Another was faster.
        if closing.events.is_empty() {
            return Ok(());
        }
        self.spend(&closing.savings).await?;
        let told = self.append(None, closing, None)?;
        self.commit(told).await;
        Ok(())
    }
}
