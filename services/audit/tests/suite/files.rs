//! The log on real files: what is there after appends, restarts and torn writes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bulkhead_audit::checkpoint::{Checkpoint, LogKey};
use bulkhead_audit::log::{AppendError, Layout, OpenError, Receipt, RecoverError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::support::{Folder, ORIGIN, SEED, event};

fn append_text(folder: &Folder, day: &str, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(folder.file(day)).expect("opens");
    file.write_all(text.as_bytes()).expect("writes");
}

/// The index as one file; what stands in its write-ahead log is in it too.
async fn snapshot(folder: &Folder) -> Vec<u8> {
    let options = SqliteConnectOptions::new().filename(folder.layout().index());
    let mut connection = SqliteConnection::connect_with(&options).await.expect("connects");
    let copy = folder.path().join("snapshot");
    let path = copy.to_str().expect("a path");
    sqlx::query("VACUUM INTO ?").bind(path).execute(&mut connection).await.expect("copies");
    connection.close().await.expect("closes");
    fs::read(copy).expect("reads")
}

/// Puts other bytes in the place of the index, or nothing.
fn replace_index(folder: &Folder, bytes: Option<&[u8]>) {
    let index = folder.layout().index();
    for suffix in ["", "-wal", "-shm"] {
        let mut path = index.clone().into_os_string();
        path.push(suffix);
        if fs::exists(&path).expect("looks") {
            fs::remove_file(&path).expect("removes");
        }
    }
    if let Some(bytes) = bytes {
        fs::write(index, bytes).expect("writes");
    }
}

fn stored(folder: &Folder) -> Checkpoint {
    let note = fs::read(folder.layout().checkpoint()).expect("reads");
    Checkpoint::open(&note, &LogKey::from_seed(ORIGIN, SEED).pinned()).expect("verifies")
}

#[tokio::test]
async fn each_line_goes_to_the_file_of_its_day_and_never_back() {
    let days = [
        ("2026-05-09T23:59:59Z", 1..3),
        ("2026-05-10T00:00:00Z", 3..4),
        // The clock steps back over midnight.
        ("2026-05-09T23:59:59Z", 4..5),
    ];
    let folder = Folder::filled(&days).await;
    assert_eq!(folder.text("2026-05-09").lines().count(), 2);
    let second = folder.text("2026-05-10");
    assert_eq!(second.lines().count(), 2);
    assert!(second.lines().all(|line| line.contains(r#""logged_time":"2026-05-10T00:00:00Z""#)), "{second}");

    folder.set_clock("2026-05-09T12:00:00Z");
    let open = folder.open().await;
    open.append([5]).await.expect("appends");
    assert_eq!(folder.text("2026-05-09").lines().count(), 2);
    assert_eq!(folder.text("2026-05-10").lines().count(), 3);
    open.close().await;
}

#[tokio::test]
async fn duplicates_are_acknowledged_and_not_stored_again_even_after_a_restart() {
    let folder = Folder::new();
    let open = folder.open().await;
    let receipt = open.append([1, 2, 2, 1]).await.expect("appends");
    assert_eq!(receipt, Receipt { tree_size: 2, duplicates: 2 });
    open.close().await;

    let open = folder.open().await;
    let receipt = open.append([2, 3]).await.expect("appends");
    assert_eq!(receipt, Receipt { tree_size: 3, duplicates: 1 });
    assert_eq!(open.sequences().await, [0, 1, 2]);
    open.close().await;
    assert_eq!(folder.text("2026-05-09").lines().count(), 3);
}

#[tokio::test]
async fn callers_who_arrive_together_each_get_their_own_answer() {
    let folder = Folder::new();
    let open = folder.open().await;
    let calls = (0..50_u128).map(|call| open.append([call, 1_000]));
    let receipts = join(calls).await;
    let duplicates: u32 = receipts.iter().map(|receipt| receipt.duplicates).sum();
    assert_eq!(duplicates, 49, "one of the fifty stored the shared event");
    assert_eq!(open.sequences().await, (0..51).collect::<Vec<_>>());
    open.close().await;
    assert_eq!(stored(&folder).head.size, 51);
}

async fn join<F>(calls: impl Iterator<Item = F>) -> Vec<Receipt>
where
    F: Future<Output = Result<Receipt, AppendError>>,
{
    futures::future::join_all(calls).await.into_iter().map(|receipt| receipt.expect("appends")).collect()
}

#[tokio::test]
async fn a_torn_last_line_is_removed_and_the_rest_is_kept() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..4)]).await;
    let whole = folder.text("2026-05-09");
    append_text(&folder, "2026-05-09", r#"{"attributes":{},"event_id":"0000"#);

    let open = folder.open().await;
    assert_eq!(folder.text("2026-05-09"), whole);
    let receipt = open.append([4]).await.expect("appends");
    assert_eq!(receipt.tree_size, 4);
    open.close().await;
    assert_eq!(folder.text("2026-05-09").lines().count(), 4);
}

#[tokio::test]
async fn whole_lines_that_no_checkpoint_covers_yet_are_kept() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..3)]).await;
    let early = fs::read(folder.layout().checkpoint()).expect("reads");
    let open = folder.open().await;
    open.append(3..6).await.expect("appends");
    open.close().await;
    // As if the process had died between the append and the next checkpoint.
    fs::write(folder.layout().checkpoint(), early).expect("writes");

    let open = folder.open().await;
    assert_eq!(stored(&folder).head.size, 5, "signed before anything is served");
    assert_eq!(open.append([5]).await.expect("appends"), Receipt { tree_size: 5, duplicates: 1 });
    open.close().await;
}

