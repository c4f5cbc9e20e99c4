//! The outbox that is a folder of files.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bulkhead_edge::peer::{Credentials, Peer, dial_with};
use bulkhead_edge::{Readiness, Tasks};
use bulkhead_outbox::{AppendError, DeliveryError, FileOutbox, Left, Limit, Outbox, waiting_in};
use bulkhead_sqlite::{Store, WriteError};
use tokio::net::TcpListener;

use crate::fixture::{Audit, SOON, draft};
use crate::table::MIGRATIONS;

/// Nobody listens there until somebody does.
async fn nowhere() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("an address")
}

fn peer(audit: SocketAddr) -> Peer {
    dial_with(&format!("http://{audit}"), Credentials::new("t").expect("a token")).expect("dials")
}

async fn start(folder: &Path, audit: SocketAddr, limit: i64, tasks: &Tasks) -> FileOutbox {
    let left = Left::open(folder).await.expect("opens");
    FileOutbox::start(left, Limit(limit), peer(audit), Readiness::new(), tasks)
}

async fn audit_at(address: SocketAddr) -> Audit {
    let audit = Audit::default();
    audit.serve(TcpListener::bind(address).await.expect("binds")).await;
    audit
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn kinds(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|at| format!("test.event_{at}")).collect()
}

/// Appends one event after another.
fn append_all(outbox: &FileOutbox, kinds: &[String]) {
    for kind in kinds {
        outbox.append([draft(kind)]).expect("stored");
    }
}

/// What a process leaves that appends these and ends.
async fn leave(folder: &Path, audit: SocketAddr, kinds: &[String]) {
    let tasks = Tasks::new();
    append_all(&start(folder, audit, 1_000, &tasks).await, kinds);
    tasks.finish(SOON).await;
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn events_arrive_in_order_and_again_when_an_answer_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let audit = audit_at(address).await;
    *audit.answers_to_lose.lock().expect("lock") = 1;
    let outbox = start(folder.path(), address, 1_000, &Tasks::new()).await;
    let all = kinds(0..300);
    append_all(&outbox, &all);
    until("all to arrive", || outbox.waiting() == 0).await;
    let seen = audit.seen.lock().expect("lock").clone();
    let mut ids = HashSet::new();
    let first: Vec<_> =
        seen.iter().filter(|(_, id)| ids.insert(id.clone())).map(|(kind, _)| kind.clone()).collect();
    assert_eq!(first, all);
    assert!(seen.len() > all.len(), "the lost answer was not followed by a repetition");
}

#[tokio::test]
async fn a_full_outbox_refuses_and_drops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let outbox = start(folder.path(), address, 3, &Tasks::new()).await;
    append_all(&outbox, &kinds(0..3));
    let refused = outbox.append([draft("test.event_3")]);
    assert!(matches!(refused, Err(AppendError::Full { waiting: 3 })), "{refused:?}");
    let audit = audit_at(address).await;
    until("room", || outbox.waiting() == 0).await;
    assert_eq!(audit.kinds(), kinds(0..3));
    outbox.append([draft("test.event_3")]).expect("there is room again");
}

#[tokio::test]
async fn what_a_process_left_is_there_for_the_next_one_from_where_it_was_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let audit = audit_at(address).await;
    let tasks = Tasks::new();
    let first = start(folder.path(), address, 10_000, &tasks).await;
    append_all(&first, &kinds(0..10));
    tasks.finish(SOON).await;
    assert_eq!(audit.kinds(), kinds(0..10), "the last tasks' events are delivered too");
    assert_eq!(waiting_in(folder.path()).expect("readable"), 0);
    // Nobody delivers these any more, as when the process was killed: nothing is closed, and nothing is synced.
    append_all(&first, &kinds(10..20));
    first.append([draft("test.together"), draft("test.with_it")]).expect("stored");
    assert_eq!(waiting_in(folder.path()).expect("readable"), 12);

    let second = start(folder.path(), address, 10_000, &Tasks::new()).await;
    append_all(&second, &kinds(20..21));
    until("all to arrive", || second.waiting() == 0).await;
    let expected =
        [kinds(0..20), vec!["test.together".into(), "test.with_it".into()], kinds(20..21)].concat();
    assert_eq!(audit.kinds(), expected, "each once");
}

