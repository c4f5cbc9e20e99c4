//! One folder for several routers, such as the volume that all replicas of a container mount: each has a slot of it,
//! with a store of its own, for as long as it runs.
//!
//! Promises that a slot has one owner, that whoever comes gets the first free one, that events which a router left that does
//! not run any more are delivered by those which do, however few they are, and that what it spent counts for them.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_edge::fault::chain;
use bulkhead_edge::peer::Peer;
use bulkhead_exit::{Exit, Obstacle};
use bulkhead_outbox::{DeliveryError, Left, deliver_left};
use bulkhead_sqlite::{OpenError, Store};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Ledger, LedgerError};
use crate::{MIGRATIONS, OUTBOX_FOLDER, STORE_FILE, open_calls};

/// Between two looks for what others have left: soon enough for a record, and rare beside the cost of opening a store.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// Held beside a store by who only looks into it, so that who comes to stay knows that it is free in a moment.
const LOOK_LOCK: &str = "look.lock";
/// How long who comes to stay waits for one who looks: longer than a look takes that has little to deliver. After that the
/// next slot will do.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries of who waits.
const LOOK_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Why there is no store for this router.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SlotError {
    /// As many run as may.
    #[error("all {count} slots of {folder} are in use by other routers; raise data_slots, or run fewer")]
    Taken { folder: PathBuf, count: u16 },
    /// The store of a slot does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its outbox does not.
    #[error(transparent)]
    Outbox(#[from] bulkhead_outbox::OpenError),
}

/// What a router has for itself. The store's lock is that of both.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) folder: PathBuf,
    pub(crate) store: Store,
    /// What was in the outbox before.
    pub(crate) left: Left,
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
    pub(crate) async fn claim(&self) -> Result<Slot, SlotError> {
        // A folder for one router tells itself who has it.
        if self.count == 1 {
            return open(&self.folder).await;
        }
        for folder in self.folders() {
            match take(&folder).await {
                Err(SlotError::Open(OpenError::InUse { .. })) => {}
                opened => return opened,
            }
        }
        Err(SlotError::Taken { folder: self.folder.clone(), count: self.count })
    }

    /// Learns what was spent in the slots that nobody has. To be called before the first call is served, which might
    /// otherwise be paid out of what is spent.
    pub(crate) async fn learn(&self, ledger: &Ledger) {
        for folder in self.others() {
            look(&folder, ledger, None).await;
        }
    }

    /// Looks now and then into slots that nobody has, delivers what is left there and learns what was spent, until the
    /// service stops.
    pub(crate) async fn look_after(self, audit: Peer, ledger: Arc<Ledger>, stopping: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let looking = async {
            loop {
                looks.tick().await;
                for folder in self.others() {
                    look(&folder, &ledger, Some(&audit)).await;
                }
            }
        };
        stopping.run_until_cancelled_owned(looking).await;
    }

    /// Those that may be somebody else's; our own is in use and so left alone.
    fn others(&self) -> impl Iterator<Item = PathBuf> {
        self.folders().filter(|_| self.count > 1)
    }

    fn folders(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.count).map(|slot| self.folder.join(format!("replica-{slot}")))
    }
}

async fn open(folder: &Path) -> Result<Slot, SlotError> {
    let store = Store::open(&folder.join(STORE_FILE), &MIGRATIONS).await?;
    let left = Left::open(&folder.join(OUTBOX_FOLDER)).await?;
    Ok(Slot { folder: folder.to_owned(), store, left })
}

/// Opens a slot's store to stay there, once nobody only looks into it.
async fn take(folder: &Path) -> Result<Slot, SlotError> {
    let began = Instant::now();
    // A look may end between the two questions, so that a slot is only somebody's after a second try.
    let mut is_certain = false;
    loop {
        match open(folder).await {
            Err(SlotError::Open(OpenError::InUse { .. }))
                if is_looked_into(folder) && began.elapsed() < LOOK_PATIENCE =>
            {
                tokio::time::sleep(LOOK_RETRY_DELAY).await;
            }
            Err(SlotError::Open(OpenError::InUse { .. })) if !is_certain => is_certain = true,
            opened => return opened,
        }
    }
}

