//! The outbox that is a table.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bulkhead_edge::peer::{Credentials, dial_with};
use bulkhead_edge::{Readiness, Tasks};
use bulkhead_outbox::{DeliveryError, EnqueueError, Limit, Outbox, deliver_left};
use bulkhead_sqlite::{Store, WriteError};
use sqlx::migrate::Migrator;
use tokio::net::TcpListener;

use crate::fixture::{Audit, SOON, draft};

pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!("tests/outbox/migrations");

#[derive(Debug, thiserror::Error)]
enum StoreError {
    #[error(transparent)]
    Enqueue(#[from] EnqueueError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

async fn outbox(folder: &Path, audit: SocketAddr, limit: i64, tasks: &Tasks) -> Outbox {
    let store = Store::open(&folder.join("store.sqlite"), &MIGRATIONS).await.expect("opens");
    let peer = dial_with(&format!("http://{audit}"), Credentials::new("t").expect("a token")).expect("dials");
    Outbox::start(store, Limit(limit), peer, Readiness::new(), tasks)
}

async fn append(outbox: &Outbox, kind: &str) -> Result<i64, StoreError> {
    outbox.append(draft(kind)).await
}

#[tokio::test]
async fn events_arrive_in_order_and_again_when_an_answer_was_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let audit = Audit::default();
    *audit.answers_to_lose.lock().expect("lock") = 1;
    audit.serve(listener).await;

    let outbox = outbox(folder.path(), address, 100, &Tasks::new()).await;
    let mut last = 0;
    for at in 0..20 {
        last = append(&outbox, &format!("test.event_{at}")).await.expect("stored");
    }
    outbox.acknowledged(last, SOON).await.expect("confirmed");

    let seen = audit.seen.lock().expect("lock").clone();
    let mut ids = std::collections::HashSet::new();
    let first_seen: Vec<_> =
        seen.iter().filter(|(_, id)| ids.insert(id.clone())).map(|(kind, _)| kind.clone()).collect();
    let expected: Vec<_> = (0..20).map(|at| format!("test.event_{at}")).collect();
    assert_eq!(first_seen, expected);
    assert!(seen.len() > 20, "the lost answer was not followed by a repetition");
}

#[tokio::test]
async fn a_full_outbox_refuses_and_drops_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    drop(listener);

    let outbox = outbox(folder.path(), address, 3, &Tasks::new()).await;
    let mut last = 0;
    for at in 0..3 {
        last = append(&outbox, &format!("test.event_{at}")).await.expect("stored");
    }
    let refused = append(&outbox, "test.event_3").await;
    assert!(matches!(refused, Err(StoreError::Enqueue(EnqueueError::Full { waiting: 3 }))), "{refused:?}");
    assert!(outbox.acknowledged(last, Duration::from_millis(50)).await.is_err());

    let audit = Audit::default();
    audit.serve(TcpListener::bind(address).await.expect("binds again")).await;
    outbox.acknowledged(last, SOON).await.expect("confirmed");
    assert_eq!(audit.kinds(), ["test.event_0", "test.event_1", "test.event_2"]);
}

#[tokio::test]
async fn what_the_last_tasks_leave_is_still_delivered() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let audit = Audit::default();
    audit.serve(listener).await;
    let tasks = Tasks::new();
    let outbox = outbox(folder.path(), address, 100, &tasks).await;
    let stopping = tasks.stopping();
    tasks.spawn("a call that ends while the service stops", async move {
        stopping.cancelled().await;
        append(&outbox, "test.last_words").await.expect("stored");
    });
    tasks.finish(SOON).await;
    assert_eq!(audit.kinds(), ["test.last_words"]);
}

#[tokio::test]
async fn a_store_that_is_gone_is_told_to_whoever_asks_for_readiness() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    Audit::default().serve(listener).await;
    let store = Store::open(&folder.path().join("store.sqlite"), &MIGRATIONS).await.expect("opens");
    let peer =
        dial_with(&format!("http://{address}"), Credentials::new("t").expect("a token")).expect("dials");
    let readiness = Readiness::new();
    let outbox = Outbox::start(store.clone(), Limit(100), peer, readiness.clone(), &Tasks::new());
    let gone = store.writer().write(|connection| {
        Box::pin(async move {
            sqlx::query("DROP TABLE outbox").execute(connection).await.map_err(EnqueueError::Store)?;
            Ok::<_, StoreError>(())
        })
    });
    gone.await.expect("dropped");
    outbox.wake();
    let mut problems = readiness.subscribe();
    let told = tokio::time::timeout(SOON, problems.wait_for(|unmet| unmet.contains_key("audit_outbox")));
    assert!(told.await.expect("in time").is_ok());
}

#[tokio::test]
async fn what_an_earlier_process_left_is_sent_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let tasks = Tasks::new();
    let first = outbox(folder.path(), address, 100, &tasks).await;
    append(&first, "test.left_behind").await.expect("stored");
    tasks.finish(SOON).await;
    drop(first);

    let audit = Audit::default();
    audit.serve(TcpListener::bind(address).await.expect("binds")).await;
    let deadline = std::time::Instant::now() + SOON;
    let second = loop {
        match Store::open(&folder.path().join("store.sqlite"), &MIGRATIONS).await {
            Ok(store) => {
                let peer = dial_with(&format!("http://{address}"), Credentials::new("t").expect("a token"));
                break Outbox::start(
                    store,
                    Limit(100),
                    peer.expect("dials"),
                    Readiness::new(),
                    &Tasks::new(),
                );
            }
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    let last = append(&second, "test.new").await.expect("stored");
    second.acknowledged(last, SOON).await.expect("confirmed");
    assert_eq!(audit.kinds(), ["test.left_behind", "test.new"]);
}

#[tokio::test]
async fn what_another_left_is_delivered_once_audit_takes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let tasks = Tasks::new();
    let first = outbox(folder.path(), address, 1_000, &tasks).await;
    // More than one delivery holds.
    let kinds: Vec<_> = (0..130).map(|at| format!("test.event_{at}")).collect();
    for kind in &kinds {
        append(&first, kind).await.expect("stored");
    }
    tasks.finish(SOON).await;
    drop(first);

    let store = tokio::time::timeout(SOON, async {
        loop {
            match Store::open(&folder.path().join("store.sqlite"), &MIGRATIONS).await {
                Ok(store) => break store,
                Err(_still_open) => tokio::task::yield_now().await,
            }
        }
    });
    let store = store.await.expect("it is let go of");
    let peer = || dial_with(&format!("http://{address}"), Credentials::new("t").expect("a token"));
    let refused = deliver_left(&store, peer().expect("dials")).await;
    assert!(matches!(refused, Err(DeliveryError::Send(_))), "{refused:?}");

    let audit = Audit::default();
    audit.serve(TcpListener::bind(address).await.expect("binds")).await;
    assert_eq!(deliver_left(&store, peer().expect("dials")).await.expect("delivered"), kinds.len());
    assert_eq!(audit.kinds(), kinds);
    assert_eq!(deliver_left(&store, peer().expect("dials")).await.expect("nothing is left"), 0);
}
