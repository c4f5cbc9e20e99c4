//! What only time decides.

use std::error::Error;

use bulkhead_canonical_json::sha256_hex;
use bulkhead_edge::peer::{Credentials, dial_with};
use bulkhead_edge::{Principal, PrincipalKind};
use bulkhead_idempotency::{PayloadDigest, WINDOW};
use bulkhead_outbox::Limit;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::approval::{Plan, Requirement, Requirements};

fn noon() -> Timestamp {
    "2026-05-09T12:00:00Z".parse().expect("a time")
}

fn principal(kind: PrincipalKind, name: &str) -> Principal {
    Principal { tenant: "default".into(), kind, name: name.into(), owner: None }
}

/// Asked at noon for a minute.
fn question(plan: &str) -> Question {
    Question {
        requested_by: principal(PrincipalKind::Service, "tool-executor"),
        on_behalf_of: principal(PrincipalKind::Agent, "scribe"),
        plan: Plan::check(plan.into(), &sha256_hex(plan)).expect("a plan"),
        requirements: Requirements::new(vec![Requirement { role: "approver".into(), count: 1 }]),
        session_id: String::new(),
        traceparent: String::new(),
        create_time: noon(),
        expire_time: noon() + Duration::from_secs(60),
    }
}

/// A request under one id, whatever it asks.
fn caller(plan: &str) -> Caller {
    let by = principal(PrincipalKind::Service, "tool-executor");
    let payload = PayloadDigest::of(&plan.to_owned());
    let request = Request::new("default", &by, "CreateApproval", Uuid::from_u128(7), payload);
    Caller { call_id: String::new(), request }
}

/// Audit is away: what it should be told waits.
async fn desk() -> Result<(Desk, TempDir), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(&folder.path().join("approval.db"), &crate::MIGRATIONS).await?;
    let (readiness, tasks) = (Readiness::new(), Tasks::new());
    let nowhere = dial_with("http://127.0.0.1:1", Credentials::new("t").ok_or("no token")?)?;
    let outbox = Outbox::start(store.clone(), Limit(100), nowhere, readiness.clone(), &tasks);
    let signer = Signer { key: SigningKey::from_seed([7; 32]), lifetime: Duration::from_secs(60) };
    Ok((Desk::new(store, outbox, signer, readiness, tasks), folder))
}

#[tokio::test]
async fn an_id_is_forgotten_after_its_window_and_not_before() -> Result<(), Box<dyn Error>> {
    let (desk, _folder) = desk().await?;
    let (plan, other) = (r#"{"tool":"fs.delete"}"#, r#"{"tool":"fs.write"}"#);
    let first = desk.open(question(plan), caller(plan)).await?;

    desk.upkeep(noon() + WINDOW).await?;
    // First, since an equal question that still waits is joined, whatever its id.
    let reused = desk.open(question(other), caller(other)).await;
    assert!(matches!(reused, Err(DeskError::RequestIdReused { .. })), "{reused:?}");
    assert_eq!(desk.open(question(plan), caller(plan)).await?.id, first.id);

    desk.upkeep(noon() + WINDOW + Duration::from_millis(1)).await?;
    let second = desk.open(question(other), caller(other)).await?;
    assert_ne!(second.id, first.id, "31 days later the id is a new one");
    Ok(())
}
