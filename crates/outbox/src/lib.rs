//! Events on their way to the audit log.
//!
//! Promises that an event is stored in the same transaction as the state change it tells of, that events
//! leave in the order in which they were stored, that each arrives at least once (the log drops
//! duplicates by id), and that nothing is ever dropped: a full outbox refuses the change itself.
//!
//! A store that uses this has the table
//! `outbox(seq INTEGER PRIMARY KEY AUTOINCREMENT, event BLOB NOT NULL)`.

mod draft;
mod metrics;
mod redact;

use std::collections::BTreeSet;
use std::time::Duration;

use bulkhead_edge::peer::{self, Peer, PeerFailure};
use bulkhead_edge::{Readiness, Tasks};
use bulkhead_failpoint::{active, die};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_sqlite::{Store, WriteError};
use prost::Message as _;
use rand::Rng as _;
use sqlx::{Row as _, SqliteConnection};
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

pub use draft::EventDraft;
pub use redact::{redact_text, redact_value};

/// Events sent in one call; the log takes at most 256.
const BATCH_MAX: i64 = 128;
/// How long one delivery may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait after a failed delivery; it doubles up to the limit, with full jitter.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
/// Longest wait between deliveries: a log that came back is noticed well within the five seconds that an
/// irreversible call waits for it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Name of the readiness condition.
const CONDITION: &str = "audit_outbox";

