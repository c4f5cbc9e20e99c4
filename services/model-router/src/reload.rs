//! The configuration is taken up while the router runs.
//!
//! Promises that a call ends with the catalog that it began with; that what cannot be used changes nothing; and that the
//! log says what is wrong with it, all of it, and what waits for the next start.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bulkhead_edge::fault::chain;
use bulkhead_edge::settings::followed::{Followed, differing};
use bulkhead_edge::settings::{Knob, Mistakes};
use tokio_util::sync::CancellationToken;

use crate::catalog::Catalog;
use crate::upstream::UpstreamError;
use crate::{Config, NAME};

/// The parts of the configuration that only a start takes up: sockets, stores and connections are made from them.
const AT_START: [&str; 5] = ["edge", "audit", "data", "data_slots", "outbox_events_max"];

/// How what is in force stands to the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is what the file says.
    Current,
    /// The file was changed and cannot be used.
    Refused,
    /// All but what only a start takes up.
    RestartNeeded,
}

impl Standing {
    /// Every one.
    pub(crate) const ALL: [Self; 3] = [Self::Current, Self::Refused, Self::RestartNeeded];

    /// The word used in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Refused => "refused",
            Self::RestartNeeded => "restart_needed",
        }
    }
}

/// What is in force now.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(crate) catalog: Arc<Catalog>,
    /// When the catalog was taken up.
    pub(crate) since: Instant,
    pub(crate) standing: Standing,
}

/// The catalog in force. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Catalogs(Arc<Mutex<Current>>);

impl Catalogs {
    pub(crate) fn new(catalog: Catalog, now: Instant) -> Self {
        let catalog = Arc::new(catalog);
        Self(Arc::new(Mutex::new(Current { catalog, since: now, standing: Standing::Current })))
    }

    /// The catalog as of now. A call asks once and keeps it.
    pub(crate) fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.lock().catalog)
    }

    /// What is in force when somebody looks; none once the router is gone.
    pub(crate) fn observer(&self) -> impl Fn() -> Option<Current> + Send + Sync + 'static {
        let current = Arc::downgrade(&self.0);
        move || Some(Self(current.upgrade()?).lock().clone())
    }

    fn put(&self, catalog: Catalog, standing: Standing, now: Instant) {
        *self.lock() = Current { catalog: Arc::new(catalog), since: now, standing };
    }

    fn refuse(&self) {
        self.lock().standing = Standing::Refused;
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        // It is replaced whole, so a panic elsewhere does not make it wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a changed configuration is not taken up.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

/// Follows the configuration.
#[derive(Debug)]
pub(crate) struct Reload {
    file: Followed<Config>,
    /// As the router was started with.
    started: Vec<Knob>,
    catalogs: Catalogs,
}

impl Reload {
    /// From now on SIGHUP ends nothing.
    ///
    /// # Errors
    /// When the system does not let a signal be handled.
    pub(crate) fn new(
        mut file: Followed<Config>,
        started: Vec<Knob>,
        catalogs: Catalogs,
    ) -> io::Result<Self> {
        file.heed_hangup()?;
        Ok(Self { file, started, catalogs })
    }

    /// Takes up what changes until the service stops.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        let following = async {
            loop {
                self.file.changed().await;
                if let Err(error) = self.take(Instant::now()) {
                    self.catalogs.refuse();
                    let (file, error) = (self.file.path().display(), chain(&error, ": "));
                    tracing::error!(%file, error, "the changed configuration is refused; the one before stays");
                }
            }
        };
        stopping.run_until_cancelled_owned(following).await;
    }

    fn take(&mut self, now: Instant) -> Result<(), ReloadError> {
        let (config, knobs) = self.file.read()?;
        let catalog = self.catalogs.current().succeed(&config, now)?;
        let (models, routes) = (catalog.models().len(), catalog.routes().len());
        let waiting = at_start(differing(&self.started, &knobs));
        let standing = if waiting.is_empty() { Standing::Current } else { Standing::RestartNeeded };
        self.catalogs.put(catalog, standing, now);
        tracing::info!(models, routes, "the configuration was read again; new calls follow it");
        if !waiting.is_empty() {
            let keys = waiting.join(", ");
            tracing::warn!(keys, "what these keys say is taken up by the next start");
        }
        Ok(())
    }
}

/// Those of the keys that only a start takes up.
fn at_start(keys: Vec<String>) -> Vec<String> {
    let part = |key: &str| key.strip_prefix(NAME)?.strip_prefix('.')?.split('.').next().map(str::to_owned);
    keys.into_iter().filter(|key| part(key).is_some_and(|part| AT_START.contains(&part.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_wait_for_a_start_are_told_from_those_that_do_not() {
        let cases = [
            ("model-router.edge.listen", true),
            ("model-router.edge.tls.certificate", true),
            ("model-router.audit.endpoint", true),
            ("model-router.data", true),
            ("model-router.data_slots", true),
            ("model-router.outbox_events_max", true),
            ("model-router.model.primary.base_url", false),
            ("model-router.route.default.chain", false),
            ("model-router.patience_ms", false),
            ("model-router.model.edge.weight", false),
        ];
        for (key, waits) in cases {
            assert_eq!(!at_start(vec![key.to_owned()]).is_empty(), waits, "{key}");
        }
    }
}
