//! What an `up` that was killed leaves behind: services that are still ending, on the stores and the ports that
//! the next one needs.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::time::{Instant, sleep};

use super::Layout;

/// How long the services of a killed `up` may take to end: as long as they have to drain, and some more.
const ENDING_BOUND: Duration = Duration::from_secs(20);
/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A lock that every child of this process holds together with it, and until its own end: the file is handed down
/// open. Whoever gets it knows that nothing of an earlier stack runs any more.
#[derive(Debug)]
pub(super) struct SharedLock {
    #[expect(dead_code, reason = "the lock lives as long as the open file, here and in the children")]
    file: File,
}

impl SharedLock {
    /// Waits for what an earlier stack left, within a bound.
    ///
    /// # Errors
    /// When something of it is still there after that.
    pub(super) async fn take(layout: &Layout, report: fn(&str)) -> anyhow::Result<Self> {
        let path = layout.shared_lock();
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let deadline = Instant::now() + ENDING_BOUND;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => bail!(
                    "services of an earlier `bulkhead up` still run on {} and do not end; end them first",
                    layout.root().display()
                ),
                Err(TryLockError::WouldBlock) if !told => {
                    report("Waiting for the services of an earlier `bulkhead up` to end …");
                    told = true;
                }
                Err(TryLockError::WouldBlock) => sleep(LOOK_INTERVAL).await,
                Err(TryLockError::Error(source)) => {
                    return Err(source).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        fcntl_setfd(&file, FdFlags::empty()).context("cannot hand a lock down")?;
        Ok(Self { file })
    }
}
