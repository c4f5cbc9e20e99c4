//! The task that owns the daily files.
//!
//! Group commit: whatever arrived during the previous sync is written and synced together. A group is
//! answered only after its sync and after the index knows it, so that a query sees it and a repeat of it is
//! recognised.

mod early;

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_edge::Readiness;
use bulkhead_failpoint::{active, die};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::files::{AppendFailure, DayFiles};
use super::leaf_hashes::LeafHashes;
use super::stage::{Known, Reused, Staged, stage};
use super::{AppendError, Batch, Layout, Receipt};
use crate::event::{day_of, logged_time};
use crate::index::{IndexWriter, Place, Row};
use crate::merkle::{Head, Tree};
use crate::metrics;
use crate::query;

/// Calls that may wait; beyond it callers wait to enqueue. At 8 MiB a call, this bounds the memory too.
pub(crate) const QUEUE_LENGTH: usize = 32;
/// Calls that share one sync at most.
const GROUP_MAX: usize = 32;
/// Lines in memory at once when repeated events are compared; at most 4 MiB.
const LINES_READ_BACK: usize = 64;
/// Between two looks at a disk or an index that failed.
const MEND_INTERVAL: Duration = Duration::from_secs(1);
/// Names of the readiness conditions.
const DISK: &str = "audit_log";
pub(crate) const INDEX: &str = "audit_index";

/// Where the time of an append comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// A clock that asks `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// A batch and who waits for it.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Answer>,
}

type Answer = Result<Receipt, AppendError>;

/// The files behind the log; they travel to a thread for every write and back.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) days: DayFiles,
    pub(crate) hashes: LeafHashes,
}

impl Files {
    fn append(&mut self, staged: &Staged) -> Result<u64, AppendFailure> {
        let start = self.days.append(day_of(staged.logged_time), &staged.bytes)?;
        self.hashes.push(&staged.leaves);
        Ok(start)
    }
}

/// The only writer of a log.
#[derive(Debug)]
pub(crate) struct Appender {
    /// Where recorded events are read back from.
    pub(crate) layout: Layout,
    /// None once what is on disk is not known.
    pub(crate) files: Option<Files>,
    pub(crate) tree: Tree,
    pub(crate) last: Option<Timestamp>,
    pub(crate) index: IndexWriter,
    /// On disk and not yet in the index.
    pub(crate) unindexed: Vec<Row>,
    /// The last write was refused and taken back.
    pub(crate) refused: bool,
    /// The index could not be used when it was last asked.
    pub(crate) index_down: bool,
    pub(crate) heads: watch::Sender<Head>,
    pub(crate) clock: Clock,
    pub(crate) readiness: Readiness,
}