#[tokio::test]
async fn files_that_are_delivered_go_and_the_others_are_kept_small() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let outbox = start(folder.path(), address, 100_000, &Tasks::new()).await;
    let large = || draft("test.large").attributes(serde_json::json!({ "text": "x".repeat(40_000) }));
    for _ in 0..250 {
        outbox.append([large()]).expect("stored");
    }
    let before = files(folder.path(), "events");
    assert_eq!(before.len(), 3, "10 MB in files of 4 MiB");
    let audit = audit_at(address).await;
    until("all to arrive", || outbox.waiting() == 0).await;
    assert_eq!(audit.kinds().len(), 250);
    until("delivered files to go", || files(folder.path(), "events") == before[2..]).await;
}

#[tokio::test]
async fn an_event_that_was_half_written_was_never_stored_and_hides_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let tasks = Tasks::new();
    let first = start(folder.path(), address, 100, &tasks).await;
    append_all(&first, &kinds(0..2));
    let whole = files(folder.path(), "events");
    let end =
        fs::read(&whole[0]).expect("readable").iter().rposition(|byte| *byte != 0).expect("written") + 1;
    append_all(&first, &kinds(2..3));
    tasks.finish(SOON).await;
    // The end of the last event is not there.
    let file = OpenOptions::new().write(true).open(&whole[0]).expect("opens");
    file.write_all_at(&[0; 4_096], u64::try_from(end).expect("small") + 30).expect("written");

    assert_eq!(waiting_in(folder.path()).expect("readable"), 2);
    let audit = audit_at(address).await;
    let second = start(folder.path(), address, 100, &Tasks::new()).await;
    append_all(&second, &kinds(3..4));
    until("the others to arrive", || second.waiting() == 0).await;
    assert_eq!(audit.kinds(), [kinds(0..2), kinds(3..4)].concat());
    assert_eq!(files(folder.path(), "damaged"), Vec::<PathBuf>::new(), "nobody was told that it was stored");
}

#[tokio::test]
async fn nothing_that_is_appended_is_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let outbox = start(folder.path(), address, 100, &Tasks::new()).await;
    append_all(&outbox, &kinds(0..1));
    outbox.append([]).expect("of no matter");
    append_all(&outbox, &kinds(1..2));
    assert_eq!(waiting_in(folder.path()).expect("readable"), 2);
    let audit = audit_at(address).await;
    until("both to arrive", || outbox.waiting() == 0).await;
    assert_eq!(audit.kinds(), kinds(0..2));
}

/// As a loss of power may leave it: the mark and later files are on disk, and that an earlier one was removed is not.
#[tokio::test]
async fn a_file_that_is_older_than_the_mark_is_delivered_and_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let audit = audit_at(address).await;
    leave(folder.path(), address, &kinds(0..2)).await;
    let old = files(folder.path(), "events").remove(0);
    let kept = fs::read(&old).expect("readable");
    leave(folder.path(), address, &kinds(2..3)).await;
    fs::write(&old, kept).expect("it is back");
    assert_eq!(waiting_in(folder.path()).expect("readable"), 0);

    let third = start(folder.path(), address, 100, &Tasks::new()).await;
    append_all(&third, &kinds(3..4));
    until("the last to arrive", || third.waiting() == 0).await;
    assert_eq!(audit.kinds(), kinds(0..4));
    until("the old file to go", || !old.exists()).await;
}

/// What stands behind zeros, or behind a length that no write had, is not skipped.
#[tokio::test]
async fn what_a_hole_or_a_wrong_length_hides_is_set_aside() {
    for harm in [&[0; 8][..], &[0, 0, 0, 0x40]] {
        let folder = tempfile::tempdir().expect("a folder");
        let address = nowhere().await;
        leave(folder.path(), address, &kinds(0..2)).await;
        let path = files(folder.path(), "events").remove(0);
        let mut bytes = fs::read(&path).expect("readable");
        bytes[..harm.len()].copy_from_slice(harm);
        fs::write(&path, &bytes).expect("written");
        assert_eq!(waiting_in(folder.path()).expect("readable"), 0);
        drop(Left::open(folder.path()).await.expect("opens"));
        assert_eq!(files(folder.path(), "damaged").len(), 1, "{harm:?}");
    }
}