/// Why an event was not stored, and with it the change it tells of.
#[derive(Debug, thiserror::Error)]
pub enum EnqueueError {
    /// Too many events wait for the audit service. Answer RESOURCE_EXHAUSTED (`OUTBOX_FULL`).
    #[error("{waiting} events wait for the audit service; no more are taken until it answers")]
    Full {
        /// How many wait.
        waiting: i64,
    },
    /// The store failed.
    #[error("cannot store an event")]
    Store(#[from] sqlx::Error),
}

/// The audit service did not confirm an event in time.
#[derive(Debug, thiserror::Error)]
#[error("the audit service did not confirm the event in time")]
pub struct NotAcknowledged;

/// How many events may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limit(pub i64);

impl Default for Limit {
    /// At about 1 KiB an event, 10,000 are 10 MiB and an hour of a busy agent.
    fn default() -> Self {
        Self(10_000)
    }
}

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
            store: store.clone(),
            audit: AuditServiceClient::new(audit),
            readiness,
            confirm,
            limit,
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
    let mut audit = AuditServiceClient::new(audit);
    let mut delivered = 0;
    while let Some(Batch { events, last }) = oldest(store).await? {
        let count = events.len();
        send(&mut audit, events).await?;
        remove(store, last).await?;
        metrics::delivered(count);
        delivered += count;
    }
    Ok(delivered)
}

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The store failed.
    #[error("cannot read the outbox")]
    Read(#[from] sqlx::Error),
    /// The store failed once they had arrived.
    #[error("cannot remove delivered events; they will be sent again and dropped there as duplicates")]
    Remove(#[from] WriteError),
    /// An event is not what was stored.
    #[error("an event in the outbox does not decode")]
    Decode(#[from] prost::DecodeError),
    /// The audit service was away, or refused.
    #[error("the audit service did not take the events: {} {}", peer::reason(.0), .0.message())]
    Send(#[from] tonic::Status),
}

struct Delivery {
    store: Store,
    audit: AuditServiceClient<Peer>,
    readiness: Readiness,
    confirm: watch::Sender<i64>,
    limit: Limit,
}

impl Delivery {
    async fn run(mut self, wake: Arc<Notify>, stopping: tokio_util::sync::CancellationToken) {
        let mut failures = 0;
        loop {
            match self.deliver_batch().await {
                Ok(0) => {
                    failures = 0;
                    self.readiness.met(CONDITION);
                    if stopping.is_cancelled() {
                        return;
                    }
                    tokio::select! { () = wake.notified() => {}, () = stopping.cancelled() => {} }
                }
                Ok(_) => failures = 0,
                Err(error) => {
                    failures += 1;
                    metrics::failed();
                    self.report(&error, failures).await;
                    if stopping.is_cancelled() {
                        return;
                    }
                    tokio::select! { () = tokio::time::sleep(backoff(failures)) => {}, () = stopping.cancelled() => {} }
                }
            }
        }
    }

    /// Sends the oldest events and returns how many were confirmed.
    async fn deliver_batch(&mut self) -> Result<usize, DeliveryError> {
        let Some(Batch { events, last }) = oldest(&self.store).await? else {
            metrics::waiting(0);
            metrics::oldest(None);
            return Ok(0);
        };
        metrics::waiting(waiting(&self.store).await?);
        metrics::oldest(events.first().and_then(happened_ms));
        if active("outbox.before_commit") {
            remove(&self.store, last).await?;
        }
        let count = events.len();
        send(&mut self.audit, events).await?;
        die("outbox.delivered");
        self.confirm.send_if_modified(|sent| std::mem::replace(sent, last.max(*sent)) < last);
        remove(&self.store, last).await?;
        metrics::delivered(count);
        Ok(count)
    }

    /// Says that events wait. The service stays ready while there is room: what is reversible goes on.
    async fn report(&self, error: &DeliveryError, failures: u32) {
        tracing::warn!(
            error = bulkhead_edge::fault::chain(error, ": "),
            failures,
            "events wait in the outbox"
        );
        match error {
            DeliveryError::Read(_) | DeliveryError::Remove(_) | DeliveryError::Decode(_) => {
                self.readiness.unmet(CONDITION, "the outbox cannot be read or written; see the log");
            }
            DeliveryError::Send(status) if PeerFailure::of(status) == PeerFailure::Refused => {
                self.readiness.unmet(CONDITION, "the audit service refuses our events; see the log");
            }
            DeliveryError::Send(_) if self.is_full().await => {
                let why = "the outbox is full; the audit service must take its events first";
                self.readiness.unmet(CONDITION, why);
            }
            DeliveryError::Send(_) => {}
        }
    }

    async fn is_full(&self) -> bool {
        let count = sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM outbox");
        count.fetch_one(self.store.readers()).await.is_ok_and(|waiting| waiting >= self.limit.0)
    }
}

/// The oldest events that wait.
struct Batch {
    events: Vec<pb::Event>,
    /// The place of the last of them.
    last: i64,
}

async fn oldest(store: &Store) -> Result<Option<Batch>, DeliveryError> {
    let rows = sqlx::query("SELECT seq, event FROM outbox ORDER BY seq LIMIT ?")
        .bind(BATCH_MAX)
        .fetch_all(store.readers())
        .await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let last: i64 = last.try_get("seq")?;
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        events.push(pb::Event::decode(row.try_get::<&[u8], _>("event")?)?);
    }
    Ok(Some(Batch { events, last }))
}

async fn send(audit: &mut AuditServiceClient<Peer>, events: Vec<pb::Event>) -> Result<(), tonic::Status> {
    let span = sending(&events);
    let message = pb::AppendEventsRequest { request_id: Uuid::now_v7().to_string(), events };
    let sent = audit.append_events(peer::within(message, SEND_TIMEOUT)).instrument(span.clone()).await;
    sent.map(drop).inspect_err(|status| {
        span.record("error.type", peer::reason(status));
        span.record("otel.status_code", "ERROR");
    })
}

/// Forgets every event up to `last`.
async fn remove(store: &Store, last: i64) -> Result<(), WriteError> {
    let remove = store.writer().write(move |connection| {
        Box::pin(async move {
            let remove = sqlx::query("DELETE FROM outbox WHERE seq <= ?").bind(last);
            remove.execute(connection).await.map_err(WriteError::NotWritten)?;
            Ok::<_, WriteError>(())
        })
    });
    remove.await
}

/// The span of one delivery, in a trace of its own: by the OpenTelemetry conventions for messaging a batch links to
/// where its messages come from. At most [`BATCH_MAX`] links.
fn sending(events: &[pb::Event]) -> Span {
    let span = tracing::info_span!(
        "send",
        otel.name = "send audit",
        otel.kind = "producer",
        otel.status_code = Empty,
        messaging.system = "bulkhead",
        messaging.destination.name = "audit",
        messaging.operation.type = "send",
        messaging.operation.name = "send",
        messaging.batch.message_count = i64::try_from(events.len()).unwrap_or(BATCH_MAX),
        error.type = Empty,
    );
    let sources: BTreeSet<&str> = events.iter().map(|event| event.traceparent.as_str()).collect();
    for source in sources {
        bulkhead_telemetry::link_traceparent(&span, source);
    }
    span
}

/// How many wait. Rows leave only from the front, so the ends of the range tell the count without a scan.
async fn waiting(store: &Store) -> Result<i64, sqlx::Error> {
    let count = "SELECT COALESCE(MAX(seq) - MIN(seq) + 1, 0) FROM outbox";
    sqlx::query_scalar(count).fetch_one(store.readers()).await
}

/// When an event happened, in milliseconds since 1970.
fn happened_ms(event: &pb::Event) -> Option<i64> {
    let time = event.time.as_ref()?;
    Some(time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000))
}

/// Full jitter under a doubling cap.
fn backoff(failures: u32) -> Duration {
    let cap = BACKOFF_BASE.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
    rand::rng().random_range(Duration::ZERO..=cap)
}