#[tokio::test]
async fn a_log_that_its_checkpoint_contradicts_is_not_served() {
    let fill = || Folder::filled(&[("2026-05-09T12:00:00Z", 1..5)]);

    let folder = fill().await;
    let changed = folder.text("2026-05-09").replace("notes/2.md", "notes/9.md");
    fs::write(folder.file("2026-05-09"), &changed).expect("writes");
    let refused = folder.try_open().await.err().expect("refused");
    assert!(matches!(refused, OpenError::Recover(RecoverError::Changed { signed: 4 })), "{refused:?}");
    assert_eq!(folder.text("2026-05-09"), changed, "evidence is left as it is");

    let folder = fill().await;
    let text = folder.text("2026-05-09");
    let shorter: String = text.split_inclusive('\n').take(3).collect();
    fs::write(folder.file("2026-05-09"), shorter).expect("writes");
    let refused = folder.try_open().await.err().expect("refused");
    assert!(matches!(refused, OpenError::Recover(RecoverError::Truncated { found: 3, signed: 4 })));

    let folder = fill().await;
    fs::remove_file(folder.layout().checkpoint()).expect("removes");
    let refused = folder.try_open().await.err().expect("refused");
    assert!(matches!(refused, OpenError::Recover(RecoverError::CheckpointMissing { .. })));

    let folder = fill().await;
    append_text(&folder, "2026-05-09", "{}\n");
    let refused = folder.try_open().await.err().expect("refused");
    assert!(matches!(refused, OpenError::Recover(RecoverError::Damaged { number: 5, .. })), "{refused:?}");
}

#[tokio::test]
async fn a_lost_or_damaged_or_foreign_index_is_built_anew() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..4), ("2026-05-10T12:00:00Z", 4..6)]).await;
    let other = Folder::filled(&[("2026-05-09T12:00:00Z", 11..16)]).await;
    let foreign = snapshot(&other).await;
    let states: [Option<&[u8]>; 3] = [None, Some(b"not a database at all, by any measure"), Some(&foreign)];
    for state in states {
        replace_index(&folder, state);
        let open = folder.open().await;
        assert_eq!(open.sequences().await, [0, 1, 2, 3, 4]);
        assert_eq!(open.append([5]).await.expect("appends"), Receipt { tree_size: 5, duplicates: 1 });
        open.close().await;
    }
}

#[tokio::test]
async fn an_index_that_fell_behind_is_completed() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..4)]).await;
    let behind = snapshot(&folder).await;
    let open = folder.open().await;
    open.append(4..8).await.expect("appends");
    open.close().await;
    replace_index(&folder, Some(&behind));

    let open = folder.open().await;
    assert_eq!(open.sequences().await, [0, 1, 2, 3, 4, 5, 6]);
    open.close().await;
}

