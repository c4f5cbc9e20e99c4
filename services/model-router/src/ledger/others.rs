//! What other routers spent, out of stores that nobody has.

use std::sync::Arc;

use bulkhead_sqlite::{Store, WriteError};
use jiff::Timestamp;

use super::store::{self, Row};
use super::{Key, Ledger, LedgerError};

/// Rows that are copied at a time: what the writer takes in a moment, so that no call waits for it.
const PAGE_ROWS: i64 = 256;

impl Ledger {
    /// Counts from now on what stands in another router's store: what was spent there, and what was learnt there before.
    /// It stays there too, for whoever has that store next. Where this is cut short, or the outcome of a write is unknown,
    /// the next one does it again, and nothing counts twice. Returns how many rows it looked at; none, where nobody has had
    /// the store since it was learnt.
    ///
    /// # Errors
    /// [`LedgerError`]; the rows before it are learnt.
    pub(crate) async fn learn(&self, left: &Store, now: Timestamp) -> Result<usize, LedgerError> {
        let edition = store::edition(left).await?;
        if self.lock().learnt.get(&edition.id) == Some(&edition.terms) {
            return Ok(0);
        }
        let (mut looked_at, mut after) = (0, None);
        loop {
            let page = store::page(left, after.as_ref(), PAGE_ROWS).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            looked_at += page.len();
            self.learn_rows(page, now).await?;
        }
        self.lock().learnt.insert(edition.id, edition.terms);
        Ok(looked_at)
    }

    async fn learn_rows(&self, mut page: Vec<Row>, now: Timestamp) -> Result<(), LedgerError> {
        // Of its own rows nobody knows more than this ledger.
        page.retain(|row| row.origin != self.origin.id && row.account(now).is_some());
        if page.is_empty() {
            return Ok(());
        }
        let rows: Arc<[Row]> = page.into();
        let (copied, origin) = (Arc::clone(&rows), Arc::clone(&self.origin));
        let copy = self.store.writer().write(move |connection| {
            Box::pin(async move {
                store::copy(connection, &origin, &copied).await.map_err(WriteError::NotWritten)
            })
        });
        copy.await?;
        for (key, start) in self.open_accounts(&rows, now) {
            let known = store::known(&self.store, &self.origin.id, &key, start).await?;
            self.change(&key, |account| account.learn(known, start));
        }
        Ok(())
    }

    /// Those of the accounts that are in use, which know of the disk only what was there when they were read. Whoever is
    /// about to read one reads it again.
    fn open_accounts(&self, rows: &[Row], now: Timestamp) -> Vec<(Key, Option<Timestamp>)> {
        let mut books = self.lock();
        books.changes = books.changes.saturating_add(1);
        let accounts = rows.iter().filter_map(|row| row.account(now));
        accounts.filter(|(key, _)| books.accounts.contains_key(key)).collect()
    }
}
