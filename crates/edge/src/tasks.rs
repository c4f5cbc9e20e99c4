//! Background work that nobody loses sight of.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The background tasks of one service. A task that panics stops the service: it is restarted whole
/// rather than left running without its outbox or its sweeper.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    connections: TaskTracker,
    stop: CancellationToken,
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
        let running = self.tracker.spawn(task);
        let broken = self.broken.clone();
        self.tracker.spawn(async move {
            if let Err(error) = running.await {
                tracing::error!(task = name, %error, "a background task panicked; the service stops");
                broken.cancel();
            }
        });
    }

    /// Serves one connection. Not waited for by [`Tasks::finish`]: draining has a bound of its own, and a
    /// panic here has already been answered inside the stack.
    pub(crate) fn spawn_connection(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.connections.spawn(task);
    }

    /// Resolves when the service begins to stop.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Resolves when a task has panicked.
    #[must_use]
    pub fn broken(&self) -> CancellationToken {
        self.broken.clone()
    }

    /// Asks every task to end and waits for them, for at most `bound`.
    pub async fn finish(&self, bound: Duration) {
        self.stop.cancel();
        self.tracker.close();
        if tokio::time::timeout(bound, self.tracker.wait()).await.is_err() {
            tracing::warn!(bound_ms = %bound.as_millis(), "some background tasks did not end in time");
        }
    }
}
