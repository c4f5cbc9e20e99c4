//! Promises broken on purpose, and crashes between two steps. Needs the feature `failpoints`, which the shipped
//! binary never has.

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
