//! How a change is made: to its end, in one transaction, and told to those who wait for it.

use bulkhead_edge::fault::chain;
use bulkhead_sqlite::WriteError;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sqlx::SqliteConnection;
use tracing::{Instrument as _, Span};

use super::{CONDITION, Change, Desk, DeskError};
use crate::store::StoreError;

impl Desk {
    /// Makes a change and tells those who wait for one: watchers, the sweeper, the outbox.
    pub(super) async fn change<T, F>(&self, act: F) -> Change<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Change<T>> + Send + 'static,
    {
        let desk = self.clone();
        let change = async move {
            let result = desk.write(act).await;
            if result.is_ok() {
                desk.outbox.wake();
                desk.changes.send_modify(|count| *count = count.wrapping_add(1));
            }
            result
        };
        let untold = |result: Change<T>| {
            if let Err(error) = result {
                tracing::warn!(error = chain(&error, ": "), "a change failed after its caller went away");
            }
        };
        let seen = self.tasks.see_through("change", change, untold).await;
        seen.map_err(|_lost| StoreError::OutcomeUnknown(WriteError::Closed))?
    }

    /// Writes in the caller's span, so that what is stored belongs to its trace, and keeps the readiness
    /// true.
    pub(super) async fn write<T, F>(&self, act: F) -> Change<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Change<T>> + Send + 'static,
    {
        let span = Span::current();
        let result = self.store.writer().write(move |c| act(c).instrument(span).boxed()).await;
        // Any other refusal says nothing about the store, and a success may have written nothing; only
        // `upkeep` surely writes, and says when the store is back.
        if let Err(DeskError::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))) = &result {
            self.readiness.unmet(CONDITION, "the store cannot be written; the log says why");
        }
        result
    }
}
