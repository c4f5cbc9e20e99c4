//! The promises of the store, on real files.
#![expect(clippy::expect_used, reason = "a broken fixture ends the test")]

use std::path::Path;

use bulkhead_idempotency::{Claim, PayloadDigest, Request};
use bulkhead_sqlite::{OpenError, Store, WriteError, claim, record};
use sqlx::migrate::Migrator;
use sqlx::{Connection as _, SqliteConnection};
use uuid::Uuid;

static MIGRATIONS: Migrator = sqlx::migrate!("tests/migrations");

#[derive(Debug, thiserror::Error)]
enum InsertError {
    #[error("asked to fail")]
    Asked,
    #[error("the row could not be inserted")]
    Sql(#[from] sqlx::Error),
    #[error(transparent)]
    Write(#[from] WriteError),
}

async fn insert(store: &Store, name: &str, fail: bool) -> Result<(), InsertError> {
    let name = name.to_owned();
    let write = store.writer().write(move |connection| {
        Box::pin(async move {
            sqlx::query("INSERT INTO rows (name) VALUES (?)").bind(name).execute(connection).await?;
            if fail { Err(InsertError::Asked) } else { Ok(()) }
        })
    });
    write.await
}

async fn names(store: &Store) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM rows ORDER BY name").fetch_all(store.readers()).await.expect("rows")
}

async fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store.sqlite"), &MIGRATIONS).await.expect("opens")
}

#[tokio::test]
async fn one_callers_failure_does_not_touch_anothers_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let writes = (0..50).map(|at| {
        let store = store.clone();
        async move { insert(&store, &format!("{at:02}"), at % 3 == 0).await }
    });
    let results = futures::future::join_all(writes).await;
    let kept = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(kept, 33);
    let failed = results.iter().filter(|result| matches!(result, Err(InsertError::Asked))).count();
    assert_eq!(failed, 17);
    assert_eq!(names(&store).await.len(), 33);
}

#[tokio::test]
async fn a_write_that_was_answered_is_there_for_the_next_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    insert(&store, "a", false).await.expect("written");
    // A copy of the files as a crash would leave them: nothing was closed.
    let copy = tempfile::tempdir().expect("a folder");
    for entry in std::fs::read_dir(folder.path()).expect("entries").map(|entry| entry.expect("an entry")) {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    assert_eq!(names(&open(copy.path()).await).await, ["a"]);
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.sqlite");
    let store = Store::open(&path, &MIGRATIONS).await.expect("opens");
    let second = Store::open(&path, &MIGRATIONS).await;
    assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
    drop(store);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while Store::open(&path, &MIGRATIONS).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "the lock was never let go");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_closed_store_is_one_complete_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    insert(&store, "a", false).await.expect("written");
    assert_eq!(names(&store).await, ["a"]);
    store.close().await;
    let late = insert(&store, "b", false).await;
    assert!(matches!(late, Err(InsertError::Write(WriteError::Closed))), "{late:?}");
    for suffix in ["wal", "shm"] {
        assert!(!folder.path().join(format!("store.sqlite-{suffix}")).exists(), "a file -{suffix} is left");
    }
    let copy = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.path().join("store.sqlite"), copy.path().join("store.sqlite")).expect("copied");
    assert_eq!(names(&open(copy.path()).await).await, ["a"]);
}

#[tokio::test]
async fn only_the_owner_reads_a_store() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder.path().join("inner")).await;
    insert(&store, "a", false).await.expect("written");
    for entry in
        std::fs::read_dir(folder.path().join("inner")).expect("entries").map(|entry| entry.expect("an entry"))
    {
        let mode = entry.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_store_locked_from_outside_fails_clearly_and_recovers() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let url = format!("sqlite://{}", folder.path().join("store.sqlite").display());
    let mut other = SqliteConnection::connect(&url).await.expect("connects");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.expect("locks");

    let refused = insert(&store, "a", false).await;
    assert!(matches!(refused, Err(InsertError::Write(WriteError::NotWritten(_)))), "{refused:?}");
    sqlx::query("ROLLBACK").execute(&mut other).await.expect("unlocks");
    insert(&store, "b", false).await.expect("recovers");
    assert_eq!(names(&store).await, ["b"]);
}

#[tokio::test]
async fn the_same_id_means_the_same_request() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).await;
    let request = |principal: &str, says: &str| {
        let payload = PayloadDigest::of(&says.to_owned());
        Request::new("default", &principal, "Create", Uuid::nil(), payload)
    };
    let (ada, other, bob) = (request("ada", "one"), request("ada", "two"), request("bob", "two"));
    let seen = store.writer().write(move |connection| {
        Box::pin(async move {
            let new = claim(connection, &ada).await?;
            record(connection, &ada, "thing-1", 0).await?;
            let claims = [
                new,
                claim(connection, &ada).await?,
                claim(connection, &other).await?,
                claim(connection, &bob).await?,
            ];
            Ok::<_, InsertError>(claims)
        })
    });
    let same = Claim::Seen("thing-1".to_owned());
    assert_eq!(seen.await.expect("claims"), [Claim::New(()), same, Claim::Reused, Claim::New(())]);
}
