//! All roots and the label rules: what the six tools share.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinError;
use tokio::time::Instant;

use super::arguments::{Arguments, Shape};
use super::fault::fault;
use super::label::Labels;
use super::path::RelPath;
use super::root::Root;
use super::sweep;
use super::tools::verb::Doing;
use super::tools::{append::Append, delete::Delete, list::List, moves::Move, read::Read, write::Write};
use super::{FsConfig, FsError};
use crate::tool::{SensitivityLabel, Tool, ToolFault, ToolFaultKind};

const SWEEP_DELAY: Duration = Duration::from_secs(3_600);

/// Retention is counted in days.
const SWEEP_INTERVAL: Duration = Duration::from_secs(24 * 3_600);

/// The declared roots, held open and locked for as long as this or one of its tools lives.
#[derive(Debug, Clone)]
pub struct Files {
    roots: Vec<Arc<Root>>,
    labels: Labels,
    retention: SignedDuration,
}

impl Files {
    /// Opens every root, makes its reserved folder where there is none, and locks it.
    ///
    /// # Errors
    /// [`FsError`] when a root is no folder, is in use by another process, or lies within another root.
    pub fn open(config: FsConfig) -> Result<Self, FsError> {
        refuse_nested(&config)?;
        let open = |root| Root::open(root).map(Arc::new);
        let roots = config.roots.into_iter().map(open).collect::<Result<_, _>>()?;
        let retention = SignedDuration::from_hours(24 * i64::from(config.undo_retention_days));
        Ok(Self { roots, labels: config.labels, retention })
    }

    /// The six tools, by name.
    #[must_use]
    pub fn tools(&self) -> Vec<Arc<dyn Tool>> {
        vec![
            Arc::new(Doing::<Append>::new(self.clone())),
            Arc::new(Doing::<Delete>::new(self.clone())),
            Arc::new(List::new(self.clone())),
            Arc::new(Doing::<Move>::new(self.clone())),
            Arc::new(Read::new(self.clone())),
            Arc::new(Doing::<Write>::new(self.clone())),
        ]
    }

    /// Removes undo copies whose retention has passed at `now`, and returns how many. What belongs to an
    /// execution whose outcome is not settled stays, whatever its age. Not before
    /// interrupted executions have been reconciled.
    ///
    /// # Errors
    /// [`FsError::Sweep`] when a root cannot be swept; the roots before it have been.
    pub async fn sweep(&self, now: Timestamp) -> Result<usize, FsError> {
        let before = now.checked_sub(self.retention).unwrap_or(Timestamp::MIN);
        let mut removed = 0;
        for root in &self.roots {
            let (held, swept) = (root.exclusive().await, Arc::clone(root));
            let failed = |source| FsError::Sweep { name: root.config.name.clone(), source };
            let sweeping = tokio::task::spawn_blocking(move || {
                let swept = sweep::sweep(&swept, before);
                drop(held);
                swept
            });
            let swept = sweeping.await.map_err(|error| failed(Box::new(error)))?;
            removed += swept.map_err(|error| failed(Box::new(error)))?;
        }
        Ok(removed)
    }

    /// Sweeps now and then, for as long as it is polled. The first sweep comes an hour after the start, when
    /// interrupted executions have long been reconciled, so that restarts do not pile up sweeps.
    pub async fn keep_swept(&self) -> Infallible {
        let mut ticks = tokio::time::interval_at(Instant::now() + SWEEP_DELAY, SWEEP_INTERVAL);
        loop {
            ticks.tick().await;
            match self.sweep(bulkhead_edge::now()).await {
                Ok(removed) => tracing::info!(removed, "swept the undo stores"),
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    tracing::error!(%error, cause, "undo copies stay until the next sweep");
                }
            }
        }
    }

    /// The root of that name; without a name the only one.
    pub(crate) fn root(&self, name: Option<&str>) -> Result<Arc<Root>, ToolFault> {
        let found = match (name, self.roots.as_slice()) {
            (None, [only]) => Some(only),
            (None, _) => None,
            (Some(name), roots) => roots.iter().find(|root| root.config.name == name),
        };
        found.cloned().ok_or_else(|| self.which_root())
    }

    /// What the file is known to contain.
    pub(crate) fn labels_of(&self, path: &RelPath) -> Vec<SensitivityLabel> {
        self.labels.of(&path.to_string())
    }

    /// What a file that has been under both names is known to contain; each category once.
    pub(crate) fn labels_of_both(&self, one: &RelPath, other: &RelPath) -> Vec<SensitivityLabel> {
        let mut labels = self.labels_of(one);
        labels.extend(self.labels_of(other));
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Reads arguments and finds their root.
    pub(crate) fn resolve<'a>(
        &self,
        shape: Shape,
        arguments: &'a serde_json::Value,
    ) -> Result<(Arc<Root>, Arguments<'a>), ToolFault> {
        let arguments = shape.read(arguments)?;
        Ok((self.root(arguments.root)?, arguments))
    }

    fn which_root(&self) -> ToolFault {
        let names: Vec<_> = self.roots.iter().map(|root| root.config.name.as_str()).collect();
        let message = match names.as_slice() {
            [] => "No folder is open to tools. Ask the operator to declare a root.".to_owned(),
            names => format!("`root` must be one of: {}. Call again with one of them.", names.join(", ")),
        };
        fault(ToolFaultKind::InvalidArguments, message)
    }
}

/// Runs file work off the async threads.
///
/// # Errors
/// A fault when the work panicked; for work that writes nothing.
pub(crate) async fn reading<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ToolFault> + Send + 'static,
) -> Result<T, ToolFault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(broken(&error)))
}

/// The fault when file work panicked.
pub(crate) fn broken(error: &JoinError) -> ToolFault {
    tracing::error!(%error, "a file tool broke off");
    fault(ToolFaultKind::OutcomeUnknown, "The file tool broke off by a defect of its own. Tell the operator.")
}

/// Two roots over one tree would have two locks, two sets of limits and two reserved folders for it.
fn refuse_nested(config: &FsConfig) -> Result<(), FsError> {
    let mut seen: Vec<(String, PathBuf)> = Vec::new();
    for root in &config.roots {
        let failed = |source| FsError::Root { name: root.name.clone(), source };
        let path = root.path.canonicalize().map_err(failed)?;
        let nested = seen.iter().find(|(_, other)| path.starts_with(other) || other.starts_with(&path));
        if let Some((other, _)) = nested {
            return Err(FsError::Nested { name: root.name.clone(), other: other.clone() });
        }
        seen.push((root.name.clone(), path));
    }
    Ok(())
}
