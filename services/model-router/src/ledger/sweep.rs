//! Forgets what no budget in force can read again: passed periods, and budgets that are not configured any more.

use bulkhead_sqlite::WriteError;
use jiff::Timestamp;

use super::{Ledger, LedgerError, store};

/// Rows that go in one run: what the writer removes in a moment, so that no call waits for it.
const ROWS_MAX: i64 = 256;

impl Ledger {
    /// Forgets some of it, and says whether there may be more.
    ///
    /// # Errors
    /// [`LedgerError`]; what is still there goes another time.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<bool, LedgerError> {
        let budgets = self.budgets.iter();
        let budgets =
            budgets.map(|budget| (store::name(&budget.name, budget.period), budget.period.at(now).start));
        let stale = store::unread(&self.store, &budgets.collect::<Vec<_>>(), ROWS_MAX).await?;
        if stale.is_empty() {
            return Ok(false);
        }
        let rows = stale.len();
        let remove = self.store.writer().write(move |connection| {
            Box::pin(async move { store::remove(connection, &stale).await.map_err(WriteError::NotWritten) })
        });
        remove.await?;
        tracing::debug!(rows, "forgot what was spent of budgets or in periods that are over");
        Ok(i64::try_from(rows).is_ok_and(|rows| rows >= ROWS_MAX))
    }
}
