//! From an outbox to the audit service, in order, until nothing is left.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::Readiness;
use bulkhead_edge::peer::{self, Peer, PeerFailure};
use bulkhead_failpoint::{active, die};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_sqlite::WriteError;
use rand::Rng as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use crate::{Limit, metrics};

/// Events sent in one call; the log takes at most 256.
pub(crate) const BATCH_MAX: i64 = 128;
/// How long one delivery may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// First wait after a failed delivery; it doubles up to the limit, with full jitter.
const BACKOFF_BASE: Duration = Duration::from_millis(100);
/// Longest wait between deliveries: a log that came back is noticed well within the five seconds that an
/// irreversible call waits for it.
const BACKOFF_MAX: Duration = Duration::from_secs(2);
/// Name of the readiness condition.
const CONDITION: &str = "audit_outbox";

/// Where events wait.
pub(crate) trait Source: Send + Sync + 'static {
    /// The place of a batch.
    type Place: Copy + Send + Sync;

    /// The oldest events, at most [`BATCH_MAX`] where they were stored one by one.
    fn oldest(&self) -> impl Future<Output = Result<Option<Batch<Self::Place>>, DeliveryError>> + Send;

    /// The batch has arrived.
    fn confirm(&self, place: Self::Place);

    /// Forgets the batch.
    fn remove(&self, place: Self::Place) -> impl Future<Output = Result<(), DeliveryError>> + Send;

    /// How many events wait.
    fn waiting(&self) -> impl Future<Output = Result<i64, DeliveryError>> + Send;
}

/// The oldest events that wait.
#[derive(Debug)]
pub(crate) struct Batch<P> {
    pub(crate) events: Vec<pb::Event>,
    pub(crate) place: P,
}

/// Why a batch did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The store failed.
    #[error("cannot read the outbox")]
    Read(#[from] sqlx::Error),
    /// A file failed.
    #[error("cannot read the files of the outbox")]
    File(#[from] io::Error),
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

/// Delivers what a process that is gone has left, and returns how many events that were. One that fails or is given up
/// halfway loses nothing: what is not confirmed stays.
pub(crate) async fn deliver_all<S: Source>(source: &S, audit: Peer) -> Result<usize, DeliveryError> {
    let mut audit = AuditServiceClient::new(audit);
    let mut delivered = 0;
    while let Some(Batch { events, place }) = source.oldest().await? {
        let count = events.len();
        send(&mut audit, events).await?;
        source.remove(place).await?;
        metrics::delivered(count);
        delivered += count;
    }
    Ok(delivered)
}

/// Delivers for as long as the service runs.
pub(crate) struct Delivery<S> {
    pub(crate) source: S,
    pub(crate) audit: AuditServiceClient<Peer>,
    pub(crate) readiness: Readiness,
    pub(crate) limit: Limit,
    /// How long the first event of a batch waits for others, unless the service stops.
    pub(crate) linger: Duration,
}

impl<S: Source> Delivery<S> {
    pub(crate) async fn run(mut self, wake: Arc<Notify>, stopping: CancellationToken) {
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
                    self.gather(&stopping).await;
                }
                Ok(delivered) => {
                    failures = 0;
                    if delivered < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) {
                        self.gather(&stopping).await;
                    }
                }
                Err(error) => {
                    failures += 1;
                    metrics::failed();
                    self.report(&error, failures).await;
                    if stopping.is_cancelled() {
                        return;
                    }
                    stopping.run_until_cancelled(tokio::time::sleep(backoff(failures))).await;
                }
            }
        }
    }

    /// Waits for others to come, for as long as the first of them may wait.
    async fn gather(&self, stopping: &CancellationToken) {
        if !self.linger.is_zero() {
            stopping.run_until_cancelled(tokio::time::sleep(self.linger)).await;
        }
    }

    /// Sends the oldest events and returns how many were confirmed.
    async fn deliver_batch(&mut self) -> Result<usize, DeliveryError> {
        let Some(Batch { events, place }) = self.source.oldest().await? else {
            metrics::waiting(0);
            metrics::oldest(None);
            return Ok(0);
        };
        metrics::waiting(self.source.waiting().await?);
        metrics::oldest(events.first().and_then(happened_ms));
        if active("outbox.before_commit") {
            self.source.remove(place).await?;
        }
        let count = events.len();
        send(&mut self.audit, events).await?;
        die("outbox.delivered");
        self.source.confirm(place);
        self.source.remove(place).await?;
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
            DeliveryError::Read(_)
            | DeliveryError::File(_)
            | DeliveryError::Remove(_)
            | DeliveryError::Decode(_) => {
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
        self.source.waiting().await.is_ok_and(|waiting| waiting >= self.limit.0)
    }
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

/// The span of one delivery, in a trace of its own: by the OpenTelemetry conventions for messaging a batch links to
/// where its messages come from. A link for each of its events at most.
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
