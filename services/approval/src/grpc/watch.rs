//! Changes as they are made.
//!
//! The signal says only that there is something to read; what is sent is read from the store by its
//! revision. A watcher that lags therefore misses nothing, and an approval that changed twice in between is
//! sent once, as it is.

use std::collections::VecDeque;

use bulkhead_edge::{Call, Fault};
use bulkhead_proto::approval::v1 as pb;
use futures::Stream;
use futures::stream::try_unfold;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{reply, status};
use crate::approval::Approval;
use crate::clock;
use crate::desk::{Desk, DeskError};

/// One caller's place in the changes of its tenant.
pub(super) struct Feed {
    desk: Desk,
    call: Call,
    cursor: u64,
    changes: watch::Receiver<u64>,
    read: VecDeque<Approval>,
    tell_place: bool,
    stopping: CancellationToken,
}

impl Feed {
    /// Subscribes before anything is read, so that no change falls between the two.
    pub(super) fn after(desk: Desk, call: Call, revision: u64, stopping: CancellationToken) -> Self {
        let changes = desk.changes();
        Self { desk, call, cursor: revision, changes, read: VecDeque::new(), tell_place: false, stopping }
    }

    /// Begins after the newest revision there is, and tells it first: who loses the stream before anything
    /// happened has a place to go on from.
    pub(super) async fn from_now(
        desk: Desk,
        call: Call,
        stopping: CancellationToken,
    ) -> Result<Self, DeskError> {
        let mut feed = Self::after(desk, call, 0, stopping);
        feed.cursor = feed.desk.newest_revision(feed.call.tenant()).await?;
        feed.tell_place = true;
        Ok(feed)
    }

    /// Sends until the caller goes away, the service stops or the store fails.
    pub(super) fn into_stream(self) -> impl Stream<Item = Result<pb::WatchApprovalsResponse, Status>> + Send {
        try_unfold(self, |mut feed| async move {
            let approval = if std::mem::take(&mut feed.tell_place) {
                None
            } else {
                let changed = feed.next().await?;
                Some(reply::approval(&changed, &feed.call))
            };
            Ok(Some((pb::WatchApprovalsResponse { approval, revision: feed.cursor }, feed)))
        })
    }

    async fn next(&mut self) -> Result<Approval, Fault> {
        loop {
            if self.stopping.is_cancelled() {
                return Err(status::stopping());
            }
            if let Some(changed) = self.read.pop_front() {
                self.cursor = changed.revision;
                return Ok(changed);
            }
            self.changes.mark_unchanged();
            let changed = self.desk.changed_after(self.call.tenant(), self.cursor, clock::now()).await?;
            self.read = changed.into();
            if self.read.is_empty() {
                tokio::select! {
                    // The feed's own desk keeps the channel open.
                    _ = self.changes.changed() => {}
                    () = self.stopping.cancelled() => {}
                }
            }
        }
    }
}