#[tokio::test]
async fn what_was_damaged_is_set_aside_with_all_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    leave(folder.path(), address, &kinds(0..3)).await;
    let path = files(folder.path(), "events").remove(0);
    let mut bytes = fs::read(&path).expect("readable");
    let at = bytes.windows(12).position(|window| window == b"test.event_1").expect("written");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).expect("written");

    let audit = audit_at(address).await;
    let second = start(folder.path(), address, 100, &Tasks::new()).await;
    append_all(&second, &kinds(3..4));
    until("the others to arrive", || second.waiting() == 0).await;
    assert_eq!(audit.kinds(), [kinds(0..1), kinds(3..4)].concat());
    let aside = files(folder.path(), "damaged");
    assert_eq!(aside.iter().map(|path| fs::read(path).expect("readable")).collect::<Vec<_>>(), [bytes]);
}

#[tokio::test]
async fn a_mark_that_says_nothing_costs_a_repetition_and_no_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let audit = audit_at(address).await;
    leave(folder.path(), address, &kinds(0..2)).await;
    fs::write(folder.path().join("delivered"), b"no mark of ours").expect("written");
    let second = start(folder.path(), address, 100, &Tasks::new()).await;
    append_all(&second, &kinds(2..3));
    until("all to arrive", || second.waiting() == 0).await;
    assert_eq!(audit.kinds(), [kinds(0..2), kinds(0..3)].concat());
}

#[tokio::test]
async fn files_that_somebody_takes_away_are_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let path = folder.path().join("outbox");
    let outbox = start(&path, address, 100, &Tasks::new()).await;
    append_all(&outbox, &kinds(0..2));
    outbox.prove().await.expect("works");
    assert_eq!(outbox.waiting(), 2);
    fs::rename(&path, folder.path().join("elsewhere")).expect("renamed");
    outbox.prove().await.expect("works again");
    assert_eq!(outbox.waiting(), 0);
    append_all(&outbox, &kinds(2..3));
    assert_eq!(waiting_in(&path).expect("readable"), 1);
    let audit = audit_at(address).await;
    until("it to arrive", || outbox.waiting() == 0).await;
    assert_eq!(audit.kinds(), kinds(2..3));
}

#[tokio::test]
async fn what_another_left_is_delivered_once_audit_takes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    leave(folder.path(), address, &kinds(0..130)).await;
    let left = Left::open(folder.path()).await.expect("opens");
    let refused = left.deliver(peer(address)).await;
    assert!(matches!(refused, Err(DeliveryError::Send(_))), "{refused:?}");
    let audit = audit_at(address).await;
    assert_eq!(left.deliver(peer(address)).await.expect("delivered"), 130);
    assert_eq!(audit.kinds(), kinds(0..130));
    assert_eq!(
        Left::open(folder.path()).await.expect("opens").deliver(peer(address)).await.expect("none left"),
        0
    );
}

#[tokio::test]
async fn what_an_earlier_version_kept_in_its_store_is_taken_over() {
    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    enum StoreError {
        Enqueue(#[from] bulkhead_outbox::EnqueueError),
        Write(#[from] WriteError),
    }
    let folder = tempfile::tempdir().expect("a folder");
    let address = nowhere().await;
    let store = Store::open(&folder.path().join("store.sqlite"), &MIGRATIONS).await.expect("opens");
    let tasks = Tasks::new();
    let table = Outbox::start(store.clone(), Limit(1_000), peer(address), Readiness::new(), &tasks);
    for kind in kinds(0..130) {
        table.append::<StoreError>(draft(&kind)).await.expect("stored");
    }
    tasks.finish(SOON).await;
    let outbox = start(&folder.path().join("outbox"), address, 10, &Tasks::new()).await;
    outbox.adopt(&store).await.expect("taken over");
    assert_eq!(outbox.waiting(), 130);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(store.readers()).await.expect("readable");
    assert_eq!(left, 0);
    let audit = audit_at(address).await;
    until("all to arrive", || outbox.waiting() == 0).await;
    assert_eq!(audit.kinds(), kinds(0..130));
}
