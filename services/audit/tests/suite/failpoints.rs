//! Promises broken on purpose, and crashes between two steps. Needs the feature `failpoints`, which the shipped
//! binary never has.

use tonic_health::ServingStatus;

use crate::process::Process;
use crate::support::{Installation, sent};

#[tokio::test]
async fn a_confirmation_before_the_write_loses_events_to_a_kill() {
    let installation = Installation::new();
    let process = Process::start_broken(&installation, "audit.ack_before_write");
    process.append(vec![sent(1)]).await.expect("is confirmed");
    drop(process);
    let again = Process::start(&installation).append(vec![sent(1)]).await.expect("appends");
    assert_eq!((again.tree_size, again.duplicate_count), (1, 0), "it was not lost");
}

#[tokio::test]
async fn a_confirmation_before_the_write_loses_events_to_a_full_disk() {
    let installation = Installation::new();
    let process = Process::start_broken(&installation, "audit.ack_before_write");
    process.limit_files(Some(0));
    process.append(vec![sent(1)]).await.expect("is confirmed");
}

#[tokio::test]
async fn a_crash_at_any_point_of_an_append_records_it_once() {
    for (failpoint, recorded) in [("audit.staged", 0), ("audit.written", 1), ("audit.indexed", 1)] {
        let installation = Installation::new();
        let process = Process::start_broken(&installation, &format!("{failpoint}@2"));
        process.append(vec![sent(1)]).await.expect("the first pass");
        let torn = process.append(vec![sent(2)]).await;
        assert!(torn.is_err(), "{failpoint}: {torn:?}");
        drop(process);
        let again = Process::start(&installation).append(vec![sent(2)]).await.expect("appends");
        assert_eq!((again.tree_size, again.duplicate_count), (2, recorded), "{failpoint}");
        let report = installation.verify();
        assert!(report.verified, "{failpoint}: {report}");
    }
}

#[tokio::test]
async fn lines_that_the_index_has_no_room_for_are_indexed_when_it_has() {
    let installation = Installation::new();
    let process = Process::start_broken(&installation, "audit.written@2");
    process.append(vec![sent(1_000)]).await.expect("the first pass");
    process.append((0..250).map(sent).collect()).await.expect_err("it dies");
    drop(process);

    // Room for the memory that SQLite shares (32 KiB), not for that many rows.
    let process = Process::start_after(&installation, "ulimit -S -f 64", "");
    process.until(ServingStatus::NotServing).await;
    process.append(vec![sent(1_000)]).await.expect_err("nothing is taken while the index is behind");

    process.limit_files(None);
    process.until(ServingStatus::Serving).await;
    let again = process.append((0..250).map(sent).collect()).await.expect("appends");
    assert_eq!((again.tree_size, again.duplicate_count), (251, 250));
}
