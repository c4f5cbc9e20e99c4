//! Waiting for a condition, with a bound.

use std::time::{Duration, Instant};

/// Between two looks at a condition that nothing announces.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until there is something, or fails with what was waited for.
///
/// # Errors
/// When the bound passes first.
pub async fn eventually<T, F>(what: &str, bound: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let until = Instant::now() + bound;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < until, "waited {} s in vain for {what}", bound.as_secs());
        tokio::time::sleep(PAUSE).await;
    }
}

/// The result of `task`, or a failure that names what took too long.
///
/// # Errors
/// When the bound passes first.
pub async fn within<T>(what: &str, bound: Duration, task: impl Future<Output = T>) -> anyhow::Result<T> {
    let ended = tokio::time::timeout(bound, task).await;
    ended.map_err(|_elapsed| anyhow::anyhow!("{what} took more than {} s", bound.as_secs()))
}
