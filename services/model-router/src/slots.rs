//! One folder for several routers, such as the volume that all replicas of a container mount: each has a slot of it,
//! with a store of its own, for as long as it runs.
//!
//! Promises that a slot has one owner, that whoever comes gets the first free one, and that events which a router left
//! that does not run any more are delivered by those which do, however few they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bulkhead_edge::fault::chain;
use bulkhead_edge::peer::Peer;
use bulkhead_exit::{Exit, Obstacle};
use bulkhead_outbox::{DeliveryError, deliver_left};
use bulkhead_sqlite::{OpenError, Store};
use tokio_util::sync::CancellationToken;

use crate::{MIGRATIONS, STORE_FILE, open_calls};

/// Between two looks for what others have left: soon enough for a record, and rare beside the cost of opening a store.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Why there is no store for this router.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    /// As many run as may.
    #[error("all {count} slots of {folder} are in use by other routers; raise data_slots, or run fewer")]
    Taken { folder: PathBuf, count: u16 },
    /// The store of a slot does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The slots of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    folder: PathBuf,
    count: u16,
}

impl Slots {
    pub(crate) fn new(folder: PathBuf, count: u16) -> Self {
        Self { folder, count }
    }

    /// Opens the store of the first slot that nobody has. A store that is damaged is no free one: it needs a person,
    /// who would not learn of it from a router that passed it over.
    ///
    /// # Errors
    /// [`SlotError`]
    pub(crate) async fn claim(&self) -> Result<Store, SlotError> {
        // A folder for one router tells itself who has it.
        if self.count == 1 {
            return Ok(open(&self.folder).await?);
        }
        for folder in self.folders() {
            match open(&folder).await {
                Err(OpenError::InUse { .. }) => {}
                opened => return Ok(opened?),
            }
        }
        Err(SlotError::Taken { folder: self.folder.clone(), count: self.count })
    }

    /// Delivers now and then what is left in slots that nobody has, until the service stops.
    pub(crate) async fn deliver_left(self, audit: Peer, stopping: CancellationToken) {
        if self.count == 1 {
            return;
        }
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let looking = async {
            loop {
                looks.tick().await;
                for folder in self.folders() {
                    look(&folder, &audit).await;
                }
            }
        };
        stopping.run_until_cancelled_owned(looking).await;
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.count).map(|slot| self.folder.join(format!("replica-{slot}")))
    }
}

async fn open(folder: &Path) -> Result<Store, OpenError> {
    Store::open(&folder.join(STORE_FILE), &MIGRATIONS).await
}

/// Why what is left in a slot stays there.
#[derive(Debug, thiserror::Error)]
enum LeftError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Deliver(#[from] DeliveryError),
}

/// Delivers what a slot holds that nobody has; says what came of it.
async fn look(folder: &Path, audit: &Peer) {
    match deliver(folder, audit).await {
        Ok(0) | Err(LeftError::Open(OpenError::InUse { .. })) => {}
        Ok(events) => {
            tracing::info!(events, folder = %folder.display(), "delivered what another router left")
        }
        Err(error) => {
            let error = chain(&error, ": ");
            tracing::warn!(error, folder = %folder.display(), "what another router left is not delivered yet");
        }
    }
}

async fn deliver(folder: &Path, audit: &Peer) -> Result<usize, LeftError> {
    // To open one that was never used would make it.
    if !folder.join(STORE_FILE).exists() {
        return Ok(0);
    }
    let store = open(folder).await?;
    open_calls::tell_left(&store).await;
    let delivered = deliver_left(&store, audit.clone()).await;
    store.close().await;
    Ok(delivered?)
}

impl From<SlotError> for Obstacle {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::Taken { .. } => Self::new(Exit::Taken, error),
            SlotError::Open(error) => error.into(),
        }
    }
}
