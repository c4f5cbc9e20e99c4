//! The outbox that is a folder of files.
//!
//! Promises that an event whose [`FileOutbox::append`] has returned outlives the process, however that ends; that it
//! outlives the machine's a moment later, as [`FileOutbox::keep_on_disk`] says; that what stands together in one append is
//! delivered or lost together; and that bytes which cannot be read are set aside for a person and told, never skipped in
//! silence. A folder has one owner at a time, which is for the caller to see to.

mod files;
mod frame;
mod reading;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::peer::Peer;
use bulkhead_edge::{Readiness, Tasks};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_sqlite::Store;
use tokio::sync::Notify;
use tokio::task::{JoinError, spawn_blocking};

use crate::delivery::{Batch, Delivery, DeliveryError, Source, deliver_all};
use crate::{EventDraft, Limit, metrics, table};
use files::{Files, Place};

/// How long what was appended waits for the disk, so that many calls share one wait for it. With the wait itself it is on
/// disk well within the fifty milliseconds that are promised.
const SYNC_DELAY: Duration = Duration::from_millis(20);
/// How long the first event of a batch waits for others: nobody waits for it to arrive, and a delivery costs as much for
/// one as for many.
const LINGER: Duration = Duration::from_millis(20);

/// Why an outbox could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the outbox in {folder}; it must be a folder that this service may read and write")]
pub struct OpenError {
    folder: PathBuf,
    #[source]
    source: io::Error,
}

/// Why events were not stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Too many events wait for the audit service. Answer RESOURCE_EXHAUSTED (`OUTBOX_FULL`).
    #[error("{waiting} events wait for the audit service; no more are taken until it answers")]
    Full {
        /// How many wait.
        waiting: i64,
    },
    /// A file failed.
    #[error("cannot write an event to the outbox")]
    File(#[from] io::Error),
}

/// What an earlier process left in a folder, if there was one.
#[derive(Debug, Clone)]
pub struct Left(Arc<Files>);

impl Left {
    /// Reads it, and makes the folder where there is none.
    ///
    /// # Errors
    /// [`OpenError`]
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.to_owned();
        let opened = spawn_blocking(move || Files::open(&path)).await.map_err(lost).and_then(|opened| opened);
        opened
            .map(|files| Self(Arc::new(files)))
            .map_err(|source| OpenError { folder: folder.to_owned(), source })
    }

    /// The events that wait.
    ///
    /// # Errors
    /// From the file system.
    pub async fn events(&self) -> io::Result<Vec<pb::Event>> {
        let files = Arc::clone(&self.0);
        spawn_blocking(move || files.events()).await.map_err(lost)?
    }

    /// Adds events that nobody else could, and brings them to the disk. They are never refused.
    ///
    /// # Errors
    /// From the file system.
    pub async fn add(&self, events: Vec<pb::Event>) -> io::Result<()> {
        let files = Arc::clone(&self.0);
        let added = spawn_blocking(move || {
            let wanted =
                events.iter().map(|event| files.append(std::slice::from_ref(event), Limit(i64::MAX)));
            match wanted.collect::<Result<Vec<_>, _>>() {
                Ok(_) => files.sync(),
                Err(AppendError::File(error)) => Err(error),
                Err(error @ AppendError::Full { .. }) => Err(io::Error::other(error)),
            }
        });
        added.await.map_err(lost)?
    }

    /// Delivers it, and returns how many events that were.
    ///
    /// # Errors
    /// [`DeliveryError`]; what came before it is delivered, the rest stays.
    pub async fn deliver(&self, audit: Peer) -> Result<usize, DeliveryError> {
        deliver_all(self, audit).await
    }
}

/// The sending side. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FileOutbox {
    files: Arc<Files>,
    limit: Limit,
    wake: Arc<Notify>,
    unsynced: Arc<Notify>,
}

impl FileOutbox {
    /// Starts delivering to the audit service. What an earlier process left is sent first. Ends after every other task,
    /// with one last delivery of what those left.
    #[must_use]
    pub fn start(left: Left, limit: Limit, audit: Peer, readiness: Readiness, tasks: &Tasks) -> Self {
        metrics::observe();
        let wake = Arc::new(Notify::new());
        let files = Arc::clone(&left.0);
        let audit = AuditServiceClient::new(audit);
        let delivery = Delivery { source: left, audit, readiness, limit, linger: LINGER };
        tasks.spawn_last("outbox", delivery.run(Arc::clone(&wake), tasks.stopping_last()));
        Self { files, limit, wake, unsynced: Arc::new(Notify::new()) }
    }

