//! Opening a log: lock, read, compare with the checkpoint, complete the index, start the tasks.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bulkhead_edge::{Readiness, Tasks};
use bulkhead_exit::{Exit, Obstacle};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, spawn_blocking};

use super::appender::{Appender, Files, INDEX, QUEUE_LENGTH};
use super::files::DayFiles;
use super::recover::{Recovered, lock, recover, replay};
use super::signer::Signer;
use super::{Clock, Layout, Log, RecoverError, SignError, private};
use crate::checkpoint::LogKey;
use crate::index::{Index, IndexWriter, Row, is_without_room};
use crate::merkle::Head;

/// Rows on their way from the files to the index while it is completed.
const REPLAY_ROWS: usize = 1_000;
/// Lines that the index may lack when it has no room at the start: they stay in memory until it has. After a crash it
/// lacks one group at most, of 32 calls with 256 events each.
const UNINDEXED_MAX: u64 = 32 * 256;

/// What a log is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its folder.
    pub layout: Layout,
    /// Signs the checkpoints.
    pub key: LogKey,
    /// Tells when an event is appended.
    pub clock: Clock,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder cannot be made or locked.
    #[error("cannot open the log folder {path}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process has it.
    #[error("the log folder {path} is in use by another instance; a log has one owner")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// What is there cannot be served.
    #[error("the log cannot be served")]
    Recover(#[from] RecoverError),
    /// The index cannot be made.
    #[error("cannot prepare the index of the log")]
    Index(#[from] sqlx::Error),
    /// No first checkpoint.
    #[error("cannot write a checkpoint")]
    Sign(#[from] SignError),
    /// Reading the log panicked.
    #[error("reading the log failed")]
    Panicked(#[from] JoinError),
}

impl From<OpenError> for Obstacle {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::InUse { .. } => Exit::Taken,
            OpenError::Folder { .. } | OpenError::Sign(_) => Exit::Unusable,
            OpenError::Recover(RecoverError::Read(_) | RecoverError::Write { .. }) => Exit::Unusable,
            OpenError::Recover(_) => Exit::Damaged,
            // It holds nothing of its own: one that is damaged is made anew, so that this is the folder's fault.
            OpenError::Index(_) => Exit::Unusable,
            OpenError::Panicked(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl Log {
    /// Opens or creates a log and starts its tasks.
    ///
    /// # Errors
    /// [`OpenError`]; nothing that was acknowledged before has been touched.
    pub async fn open(
        settings: Settings,
        readiness: Readiness,
        tasks: Tasks,
    ) -> Result<(Self, Index), OpenError> {
        let Settings { layout, key, clock } = settings;
        let lock = Arc::new(take(&layout)?);
        let (mut writer, index) = Index::open(&layout.index()).await?;
        let (recovered, unindexed) = read(layout.clone(), key.clone(), &mut writer).await?;
        let index_down = !unindexed.is_empty();
        if index_down {
            readiness.unmet(INDEX, "the index of the log cannot be written; is the disk full?");
        }

        let (heads, head) = watch::channel(recovered.tree.head());
        let mut signer = Signer::new(key, layout.checkpoint(), head, readiness.clone());
        signer.begin(recovered.has_checkpoint).await?;
        let appender = Appender {
            layout: layout.clone(),
            files: Some(Files { days: DayFiles::new(layout.logs()), hashes: recovered.hashes }),
            tree: recovered.tree,
            last: recovered.last,
            index: writer,
            unindexed,
            refused: false,
            index_down,
            heads,
            clock,
            readiness: readiness.clone(),
        };
        let (appends, queue) = mpsc::channel(QUEUE_LENGTH);
        let (checkpoints, asks) = mpsc::channel(QUEUE_LENGTH);
        tasks.spawn("appender", appender.run(queue, Arc::clone(&lock)));
        tasks.spawn("signer", signer.run(asks, lock));
        Ok((Self { appends, checkpoints }, index))
    }
}

fn take(layout: &Layout) -> Result<std::fs::File, OpenError> {
    let path = layout.folder().to_owned();
    let locked = private::make_folder(&layout.logs()).and_then(|()| lock(&layout.lock()));
    locked.map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::InUse { path },
        _ => OpenError::Folder { path, source },
    })
}

/// What the files hold, and the rows of it that the index has no room for now.
async fn read(
    layout: Layout,
    key: LogKey,
    index: &mut IndexWriter,
) -> Result<(Recovered, Vec<Row>), OpenError> {
    let covered = index.covered().await?;
    let place = layout.clone();
    let recovered = spawn_blocking(move || recover(&place, &key, covered)).await??;
    let from = if recovered.index_holds { covered.size } else { 0 };
    if !recovered.index_holds {
        tracing::warn!("the index does not belong to the log; building it anew");
        index.clear().await?;
    }
    let behind = recovered.tree.size() - from;
    if behind == 0 {
        return Ok((recovered, Vec::new()));
    }
    match complete(layout.clone(), from, recovered.tree.head(), index).await {
        Err(OpenError::Index(error)) if is_without_room(&error) && behind <= UNINDEXED_MAX => {
            tracing::warn!(%error, behind, "the index has no room for the newest lines; trying again later");
            Ok((recovered, rows(layout, from).await?))
        }
        completed => completed.map(|()| (recovered, Vec::new())),
    }
}

/// The rows of every line from `from` on.
async fn rows(layout: Layout, from: u64) -> Result<Vec<Row>, OpenError> {
    let (sender, mut rows) = mpsc::channel(REPLAY_ROWS);
    let reading = spawn_blocking(move || replay(&layout, from, &sender));
    let mut all = Vec::new();
    while rows.recv_many(&mut all, REPLAY_ROWS).await > 0 {}
    reading.await??;
    Ok(all)
}

async fn complete(layout: Layout, from: u64, head: Head, index: &mut IndexWriter) -> Result<(), OpenError> {
    let (sender, mut rows) = mpsc::channel(REPLAY_ROWS);
    let reading = spawn_blocking(move || replay(&layout, from, &sender));
    let mut group = Vec::with_capacity(REPLAY_ROWS);
    while rows.recv_many(&mut group, REPLAY_ROWS).await > 0 {
        index.add(&group).await?;
        group.clear();
    }
    reading.await??;
    Ok(index.cover(head).await?)
}
