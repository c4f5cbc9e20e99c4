//! Background work that nobody loses sight of.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// How long what serves a connection may take to be dropped once it was told to.
const ABORT_BOUND: Duration = Duration::from_secs(2);

/// Work that was begun and whose end is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the task {name} ended without a word")]
pub struct Lost {
    /// Which.
    pub name: &'static str,
}

/// The background tasks of one service. A task that panics stops the service: it is restarted whole
/// rather than left running without its outbox or its sweeper.
///
/// A stop has three steps: open calls may finish ([`Tasks::stopping`]), then what serves connections is
/// dropped and the tasks end, then those end that carry away what the others left
/// ([`Tasks::spawn_last`]). Cheap to clone: each call on a connection has it.
#[derive(Debug, Clone, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tracker: TaskTracker,
    last: TaskTracker,
    connections: TaskTracker,
    stop: CancellationToken,
    stop_last: CancellationToken,
    abort: CancellationToken,
    broken: CancellationToken,
}

impl Tasks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `task` until it ends; it should end soon after [`Tasks::stopping`].
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.watch(&self.0.tracker, name, task);
    }

    /// Runs `task` until it ends; it should end soon after [`Tasks::stopping_last`], when every other task
    /// has ended and left nothing more to carry away.
    pub fn spawn_last(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.watch(&self.0.last, name, task);
    }

    /// Carries `work` through to its end, whatever becomes of whoever waits for it: a handler's point of no return.
    /// Before it, a caller that goes away ends the handler and nothing has happened; what is handed over here has
    /// begun, and is finished and recorded without the caller. What comes of it when nobody waits any more goes to
    /// `untold`, which logs what must not be lost.
    ///
    /// # Errors
    /// [`Lost`] when the work panicked, which also stops the service.
    pub async fn see_through<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
        untold: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, Lost> {
        let (reply, answer) = oneshot::channel();
        let carried = async move {
            if let Err(output) = reply.send(work.await) {
                untold(output);
            }
        };
        self.spawn(name, carried.in_current_span());
        answer.await.map_err(|_closed| Lost { name })
    }

    fn watch(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let running = tracker.spawn(task);
        let broken = self.0.broken.clone();
        tracker.spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(task = name, %error, "a background task panicked; the service stops");
                broken.cancel();
            }
        });
    }

    /// Serves a connection or one call on it, until it ends or the drain limit has passed. A panic here has
    /// already been answered inside the stack.
    pub(crate) fn spawn_connection(&self, task: impl Future<Output = ()> + Send + 'static) {
        let abort = self.0.abort.clone();
        self.0.connections.spawn(async move {
            tokio::select! { () = task => {}, () = abort.cancelled() => {} }
        });
    }

    /// Resolves when nothing serves a connection any more; to be asked once no more are accepted.
    pub(crate) async fn connections_ended(&self) {
        self.0.connections.close();
        self.0.connections.wait().await;
    }

    /// Drops what still serves a connection, handlers included, so that whatever they leave behind is left
    /// while there are still tasks to take it.
    pub(crate) async fn abort_connections(&self) {
        self.0.abort.cancel();
        self.0.connections.close();
        if tokio::time::timeout(ABORT_BOUND, self.0.connections.wait()).await.is_err() {
            tracing::warn!("some connections could not be dropped in time");
        }
    }

    /// Resolves when the service begins to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Resolves when every task but the last ones has ended.
    #[must_use]
    pub fn stopping_last(&self) -> CancellationToken {
        self.0.stop_last.clone()
    }

    /// Resolves when a task has panicked.
    #[must_use]
    pub fn broken(&self) -> CancellationToken {
        self.0.broken.clone()
    }

    /// Asks every task to end and waits for them, for at most `bound` in each of the two steps.
    pub async fn finish(&self, bound: Duration) {
        self.0.stop.cancel();
        ended(&self.0.tracker, bound).await;
        self.0.stop_last.cancel();
        ended(&self.0.last, bound).await;
    }
}

async fn ended(tracker: &TaskTracker, bound: Duration) {
    tracker.close();
    if tokio::time::timeout(bound, tracker.wait()).await.is_err() {
        tracing::warn!(bound_ms = %bound.as_millis(), "some background tasks did not end in time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Begins work that ends with 7 once it may, under a caller who leaves or stays; what the caller got and what was
    /// told to nobody.
    async fn carried(leaves: bool) -> (Option<Result<u8, Lost>>, Option<u8>) {
        let tasks = Tasks::new();
        let (begin, begun) = oneshot::channel();
        let (permit, permitted) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let work = async move {
            begin.send(()).expect("the test waits");
            permitted.await.expect("the test permits it");
            7
        };
        let mut caller =
            Box::pin(tasks.see_through("work", work, |output| tell.send(output).expect("heard")));
        tokio::select! {
            early = &mut caller => panic!("it has ended: {early:?}"),
            begun = begun => begun.expect("it begins"),
        }
        let got = if leaves {
            drop(caller);
            permit.send(()).expect("it goes on without its caller");
            None
        } else {
            permit.send(()).expect("it waits");
            Some(caller.await)
        };
        (got, told.await.ok())
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_finished_and_told() {
        assert_eq!(carried(true).await, (None, Some(7)));
    }

    #[tokio::test]
    async fn what_was_waited_for_is_told_to_nobody_else() {
        assert_eq!(carried(false).await, (Some(Ok(7)), None));
    }

    #[tokio::test]
    async fn work_that_panics_is_lost_and_stops_the_service() {
        let tasks = Tasks::new();
        let work = async { panic!("as wanted") };
        let lost = tasks.see_through("work", work, |()| {}).await;
        assert_eq!(lost, Err(Lost { name: "work" }));
        tasks.broken().cancelled().await;
    }
}
