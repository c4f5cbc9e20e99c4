//! When the delivery of an answer must have ended.
//!
//! A client that opens a call and never reads would otherwise keep the answer in memory for as long as it likes:
//! hyper asks a body for nothing while the client grants no room, so that no timer inside the body is heard.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long an answer may take to be read once its call had to be over.
const GRACE: Duration = Duration::from_secs(10);
/// How long a call may take of which no deadline is known: a probe, or one that was not let in.
const UNKNOWN: Duration = Duration::from_secs(60);

tokio::task_local! {
    /// The end of the answer that the current task delivers; none while there is no call.
    static DUE: Cell<Option<Instant>>;
}

/// The answer that the current task delivers is for a call that ends at `deadline`.
pub(crate) fn end_by(deadline: std::time::Instant) {
    set(Some(Instant::from_std(deadline) + GRACE));
}

/// A call begins of which no deadline is known yet.
pub(super) fn begin() {
    set(Some(Instant::now() + UNKNOWN));
}

/// There is nothing more to deliver.
pub(super) fn end() {
    set(None);
}

/// Outside of what [`bounded`] runs there is nothing to bound.
fn set(due: Option<Instant>) {
    DUE.try_with(|cell| cell.set(due)).unwrap_or_default();
}

/// Runs what delivers answers, until it ends or an answer is overdue. Tells which: `None` when it was overdue.
pub(super) async fn bounded<T>(delivering: impl Future<Output = T>) -> Option<T> {
    let watched = async {
        let mut delivering = pin!(delivering);
        // Made when first needed: most calls are over before.
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        poll_fn(move |context| {
            if let Poll::Ready(value) = delivering.as_mut().poll(context) {
                return Poll::Ready(Some(value));
            }
            let Some(due) = DUE.with(Cell::get) else { return Poll::Pending };
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            sleep.as_mut().poll(context).map(|()| None)
        })
        .await
    };
    DUE.scope(Cell::new(None), watched).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_ends_with_its_call_and_a_grace() {
        let began = Instant::now();
        let overdue = bounded(async {
            begin();
            tokio::task::yield_now().await;
            // A call that had to end so long ago that 50 ms of the grace are left.
            end_by((began + Duration::from_millis(50)).into_std() - GRACE);
            std::future::pending::<()>().await;
        });
        let ended = tokio::time::timeout(Duration::from_secs(30), overdue).await.expect("in time");
        assert_eq!(ended, None);
        assert!(began.elapsed() >= Duration::from_millis(50), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn between_calls_nothing_is_bounded() {
        let ended = bounded(async {
            end_by((Instant::now() - GRACE).into_std());
            end();
            tokio::task::yield_now().await;
        });
        assert_eq!(ended.await, Some(()));
    }
}