    /// Stores events, all or none: once this returns they are in the file. Takes microseconds, and waits for no disk but
    /// where the kernel lets nobody write.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is stored then.
    pub fn append(&self, drafts: impl IntoIterator<Item = EventDraft>) -> Result<(), AppendError> {
        let events: Vec<_> = drafts.into_iter().map(EventDraft::into_event).collect();
        self.append_events(&events)
    }

    /// The same of events as they are sent.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is stored then.
    pub fn append_events(&self, events: &[pb::Event]) -> Result<(), AppendError> {
        let waiting = self.files.append(events, self.limit)?;
        metrics::waiting(waiting);
        self.unsynced.notify_one();
        self.wake.notify_one();
        Ok(())
    }

    /// Sees to it that there is a place in a file for the events of many calls: what finds none here has not happened yet.
    ///
    /// # Errors
    /// From the file system.
    pub fn make_room(&self) -> io::Result<()> {
        self.files.make_room()
    }

    /// How many events wait.
    #[must_use]
    pub fn waiting(&self) -> i64 {
        self.files.waiting()
    }

    /// Brings what is appended to the disk, each within 50 ms unless the disk takes longer, until it is dropped. `failed`
    /// is told when that does not work; what was appended meanwhile is delivered, and may be lost if the machine ends
    /// first.
    pub async fn keep_on_disk(&self, failed: impl Fn(io::Error)) {
        loop {
            self.unsynced.notified().await;
            tokio::time::sleep(SYNC_DELAY).await;
            if let Err(error) = self.sync().await {
                failed(error);
            }
        }
    }

    /// Brings what is appended to the disk now.
    ///
    /// # Errors
    /// From the file system.
    pub async fn sync(&self) -> io::Result<()> {
        let files = Arc::clone(&self.files);
        spawn_blocking(move || files.sync()).await.map_err(lost)?
    }

    /// Whether it can be written now: there is room in a file that is still the one in the folder, and the disk takes it.
    ///
    /// # Errors
    /// From the file system.
    pub async fn prove(&self) -> io::Result<()> {
        let files = Arc::clone(&self.files);
        spawn_blocking(move || files.prove()).await.map_err(lost)?
    }

    /// Takes over what waits in the table of a store, where an earlier version kept it.
    ///
    /// # Errors
    /// [`AdoptError`]; nothing is lost, and what was taken over may be delivered twice.
    pub async fn adopt(&self, store: &Store) -> Result<(), AdoptError> {
        let table = table::Table::of(store);
        while let Some(Batch { events, place }) = table.oldest().await? {
            // They count already: what waits is never refused.
            self.files.append(&events, Limit(i64::MAX))?;
            self.sync().await.map_err(AppendError::from)?;
            table.remove(place).await?;
            self.wake.notify_one();
        }
        Ok(())
    }
}

/// Why events of an earlier version were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] DeliveryError),
    /// The file failed.
    #[error(transparent)]
    File(#[from] AppendError),
}

/// How many events wait in a folder, by what its files say: to be asked by those who do not have it open.
///
/// # Errors
/// From the file system.
pub fn waiting_in(folder: &Path) -> io::Result<i64> {
    reading::survey(folder).map(|survey| survey.waiting)
}

impl Source for Left {
    type Place = Place;

    async fn oldest(&self) -> Result<Option<Batch<Place>>, DeliveryError> {
        let files = Arc::clone(&self.0);
        Ok(spawn_blocking(move || files.oldest()).await.map_err(lost)??)
    }

    fn confirm(&self, _place: Place) {}

    async fn remove(&self, place: Place) -> Result<(), DeliveryError> {
        let files = Arc::clone(&self.0);
        Ok(spawn_blocking(move || files.remove(place)).await.map_err(lost)??)
    }

    async fn waiting(&self) -> Result<i64, DeliveryError> {
        Ok(self.0.waiting())
    }
}

fn lost(error: JoinError) -> io::Error {
    io::Error::other(error)
}