impl Appender {
    /// Appends until every handle to the log is gone.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Append>, lock: Arc<File>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        loop {
            let receive = queue.recv_many(&mut group, GROUP_MAX);
            let received = if self.needs_mending() {
                tokio::time::timeout(MEND_INTERVAL, receive).await.ok()
            } else {
                Some(receive.await)
            };
            match received {
                Some(0) => break,
                Some(_) => self.answer(std::mem::take(&mut group)).await,
                None => self.mend().await,
            }
        }
        self.index.close().await;
        drop(lock);
    }

    async fn answer(&mut self, group: Vec<Append>) {
        let (batches, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|append| (append.batch, append.reply)).unzip();
        if active("audit.ack_before_write") {
            return self.answer_early(batches, replies).await;
        }
        let mut answers = match self.commit(batches).await {
            Ok(answers) => answers,
            Err(error) => vec![Err(error); replies.len()],
        }
        .into_iter();
        for reply in replies {
            // A caller that went away sends its events again, and they are recognised.
            drop(reply.send(answers.next().unwrap_or(Err(AppendError::Closed))));
        }
    }

    /// The answer to each batch; one error for all when nothing of the group is acknowledged.
    async fn commit(&mut self, group: Vec<Batch>) -> Result<Vec<Answer>, AppendError> {
        self.catch_up().await?;
        let known = self.known(&group).await?;
        let now = logged_time((self.clock.0)(), self.last);
        let staged = stage(group, known, self.tree.size(), now);
        let mut staged = staged.map_err(|error| AppendError::Line(Arc::new(error)))?;
        let verdicts = std::mem::take(&mut staged.verdicts);
        if !staged.rows.is_empty() {
            die("audit.staged");
            self.write(staged).await?;
            die("audit.written");
            self.catch_up().await?;
            die("audit.indexed");
        }
        let tree_size = self.tree.size();
        let answer = |verdict: Result<u32, Reused>| match verdict {
            Ok(duplicates) => {
                metrics::recognised(duplicates);
                Ok(Receipt { tree_size, duplicates })
            }
            Err(Reused { event_id }) => Err(AppendError::Reused { event_id }),
        };
        Ok(verdicts.into_iter().map(answer).collect())
    }

    /// The ids of the group that are recorded, and the events that they stand for: from the files, which
    /// are the truth.
    async fn known(&mut self, group: &[Batch]) -> Result<Known, AppendError> {
        let events = group.iter().flat_map(|batch| &batch.events);
        let ids: Vec<Uuid> = events.map(|event| event.event_id).collect();
        let places = match self.index.known(&ids).await {
            Ok(places) => places,
            Err(error) => return Err(self.index_failed(error)),
        };
        self.index_down = false;
        self.readiness.met(INDEX);
        if places.is_empty() {
            return Ok(Known::new());
        }
        let layout = self.layout.clone();
        let read = spawn_blocking(move || read_back(&layout, &places)).await;
        read.map_err(|panicked| AppendError::ReadBack(Arc::new(panicked.into()))).flatten()
    }

    /// Writes and syncs. Afterwards the group is part of the log, or certainly not, or nobody knows.
    async fn write(&mut self, staged: Staged) -> Result<(), AppendError> {
        let Some(mut files) = self.files.take() else { return Err(AppendError::Broken) };
        let written = spawn_blocking(move || {
            let started = Instant::now();
            let written = files.append(&staged);
            (files, staged, written.map(|start| (start, started.elapsed())))
        });
        match written.await {
            Ok((files, staged, Ok((start, took)))) => {
                self.files = Some(files);
                self.written(staged, start);
                metrics::synced(self.unindexed.len(), self.tree.size(), took);
                Ok(())
            }
            Ok((files, _, Err(AppendFailure::NotWritten(error)))) => {
                self.files = Some(files);
                self.refused = true;
                self.readiness.unmet(DISK, "the log cannot be written; is the disk full?");
                Err(AppendError::NotWritten(Arc::new(error)))
            }
            Ok((_, _, Err(AppendFailure::Broken(error)))) => Err(self.broken(&error)),
            Err(panicked) => Err(self.broken(&panicked)),
        }
    }

    fn written(&mut self, staged: Staged, start: u64) {
        staged.leaves.into_iter().for_each(|leaf| self.tree.push(leaf));
        self.last = Some(staged.logged_time);
        self.unindexed = staged.rows.into_iter().map(|row| row.moved(start)).collect();
        self.heads.send_replace(self.tree.head());
        self.refused = false;
        self.readiness.met(DISK);
    }

    fn broken(&self, cause: &(dyn std::error::Error + 'static)) -> AppendError {
        let error = bulkhead_edge::fault::chain(cause, ": ");
        tracing::error!(error, "what is on disk is not known; no more events before a restart");
        self.readiness.unmet(DISK, "a sync of the log failed; restart the service to read it again");
        AppendError::Broken
    }

    /// Brings the index up to the files.
    async fn catch_up(&mut self) -> Result<(), AppendError> {
        if self.unindexed.is_empty() {
            return Ok(());
        }
        let inserted = self.index.insert(&self.unindexed, self.tree.head()).await;
        inserted.map_err(|error| self.index_failed(error))?;
        self.unindexed.clear();
        Ok(())
    }

    fn index_failed(&mut self, error: sqlx::Error) -> AppendError {
        self.index_down = true;
        self.readiness.unmet(INDEX, "the index of the log cannot be used; see the log");
        AppendError::Index(Arc::new(error))
    }

    fn needs_mending(&self) -> bool {
        self.refused || self.index_down
    }

    /// Looks whether what failed works again, so that readiness comes back without a caller.
    async fn mend(&mut self) {
        // An empty group writes nothing; it brings the index up to date and asks it something.
        if let Err(error) = self.commit(Vec::new()).await {
            tracing::warn!(error = bulkhead_edge::fault::chain(&error, ": "), "the index is still behind");
        }
        if !self.refused {
            return;
        }
        match self.probe().await {
            Ok(()) => {
                self.refused = false;
                self.readiness.met(DISK);
            }
            Err(error) => tracing::warn!(%error, "the log still cannot be written"),
        }
    }

    async fn probe(&mut self) -> io::Result<()> {
        let Some(files) = self.files.take() else { return Ok(()) };
        let probed = spawn_blocking(move || {
            let probed = files.days.probe();
            (files, probed)
        });
        let (files, probed) = probed.await.map_err(io::Error::other)?;
        self.files = Some(files);
        probed
    }
}

/// What the events at these places say; a few lines at a time, for each may be long.
fn read_back(layout: &Layout, places: &[Place]) -> Result<Known, AppendError> {
    let mut known = Known::with_capacity(places.len());
    for some in places.chunks(LINES_READ_BACK) {
        let recorded = query::read(layout, some).map_err(|error| AppendError::ReadBack(Arc::new(error)))?;
        for event in recorded.into_iter().map(|found| found.entry.event) {
            let fingerprint = event.fingerprint().map_err(|error| AppendError::Line(Arc::new(error)))?;
            known.insert(event.event_id, fingerprint);
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::PrincipalKind;
    use jiff::civil::date;

    use super::*;
    use crate::event::tests::{event, principal};
    use crate::index::Index;
    use crate::log::leaf_hashes::Draft;

    #[tokio::test]
    async fn what_cannot_be_taken_back_stops_the_log_until_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let (index, _readers) = Index::open(&folder.path().join("index.sqlite")).await.expect("opens");
        let hashes = Draft::create(&folder.path().join("leaf-hashes")).keep();
        let days = DayFiles::read_only(folder.path(), date(2026, 5, 9));
        let readiness = Readiness::new();
        let mut appender = Appender {
            layout: Layout::new(folder.path()),
            files: Some(Files { days, hashes }),
            tree: Tree::default(),
            last: None,
            index,
            unindexed: Vec::new(),
            refused: false,
            index_down: false,
            heads: watch::Sender::new(Tree::default().head()),
            clock: Clock::new(|| "2026-05-09T12:00:00Z".parse().expect("a time")),
            readiness: readiness.clone(),
        };
        for _ in 0..2 {
            let source = principal(PrincipalKind::Service, "executor");
            let batch = Batch { events: vec![event(1, "tool.intent")], source };
            let refused = appender.commit(vec![batch]).await;
            assert!(matches!(refused, Err(AppendError::Broken)), "{refused:?}");
            assert!(readiness.problems().contains_key(DISK));
        }
        assert!(!appender.needs_mending(), "only a restart helps");
        assert_eq!(appender.tree.size(), 0);
    }
}
