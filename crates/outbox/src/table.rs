//! The outbox that is a table in the store of a service:
//! `outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL)`.

use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::peer::Peer;
use bulkhead_edge::{Readiness, Tasks};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_sqlite::{Store, WriteError};
use prost::Message as _;
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::{Notify, watch};

use crate::delivery::{BATCH_MAX, Batch, Delivery, DeliveryError, Source, deliver_all};
use crate::{EnqueueError, EventDraft, Limit, NotAcknowledged, metrics};

/// The sending side of one service's outbox. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox {
    store: Store,
    limit: Limit,
    wake: Arc<Notify>,
    delivered: watch::Receiver<i64>,
}

impl Outbox {
    /// Starts delivering to the audit service. What an earlier process left is sent first. Ends after every
    /// other task, with one last delivery of what those left.
    #[must_use]
    pub fn start(store: Store, limit: Limit, audit: Peer, readiness: Readiness, tasks: &Tasks) -> Self {
        metrics::observe();
        let (confirm, delivered) = watch::channel(0);
        let wake = Arc::new(Notify::new());
        let delivery = Delivery {
            source: Table { store: store.clone(), confirm },
            audit: AuditServiceClient::new(audit),
            readiness,
            limit,
            // An irreversible call waits for its event to arrive.
            linger: Duration::ZERO,
        };
        tasks.spawn_last("outbox", delivery.run(Arc::clone(&wake), tasks.stopping_last()));
        Self { store, limit, wake, delivered }
    }

    /// Stores an event inside the caller's transaction and returns its place. Call [`Outbox::wake`] once
    /// the transaction is committed.
    ///
    /// # Errors
    /// [`EnqueueError`]; the caller must let its transaction fail.
    pub async fn enqueue(
        &self,
        connection: &mut SqliteConnection,
        draft: EventDraft,
    ) -> Result<i64, EnqueueError> {
        // Rows leave only from the front, so the ends of the range tell the count without a scan.
        let row = sqlx::query("SELECT COALESCE(MAX(seq) - MIN(seq) + 1, 0) AS waiting FROM outbox")
            .fetch_one(&mut *connection)
            .await?;
        let waiting: i64 = row.try_get("waiting")?;
        if waiting >= self.limit.0 {
            return Err(EnqueueError::Full { waiting });
        }
        let inserted = sqlx::query("INSERT INTO outbox (event) VALUES (?)")
            .bind(draft.into_event().encode_to_vec())
            .execute(connection)
            .await?;
        metrics::waiting(waiting + 1);
        Ok(inserted.last_insert_rowid())
    }

    /// Stores an event that goes with no other change, durably.
    ///
    /// # Errors
    /// `E` from a full outbox or a failed store.
    pub async fn append<E>(&self, draft: EventDraft) -> Result<i64, E>
    where
        E: From<EnqueueError> + From<WriteError> + Send + 'static,
    {
        let outbox = self.clone();
        let place = self
            .store
            .writer()
            .write(move |connection| {
                Box::pin(async move { Ok::<_, E>(outbox.enqueue(connection, draft).await?) })
            })
            .await?;
        self.wake();
        Ok(place)
    }

    /// There is something to deliver.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the audit service has confirmed the event at `place` and all before it.
    ///
    /// # Errors
    /// [`NotAcknowledged`] when that takes longer than `bound`.
    pub async fn acknowledged(&self, place: i64, bound: Duration) -> Result<(), NotAcknowledged> {
        let mut delivered = self.delivered.clone();
        let confirmed = delivered.wait_for(|sent| *sent >= place);
        match tokio::time::timeout(bound, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(NotAcknowledged),
        }
    }
}

/// Delivers what a process that is gone has left in its store, and returns how many events that were. One that fails
/// or is given up halfway loses nothing: what is not confirmed stays.
///
/// # Errors
/// [`DeliveryError`]; what came before it is delivered.
pub async fn deliver_left(store: &Store, audit: Peer) -> Result<usize, DeliveryError> {
    deliver_all(&Table::of(store), audit).await
}

/// The table, as what is delivered from.
pub(crate) struct Table {
    store: Store,
    confirm: watch::Sender<i64>,
}

impl Table {
    /// The table of a store that nobody waits for.
    pub(crate) fn of(store: &Store) -> Self {
        Self { store: store.clone(), confirm: watch::Sender::new(0) }
    }
}

impl Source for Table {
    /// The place of its last event.
    type Place = i64;

    async fn oldest(&self) -> Result<Option<Batch<i64>>, DeliveryError> {
        let rows = sqlx::query("SELECT seq, event FROM outbox ORDER BY seq LIMIT ?")
            .bind(BATCH_MAX)
            .fetch_all(self.store.readers())
            .await?;
        let Some(last) = rows.last() else { return Ok(None) };
        let place: i64 = last.try_get("seq")?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(pb::Event::decode(row.try_get::<&[u8], _>("event")?)?);
        }
        Ok(Some(Batch { events, place }))
    }

    fn confirm(&self, last: i64) {
        self.confirm.send_if_modified(|sent| std::mem::replace(sent, last.max(*sent)) < last);
    }

    async fn remove(&self, last: i64) -> Result<(), DeliveryError> {
        let remove = self.store.writer().write(move |connection| {
            Box::pin(async move {
                let remove = sqlx::query("DELETE FROM outbox WHERE seq <= ?").bind(last);
                remove.execute(connection).await.map_err(WriteError::NotWritten)?;
                Ok::<_, WriteError>(())
            })
        });
        Ok(remove.await?)
    }

    /// Rows leave only from the front, so the ends of the range tell the count without a scan.
    async fn waiting(&self) -> Result<i64, DeliveryError> {
        let count = "SELECT COALESCE(MAX(seq) - MIN(seq) + 1, 0) FROM outbox";
        Ok(sqlx::query_scalar(count).fetch_one(self.store.readers()).await?)
    }
}