/// The lock of who looks; none: another does, or nobody may.
fn look_lock(folder: &Path) -> Option<File> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(folder.join(LOOK_LOCK));
    file.ok().filter(|file| file.try_lock().is_ok())
}

fn is_looked_into(folder: &Path) -> bool {
    let file = File::open(folder.join(LOOK_LOCK));
    file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Why what is left in a slot stays there.
#[derive(Debug, thiserror::Error)]
enum LeftError {
    #[error(transparent)]
    Open(#[from] SlotError),
    #[error(transparent)]
    Learn(#[from] LedgerError),
    #[error(transparent)]
    Deliver(#[from] DeliveryError),
}

/// Looks into a slot that nobody has; says what came of it.
async fn look(folder: &Path, ledger: &Ledger, audit: Option<&Peer>) {
    // To open one that was never used would make it.
    if !folder.join(STORE_FILE).exists() {
        return;
    }
    let Some(_lock) = look_lock(folder) else { return };
    match settle(folder, ledger, audit).await {
        Ok(0) | Err(LeftError::Open(SlotError::Open(OpenError::InUse { .. }))) => {}
        Ok(events) => {
            tracing::info!(events, folder = %folder.display(), "delivered what another router left")
        }
        Err(error) => {
            let error = chain(&error, ": ");
            tracing::warn!(error, folder = %folder.display(), "what another router left is not settled yet");
        }
    }
}

/// Learns what was spent and delivers what waits. The one does not depend on the other.
async fn settle(folder: &Path, ledger: &Ledger, audit: Option<&Peer>) -> Result<usize, LeftError> {
    let Slot { store, left, .. } = open(folder).await?;
    open_calls::tell_left(folder, &left).await;
    let learnt = ledger.learn(&store, bulkhead_edge::now()).await;
    let delivered = match audit {
        Some(audit) => deliver_both(&store, &left, audit).await,
        None => Ok(0),
    };
    store.close().await;
    learnt?;
    Ok(delivered?)
}

/// What an earlier version kept in the store, and what is in the outbox.
async fn deliver_both(store: &Store, left: &Left, audit: &Peer) -> Result<usize, DeliveryError> {
    Ok(deliver_left(store, audit.clone()).await? + left.deliver(audit.clone()).await?)
}

impl From<SlotError> for Obstacle {
    fn from(error: SlotError) -> Self {
        match error {
            SlotError::Taken { .. } => Self::new(Exit::Taken, error),
            SlotError::Open(error) => error.into(),
            SlotError::Outbox(error) => Self::new(Exit::Unusable, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn claimed(slots: &Slots) -> Store {
        tokio::time::timeout(PATIENCE, slots.claim()).await.expect("soon").expect("there is one").store
    }

    #[tokio::test]
    async fn who_comes_waits_for_one_who_only_looks_and_not_for_one_who_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = Slots::new(folder.path().to_owned(), 3);
        let names: Vec<PathBuf> = slots.folders().collect();
        let owned = claimed(&slots).await;
        let began = Instant::now();
        let second = claimed(&slots).await;
        assert!(began.elapsed() < LOOK_PATIENCE, "the first slot is somebody's");
        second.close().await;
        drop(second);

        let lock = look_lock(&names[1]).expect("nobody looks");
        let looking = open(&names[1]).await.expect("nobody has it");
        let mut claim = Box::pin(slots.claim());
        // Long enough to see that it waits; too short says less, and nothing wrong.
        let early = tokio::time::timeout(LOOK_RETRY_DELAY * 5, &mut claim).await;
        assert!(early.is_err(), "it waits for who looks");
        looking.store.close().await;
        drop((looking, lock));
        let second = tokio::time::timeout(PATIENCE, claim).await.expect("soon").expect("the second");
        assert!(!names[2].exists(), "the third one was not needed");
        drop((owned, second));
    }

    #[tokio::test]
    async fn two_never_look_into_one_slot() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = look_lock(folder.path()).expect("nobody looks");
        assert!(look_lock(folder.path()).is_none() && is_looked_into(folder.path()));
        drop(lock);
        assert!(!is_looked_into(folder.path()) && look_lock(folder.path()).is_some());
    }
}
