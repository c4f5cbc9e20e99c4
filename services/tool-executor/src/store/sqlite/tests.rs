//! What only time decides.

use std::error::Error;

use bulkhead_edge::peer::{Credentials, dial_with};
use bulkhead_edge::{Principal, PrincipalKind, Tasks};
use bulkhead_idempotency::{PayloadDigest, WINDOW};
use tempfile::TempDir;

use super::*;
use crate::execution::{Before, RunContext, Trace};
use crate::policy::Caller;

fn noon() -> Timestamp {
    "2026-05-09T12:00:00Z".parse().expect("a time")
}

fn scribe() -> Principal {
    Principal { tenant: "default".into(), kind: PrincipalKind::Agent, name: "scribe".into(), owner: None }
}

/// A request under one id, whatever it asks.
fn request(arguments: &str) -> Request {
    let payload = PayloadDigest::of(&arguments.to_owned());
    Request::new("default", &scribe(), "ExecuteToolCall", Uuid::from_u128(7), payload)
}

/// Refused at noon, which needs no plan.
fn refused() -> Execution {
    Execution {
        id: Uuid::now_v7(),
        state: State::Refused,
        tool: "fs.read".into(),
        caller: Caller { principal: scribe(), roles: vec!["agent".into()] },
        context: RunContext::default(),
        arguments: serde_json::Value::Null,
        prepared: None,
        result: None,
        approval_id: None,
        undo_of: None,
        trace: Trace { traceparent: String::new(), trace_id: String::new() },
        call_id: String::new(),
        revision: 0,
        create_time: noon(),
        update_time: noon(),
    }
}

/// Audit is away: what it should be told waits.
async fn journal() -> Result<(Journal, TempDir), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = open(&folder.path().join("journal.db")).await?;
    let limits = Limits { outbox: bulkhead_outbox::Limit(100), pending_per_principal: 10 };
    let nowhere = dial_with("http://127.0.0.1:1", Credentials::new("t").ok_or("no token")?)?;
    let (readiness, tasks) = (Readiness::new(), Tasks::new());
    let outbox = Outbox::start(store.clone(), limits.outbox, nowhere, readiness.clone(), &tasks);
    Ok((Journal::new(store, outbox, limits, readiness), folder))
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_window_and_not_before() -> Result<(), Box<dyn Error>> {
    let (journal, _folder) = journal().await?;
    let execution = refused();
    let id = execution.id;
    journal.commit(Draft { before: Before::Absent(request("{}")), execution }, None).await?;

    assert_eq!(journal.forget_requests(noon() + WINDOW).await?, 0);
    assert_eq!(journal.claim(&request("{}")).await?, Claimed::Seen(id));
    let reused = journal.claim(&request("[]")).await;
    assert!(matches!(reused, Err(StoreError::RequestReused)), "{reused:?}");

    assert_eq!(journal.forget_requests(noon() + WINDOW + Duration::from_millis(1)).await?, 1);
    assert_eq!(journal.claim(&request("[]")).await?, Claimed::New, "31 days later the id is a new one");
    Ok(())
}
