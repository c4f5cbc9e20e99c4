//! The task that signs checkpoints.
//!
//! Promises that the stored checkpoint follows an append within a second, and that every checkpoint signs
//! lines that are on disk: the head it is told is the head after the sync.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulkhead_edge::Readiness;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::files::sync_folder;
use super::private;
use crate::checkpoint::{CheckpointError, LogKey};
use crate::merkle::Head;
use crate::metrics;

/// Between two checkpoints on a busy log; each costs two syncs, and a second is promised.
const INTERVAL: Duration = Duration::from_millis(250);
/// Before a checkpoint that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Name of the readiness condition.
const CONDITION: &str = "audit_checkpoint";

/// A question for the newest checkpoint.
pub(crate) type Ask = oneshot::Sender<Result<SignedCheckpoint, SignError>>;

/// A checkpoint as it is handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The C2SP signed note.
    pub note: String,
    /// Size of the tree that it signs.
    pub tree_size: u64,
    /// The C2SP verifier key.
    pub verifier_key: String,
}

/// Why there is no checkpoint.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SignError {
    /// It could not be signed.
    #[error("the checkpoint could not be signed")]
    Sign(#[source] Arc<CheckpointError>),
    /// It could not be stored.
    #[error("the checkpoint could not be stored")]
    Store(#[source] Arc<io::Error>),
    /// The service is stopping.
    #[error("the log is closed")]
    Closed,
}

/// Owns the checkpoint file.
#[derive(Debug)]
pub(crate) struct Signer {
    key: LogKey,
    path: PathBuf,
    heads: watch::Receiver<Head>,
    readiness: Readiness,
    newest: Option<SignedCheckpoint>,
}

impl Signer {
    pub(crate) fn new(
        key: LogKey,
        path: PathBuf,
        heads: watch::Receiver<Head>,
        readiness: Readiness,
    ) -> Self {
        Self { key, path, heads, readiness, newest: None }
    }

    /// Signs what is there when the service starts, so that a log never stands without a checkpoint. Where one
    /// stands and the new one cannot be stored, that is tried again later: the log can be read meanwhile.
    pub(crate) async fn begin(&mut self, has_checkpoint: bool) -> Result<(), SignError> {
        match self.follow().await {
            Err(SignError::Store(_)) if has_checkpoint => Ok(()),
            begun => begun,
        }
    }

    /// Signs and answers until the log is closed, and once more then.
    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<Ask>, lock: Arc<File>) {
        let mut due = self.newest.is_none().then(|| Instant::now() + RETRY);
        let mut signed = Instant::now();
        loop {
            tokio::select! {
                Some(reply) = asks.recv() => {
                    // Whoever asked may have gone; the checkpoint stands all the same.
                    drop(reply.send(self.refresh().await));
                }
                changed = self.heads.changed() => match changed {
                    Ok(()) => due = due.or(Some(signed + INTERVAL)),
                    Err(_log_closed) => break,
                },
                () = until(due) => {
                    due = self.follow().await.err().map(|_told| Instant::now() + RETRY);
                    signed = Instant::now();
                }
            }
        }
        // A failure is in the log; the next start signs what this one could not.
        drop(self.follow().await);
        drop(lock);
    }

    async fn follow(&mut self) -> Result<(), SignError> {
        let refreshed = self.refresh().await;
        match &refreshed {
            Ok(_) => self.readiness.met(CONDITION),
            Err(error) => {
                tracing::error!(error = bulkhead_edge::fault::chain(error, ": "), "no new checkpoint");
                self.readiness.unmet(CONDITION, "the checkpoint cannot be written; see the log");
            }
        }
        refreshed.map(drop)
    }

    /// The checkpoint of the newest head, signed now unless it is already.
    async fn refresh(&mut self) -> Result<SignedCheckpoint, SignError> {
        let head = *self.heads.borrow();
        if let Some(newest) = self.newest.as_ref().filter(|newest| newest.tree_size == head.size) {
            return Ok(newest.clone());
        }
        let note = self.key.sign(head).map_err(|error| SignError::Sign(Arc::new(error)))?;
        let (path, bytes) = (self.path.clone(), note.clone());
        let stored = tokio::task::spawn_blocking(move || replace(&path, bytes.as_bytes())).await;
        stored.map_err(io::Error::other).flatten().map_err(|error| SignError::Store(Arc::new(error)))?;
        let verifier_key = self.key.verifier_key();
        let checkpoint = SignedCheckpoint { note, tree_size: head.size, verifier_key };
        metrics::signed(head.size);
        self.newest = Some(checkpoint.clone());
        Ok(checkpoint)
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Replaces a file in one step: after a crash there is the old one or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = private::draft(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    path.parent().map_or(Ok(()), sync_folder)
}
