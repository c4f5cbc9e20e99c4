//! The store's promises, on a real file.

use std::time::Duration;

use bulkhead_canonical_json::sha256_hex;
use bulkhead_edge::page::Page;
use bulkhead_edge::{Principal, PrincipalKind};
use bulkhead_sqlite::Store;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tempfile::TempDir;

use super::*;
use crate::approval::{Decision, Outcome, Plan, Requirement, Requirements, Settlement, Vote};
use crate::store::StateFilter;

fn noon() -> Timestamp {
    "2026-05-09T12:00:00Z".parse().expect("a time")
}

fn principal(tenant: &str, kind: PrincipalKind, name: &str) -> Principal {
    Principal { tenant: tenant.into(), kind, name: name.into(), owner: None }
}

fn approval(tenant: &str, plan: &str, expires_in: u64) -> Approval {
    let question = Question {
        requested_by: principal(tenant, PrincipalKind::Service, "tool-executor"),
        on_behalf_of: Principal {
            owner: Some("ada".into()),
            ..principal(tenant, PrincipalKind::Agent, "scribe")
        },
        plan: Plan::check(plan.into(), &sha256_hex(plan)).expect("a plan"),
        requirements: Requirements::new(vec![Requirement { role: "approver".into(), count: 2 }]),
        session_id: "s-1".into(),
        traceparent: "the-asking-trace".into(),
        create_time: noon(),
        expire_time: noon() + Duration::from_secs(expires_in),
    };
    Approval::open(ApprovalId::generate(), question)
}

fn vote(name: &str) -> Vote {
    Vote {
        voter: principal("default", PrincipalKind::Person, name),
        roles: vec!["approver".into(), "dba".into()],
        decision: Decision::Approve,
        reason: "looked".into(),
        time: noon(),
    }
}

struct Shelf {
    store: Store,
    _folder: TempDir,
}

impl Shelf {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("approval.db"), &crate::MIGRATIONS).await;
        Self { store: store.expect("opened"), _folder: folder }
    }

    async fn write<T, F>(&self, act: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Result<T, StoreError>> + Send + 'static,
    {
        self.store.writer().write(act).await
    }

    async fn insert(&self, approval: Approval) -> Approval {
        self.write(|c| async move { insert(c, approval).await }.boxed()).await.expect("inserted")
    }

    async fn save(&self, approval: Approval, votes_before: usize) -> Result<Approval, StoreError> {
        self.write(move |c| async move { save(c, approval, votes_before).await }.boxed()).await
    }

    async fn load(&self, tenant: &str, id: ApprovalId) -> Option<Approval> {
        let mut reader = self.store.readers().begin().await.expect("a snapshot");
        load(&mut reader, tenant, id).await.expect("readable")
    }

    async fn find_equal(&self, question: &Question) -> Option<ApprovalId> {
        let mut reader = self.store.readers().begin().await.expect("a snapshot");
        find_equal(&mut reader, question).await.expect("readable").map(|found| found.id)
    }
}

