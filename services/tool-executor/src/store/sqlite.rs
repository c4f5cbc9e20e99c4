//! The journal on SQLite.

#[cfg(test)]
mod tests;

use bulkhead_edge::Readiness;
use bulkhead_outbox::{EventDraft, NotAcknowledged, Outbox};
use bulkhead_sqlite::{OpenError, Store};
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::{QueryBuilder, Sqlite};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

use super::change::{change, claimed, require_room};
use super::{Claimed, Committed, Filter, Limits, ListedPage, StoreError, Waiting, rows};
use crate::execution::{Draft, Execution, State};
use crate::metrics;
use bulkhead_idempotency::Request;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// Name of the readiness condition.
const CONDITION: &str = "journal";

/// Counts the changes of the journal, for those who wait for one.
pub type Changes = watch::Receiver<u64>;

/// The journal of one executor. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    store: Store,
    outbox: Outbox,
    limits: Limits,
    readiness: Readiness,
    changes: Arc<watch::Sender<u64>>,
}

/// Opens the file of the journal and brings its schema up to date.
///
/// # Errors
/// [`OpenError`].
pub(crate) async fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &MIGRATIONS).await
}

impl Journal {
    /// Over a store and the outbox that lives in it. `limits.outbox` is the outbox's own.
    #[must_use]
    pub fn new(store: Store, outbox: Outbox, limits: Limits, readiness: Readiness) -> Self {
        Self { store, outbox, limits, readiness, changes: Arc::new(watch::Sender::new(0)) }
    }

    /// Makes a change and stores its event, in one transaction, durably.
    ///
    /// # Errors
    /// [`StoreError`]; unless it is `OutcomeUnknown`, nothing was changed.
    pub async fn commit(&self, draft: Draft, event: Option<EventDraft>) -> Result<Committed, StoreError> {
        let outbox = self.outbox.clone();
        let limits = self.limits;
        let written = self
            .store
            .writer()
            .write(move |connection| Box::pin(change(connection, outbox, limits, draft, event)))
            .await;
        self.report(&written);
        let committed = written?;
        if let Committed::Done { execution, .. } = &committed {
            metrics::entered(execution.state);
        }
        self.outbox.wake();
        self.changes.send_modify(|count| *count += 1);
        Ok(committed)
    }

    /// Stores an event that goes with no execution.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tell(&self, event: EventDraft) -> Result<(), StoreError> {
        let outbox = self.outbox.clone();
        let limit = self.limits.outbox;
        let written = self
            .store
            .writer()
            .write(move |connection| {
                Box::pin(async move {
                    require_room(connection, limit, 1).await?;
                    outbox.enqueue(connection, event).await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await;
        self.report(&written);
        self.outbox.wake();
        written
    }

    /// Waits until the audit service has confirmed an event.
    ///
    /// # Errors
    /// [`NotAcknowledged`] when that takes longer than `bound`.
    pub async fn acknowledged(&self, event_place: i64, bound: Duration) -> Result<(), NotAcknowledged> {
        self.outbox.acknowledged(event_place, bound).await
    }

    /// What a request id means now.
    ///
    /// # Errors
    /// [`StoreError::RequestReused`] when it said something else before.
    pub async fn claim(&self, request: &Request) -> Result<Claimed, StoreError> {
        let mut connection = self.store.readers().acquire().await?;
        claimed(&mut connection, request).await
    }

    /// One execution.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn find(&self, id: Uuid) -> Result<Option<Execution>, StoreError> {
        let mut connection = self.store.readers().acquire().await?;
        rows::find(&mut connection, id).await
    }

    /// Every execution in a state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn all_in(&self, state: State) -> Result<Vec<Execution>, StoreError> {
        let rows = sqlx::query("SELECT record FROM executions WHERE state = ? ORDER BY seq")
            .bind(state.as_str())
            .fetch_all(self.store.readers())
            .await?;
        rows.iter().map(rows::read).collect()
    }

    /// Forgets the request ids that are older than their window, and says how many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_requests(&self, now: Timestamp) -> Result<u64, StoreError> {
        let write = self.store.writer().write(move |connection| {
            Box::pin(async move { Ok::<_, StoreError>(bulkhead_sqlite::sweep(connection, now).await?) })
        });
        let swept = write.await;
        self.report(&swept);
        swept
    }

    /// Writes something, and says that the journal works when that went well.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prove(&self, now: Timestamp) -> Result<(), StoreError> {
        let write = self.store.writer().write(move |connection| {
            Box::pin(async move { Ok::<_, StoreError>(rows::beat(connection, now).await?) })
        });
        let proved = write.await;
        self.report(&proved);
        if proved.is_ok() {
            self.readiness.met(CONDITION);
        }
        proved
    }

    /// Whether a write failed and none has proved since that the journal works.
    #[must_use]
    pub fn is_troubled(&self) -> bool {
        self.readiness.problems().contains_key(CONDITION)
    }

    /// Everything that waits for people, oldest first. Without the plans, which are large and many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let rows = sqlx::query(
            "SELECT execution_id, CASE state WHEN 'PLANNED' THEN NULL ELSE COALESCE(approval_id, '') END \
             AS approval_id, create_time_ms FROM executions \
             WHERE state IN ('PLANNED', 'AWAITING_APPROVAL') ORDER BY seq",
        )
        .fetch_all(self.store.readers())
        .await?;
        rows.iter().map(rows::read_waiting).collect()
    }

    /// At most `size` executions older than the cursor, newest first; fewer when they are large.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(
        &self,
        filter: &Filter,
        before: Option<u64>,
        size: u32,
    ) -> Result<ListedPage, StoreError> {
        let mut query: QueryBuilder<Sqlite> =
            QueryBuilder::new("SELECT seq, record FROM executions WHERE tenant = ");
        query.push_bind(filter.tenant.clone());
        if let Some(principal) = filter.principal.clone() {
            query.push(" AND principal = ").push_bind(principal);
        }
        if let Some(state) = filter.state {
            query.push(" AND state = ").push_bind(state.as_str());
        }
        if let Some(session) = filter.session_id.clone() {
            query.push(" AND session_id = ").push_bind(session);
        }
        if let Some(seq) = before.and_then(|seq| i64::try_from(seq).ok()) {
            query.push(" AND seq < ").push_bind(seq);
        }
        query.push(" ORDER BY seq DESC LIMIT ").push_bind(i64::from(size) + 1);
        let rows = query.build().fetch(self.store.readers());
        rows::read_page(rows, usize::try_from(size).unwrap_or(usize::MAX)).await
    }

    /// Follows the changes.
    #[must_use]
    pub fn changes(&self) -> Changes {
        self.changes.subscribe()
    }

    fn report<T>(&self, written: &Result<T, StoreError>) {
        // A success may have written nothing; only `prove` surely writes.
        if let Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) = written {
            self.readiness.unmet(CONDITION, "the journal cannot be written; see the log");
        }
    }
}