#[tokio::test]
async fn events_that_the_index_did_not_take_are_not_acknowledged_and_not_stored_twice() {
    let folder = Folder::new();
    let open = folder.open().await;
    open.append([1]).await.expect("appends");
    let options = SqliteConnectOptions::new().filename(folder.layout().index());
    let mut other = SqliteConnection::connect_with(&options).await.expect("connects");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locks");

    let refused = open.append([2]).await;
    assert!(matches!(refused, Err(AppendError::Index(_))), "{refused:?}");
    assert_eq!(folder.text("2026-05-09").lines().count(), 2, "it is on disk all the same");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("lets go");

    assert_eq!(open.append([2, 3]).await.expect("appends"), Receipt { tree_size: 3, duplicates: 1 });
    assert_eq!(open.sequences().await, [0, 1, 2]);
    open.close().await;
}

#[tokio::test]
async fn everything_is_for_its_owner_only() {
    let folder = Folder::new();
    // A service's start makes its data folder itself.
    let layout = Layout::new(&folder.path().join("data/audit"));
    let modes = || modes_under(&folder.path().join("data"));
    let open = folder.try_open_at(&layout).await.expect("opens");
    open.append(1..3).await.expect("appends");
    let running = modes();
    open.close().await;
    // Files are made anew at a start, too.
    let open = folder.try_open_at(&layout).await.expect("opens");
    open.append(3..4).await.expect("appends");
    open.log.checkpoint().await.expect("signs");
    for found in [running, modes()] {
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        let expected = [
            "audit",
            "audit/checkpoint",
            "audit/index.sqlite",
            "audit/index.sqlite-shm",
            "audit/index.sqlite-wal",
            "audit/leaf-hashes",
            "audit/lock",
            "audit/logs",
            "audit/logs/2026-05-09.log",
        ];
        assert_eq!(names, expected);
        for (name, mode) in &found {
            let private = if ["audit", "audit/logs"].contains(&name.as_str()) { 0o700 } else { 0o600 };
            assert_eq!(mode & 0o777, private, "{name} has {mode:o}");
        }
    }
    assert_eq!(fs::metadata(folder.path().join("data")).expect("looks").permissions().mode() & 0o777, 0o700);
    open.close().await;
}

/// Names and modes of all there is, in order.
fn modes_under(root: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("lists") {
            let path = entry.expect("a name").path();
            let metadata = fs::symlink_metadata(&path).expect("looks");
            let name = path.strip_prefix(root).expect("below").to_str().expect("text").to_owned();
            found.push((name, metadata.permissions().mode()));
            folders.extend(metadata.is_dir().then_some(path));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn a_log_has_one_owner() {
    let folder = Folder::new();
    let open = folder.open().await;
    assert!(matches!(folder.try_open().await.err(), Some(OpenError::InUse { .. })));
    open.close().await;
    folder.open().await.close().await;
}

#[tokio::test]
async fn the_stored_checkpoint_follows_an_append_without_being_asked() {
    let folder = Folder::new();
    let open = folder.open().await;
    assert_eq!(stored(&folder).head.size, 0, "an empty log has a checkpoint");
    open.append(1..4).await.expect("appends");
    let followed = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while stored(&folder).head.size != 3 {
            ticks.tick().await;
        }
    };
    // A second is promised; the rest is for a machine that does other things as well.
    tokio::time::timeout(Duration::from_secs(10), followed).await.expect("in time");

    // Who asks does not wait for it.
    open.append([4]).await.expect("appends");
    assert_eq!(open.log.checkpoint().await.expect("signs").tree_size, 4);
    assert_eq!(stored(&folder).head.size, 4);
    open.close().await;
}

#[tokio::test]
async fn lines_are_read_back_as_the_bytes_that_were_hashed() {
    let folder = Folder::filled(&[("2026-05-09T12:00:00Z", 1..3), ("2026-05-10T12:00:00Z", 3..5)]).await;
    let open = folder.open().await;
    let lines: Vec<String> = open.all().await.into_iter().map(|found| found.line).collect();
    let expected = format!("{}{}", folder.text("2026-05-09"), folder.text("2026-05-10"));
    assert_eq!(lines.join("\n") + "\n", expected);
    assert_eq!(open.all().await[2].entry.event, event(3));
    open.close().await;
}