#[tokio::test]
async fn what_is_read_is_what_was_written() {
    let shelf = Shelf::new().await;
    let asked = shelf.insert(approval("default", r#"{"tool":"fs.write"}"#, 60)).await;
    assert_eq!(shelf.load("default", asked.id).await.as_ref(), Some(&asked));

    let mut decided = asked.clone();
    decided.votes = vec![vote("bob"), Vote { decision: Decision::Deny, ..vote("cleo") }];
    let traceparent = "the-deciding-trace".to_owned();
    decided.settlement = Some(Settlement { outcome: Outcome::Denied, time: noon(), traceparent });
    let decided = shelf.save(decided, 0).await.expect("saved");
    assert_eq!(shelf.load("default", asked.id).await.as_ref(), Some(&decided));
    assert_eq!(shelf.load("other", asked.id).await, None, "nothing crosses tenants");
}

#[tokio::test]
async fn a_change_is_made_only_to_the_revision_it_was_decided_on() {
    let shelf = Shelf::new().await;
    let asked = shelf.insert(approval("default", "{}", 60)).await;
    let with = |name: &str| Approval { votes: vec![vote(name)], ..asked.clone() };
    let saved = shelf.save(with("bob"), 0).await.expect("saved");
    assert!(saved.revision > asked.revision);

    let stale = shelf.save(with("cleo"), 0).await;
    assert!(matches!(stale, Err(StoreError::Conflict { revision, .. }) if revision == asked.revision));
    let kept = shelf.load("default", asked.id).await.expect("found");
    assert_eq!(kept, saved, "the loser left nothing");
}

#[tokio::test]
async fn what_is_settled_stays_settled() {
    let shelf = Shelf::new().await;
    let mut asked = shelf.insert(approval("default", "{}", 60)).await;
    let end = |outcome| Some(Settlement { outcome, time: noon(), traceparent: String::new() });
    asked.settlement = end(Outcome::Denied);
    let denied = shelf.save(asked, 0).await.expect("saved");

    let again = Approval { settlement: end(Outcome::Approved), ..denied.clone() };
    assert!(matches!(shelf.save(again, 0).await, Err(StoreError::Conflict { .. })));
    assert_eq!(shelf.load("default", denied.id).await, Some(denied));
}

#[tokio::test]
async fn revisions_rise_within_a_tenant() {
    let shelf = Shelf::new().await;
    let first = shelf.insert(approval("default", "{}", 60)).await;
    let second = shelf.insert(approval("default", "{}", 60)).await;
    let theirs = shelf.insert(approval("other", "{}", 60)).await;
    let third = shelf.save(Approval { votes: vec![vote("bob")], ..first.clone() }, 0).await.expect("saved");
    assert_eq!([first.revision, second.revision, third.revision, theirs.revision], [1, 2, 3, 1]);

    let mut reader = shelf.store.readers().begin().await.expect("a snapshot");
    let changed = changed_after(&mut reader, "default", 1).await.expect("readable");
    assert_eq!(changed.iter().map(|one| one.id).collect::<Vec<_>>(), [second.id, first.id]);
    assert_eq!(changed_after(&mut reader, "default", u64::MAX).await.expect("readable"), []);
}

#[tokio::test]
async fn only_an_equal_question_that_still_waits_is_found() {
    let shelf = Shelf::new().await;
    let asked = shelf.insert(approval("default", "{}", 60)).await;
    let same = || approval("default", "{}", 600).question;
    let later = |seconds| Question { create_time: noon() + Duration::from_secs(seconds), ..same() };
    let mut stranger = same();
    stranger.on_behalf_of.owner = Some("bob".into());
    let mut stricter = same();
    stricter.requirements = Requirements::new(vec![Requirement { role: "approver".into(), count: 3 }]);

    assert_eq!(shelf.find_equal(&same()).await, Some(asked.id));
    assert_eq!(shelf.find_equal(&later(59)).await, Some(asked.id));
    let different = [
        later(60),
        stranger,
        stricter,
        approval("other", "{}", 60).question,
        approval("default", r#"{"a":1}"#, 60).question,
    ];
    for question in different {
        assert_eq!(shelf.find_equal(&question).await, None, "{question:?}");
    }
    let end = Settlement { outcome: Outcome::Denied, time: noon(), traceparent: String::new() };
    shelf.save(Approval { settlement: Some(end), ..asked }, 0).await.expect("saved");
    assert_eq!(shelf.find_equal(&same()).await, None);
}

#[tokio::test]
async fn what_is_overdue_is_listed_as_expired_and_due() {
    let shelf = Shelf::new().await;
    let long = shelf.insert(approval("default", "{}", 60)).await;
    let short = shelf.insert(approval("default", "{}", 30)).await;
    let mut reader = shelf.store.readers().begin().await.expect("a snapshot");
    assert_eq!(next_expiry(&mut reader).await.expect("readable"), Some(short.question.expire_time));

    let now = noon() + Duration::from_secs(30);
    let page = Page { size: 10, after: None };
    let cases =
        [(StateFilter::Pending, vec![long.id]), (StateFilter::Settled(Outcome::Expired), vec![short.id])];
    for (filter, expected) in cases {
        let listed = list(&mut reader, "default", filter, page, now).await.expect("readable");
        assert_eq!(listed.approvals.iter().map(|one| one.id).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let before = now - Duration::from_millis(1);
    assert_eq!(due(&mut reader, now, 10).await.expect("readable"), [("default".to_owned(), short.id)]);
    assert_eq!(due(&mut reader, before, 10).await.expect("readable"), []);
}
