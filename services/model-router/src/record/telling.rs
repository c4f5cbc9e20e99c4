//! Events that no call carries: of a budget that refuses each call before it begins.

use bulkhead_edge::fault::chain;
use bulkhead_sqlite::WriteError;

use super::{RecordError, Recorder};
use crate::ledger;
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
        let Closing { savings, events, .. } = closing;
        let (entries, queue) = (savings.entries().to_vec(), self.outbox.clone());
        let write = self.store.writer().write(move |connection| {
            Box::pin(async move {
                ledger::write(connection, &entries).await.map_err(WriteError::NotWritten)?;
                for event in events {
                    queue.enqueue(connection, event).await?;
                }
                Ok::<_, RecordError>(())
            })
        });
        write.await?;
        savings.saved();
        self.outbox.wake();
        Ok(())
    }
}
