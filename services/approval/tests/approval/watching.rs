//! Following changes: from a cursor, without gaps, until the service stops.

use std::time::Duration;

use bulkhead_proto::approval::v1::{self as pb, ApprovalState};
use futures::future::join_all;
use prost_types::Duration as ProtoDuration;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::audit::attributes;
use crate::sandbox::{
    PATIENCE, Sandbox, Service, approve, ask, get, plan, question, refusal, says_when_to_retry,
};

struct Watch(Streaming<pb::WatchApprovalsResponse>);

impl Watch {
    async fn open(service: &Service, name: &str, after_revision: u64) -> Self {
        Self::ask(service, name, pb::WatchApprovalsRequest { after_revision, from_now: false }).await
    }

    /// From now on, and the revision that it begins after.
    async fn open_now(service: &Service, name: &str) -> (Self, u64) {
        let request = pb::WatchApprovalsRequest { after_revision: 0, from_now: true };
        let mut watch = Self::ask(service, name, request).await;
        let place = watch.message().await;
        assert_eq!(place.approval, None);
        (watch, place.revision)
    }

    async fn ask(service: &Service, name: &str, request: pb::WatchApprovalsRequest) -> Self {
        Self(service.client(name).watch_approvals(request).await.expect("a stream").into_inner())
    }

    async fn message(&mut self) -> pb::WatchApprovalsResponse {
        let next = timeout(PATIENCE, self.0.message()).await.expect("something happens");
        next.expect("no failure").expect("no end")
    }

    async fn next(&mut self) -> Result<Option<pb::Approval>, Status> {
        let next = timeout(PATIENCE, self.0.message()).await.expect("something happens")?;
        Ok(next.map(|change| change.approval.expect("an approval")))
    }

    async fn change(&mut self) -> pb::Approval {
        self.next().await.expect("no failure").expect("no end")
    }
}

#[tokio::test]
async fn a_watch_tells_what_was_and_then_what_happens() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let before = ask(&service, question(&plan())).await;
    let mut watch = Watch::open(&service, "tool-executor", 0).await;
    assert_eq!(watch.change().await, before);

    let asked = ask(&service, question(&plan())).await;
    assert_eq!(watch.change().await, asked);
    approve(&service, "bob", &asked).await.expect("the vote counts");
    let settled = watch.change().await;
    assert_eq!((settled.approval_id, settled.grant.is_some()), (asked.approval_id, true));
}

#[tokio::test]
async fn a_watch_goes_on_from_its_cursor() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let first = ask(&service, question(&plan())).await;
    let second = ask(&service, question(&plan())).await;
    let mut watch = Watch::open(&service, "bob", first.revision).await;
    assert_eq!(watch.change().await, second, "what was seen is not sent again");

    approve(&service, "bob", &first).await.expect("the vote counts");
    let changed = watch.change().await;
    assert_eq!(changed.approval_id, first.approval_id);
    assert!(changed.revision > second.revision);
    assert_eq!(changed.grant, None, "bob is no service");
}

#[tokio::test]
async fn a_crowd_of_changes_arrives_without_gaps_or_duplicates() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut watch = Watch::open(&service, "bob", 0).await;
    let asked = join_all((0..150).map(|_| ask(&service, question(&plan())))).await;

    let mut seen = Vec::new();
    while seen.len() < asked.len() {
        seen.push(watch.change().await);
    }
    let revisions: Vec<u64> = seen.iter().map(|approval| approval.revision).collect();
    assert_eq!(revisions, (1..=150).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_watch_from_now_on_tells_nothing_from_before_and_everything_after() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut before = 0;
    for _ in 0..5 {
        before = ask(&service, question(&plan())).await.revision;
    }
    let (mut watch, place) = Watch::open_now(&service, "bob").await;
    assert_eq!(place, before);
    let asked = ask(&service, question(&plan())).await;
    let told = watch.message().await;
    assert_eq!((told.revision, told.approval), (asked.revision, Some(asked)));

    let (_lost, place) = Watch::open_now(&service, "bob").await;
    let missed = ask(&service, question(&plan())).await;
    let mut again = Watch::open(&service, "bob", place).await;
    assert_eq!(
        again.change().await,
        missed,
        "a stream that broke before anything came goes on from its place"
    );
}

#[tokio::test]
async fn no_change_falls_between_before_and_now() {
    const QUESTIONS: u64 = 60;
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = join_all((0..QUESTIONS).map(|_| ask(&service, question(&plan()))));
    let watches = join_all((0..12).map(|_| Watch::open_now(&service, "bob")));
    let (_, watches) = futures::join!(asked, watches);
    for (mut watch, place) in watches {
        for revision in place + 1..=QUESTIONS {
            assert_eq!(watch.change().await.revision, revision, "a watch that began after {place}");
        }
    }
}

#[tokio::test]
async fn a_watch_begins_in_one_place() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let both = pb::WatchApprovalsRequest { after_revision: 1, from_now: true };
    let refused = service.client("bob").watch_approvals(both).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().expect("a BadRequest").field_violations;
    assert_eq!(violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), ["from_now"]);
    let (_watch, place) = Watch::open_now(&service, "bob").await;
    assert_eq!(place, 0, "of an empty store");
}

#[tokio::test]
async fn an_approval_that_nobody_decides_expires() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut watch = Watch::open(&service, "tool-executor", 0).await;
    let soon = Some(ProtoDuration { seconds: 1, nanos: 0 });
    let asked = ask(&service, pb::CreateApprovalRequest { expires_in: soon, ..question(&plan()) }).await;
    assert_eq!((asked.state(), watch.change().await.revision), (ApprovalState::Pending, asked.revision));

    // Without its wake-up the sweeper would look again only ten seconds after the service started.
    let expired = timeout(Duration::from_secs(7), watch.change()).await.expect("it is closed promptly");
    assert!(expired.revision > asked.revision, "it is written down, not only shown");
    assert_eq!((expired.state(), expired.grant.as_ref()), (ApprovalState::Expired, None));
    assert_eq!(expired.settle_time, asked.expire_time);
    let late = approve(&service, "bob", &asked).await;
    assert_eq!(refusal(late), (Code::FailedPrecondition, "APPROVAL_EXPIRED".into()));

    let events = sandbox.audit.events(2).await;
    assert_eq!(sandbox.audit.kinds(), ["approval.requested", "approval.settled expired"]);
    assert_eq!(events[1].principal.as_ref().map(|by| by.name.as_str()), Some("approval"));
    assert_eq!(attributes(&events[1])["plan_digest"], asked.plan_digest.as_str());
}

#[tokio::test]
async fn a_watch_is_of_one_tenant() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let mut theirs = Watch::open(&service, "eve", 0).await;
    let mut ours = Watch::open(&service, "bob", 0).await;
    ask(&service, question(&plan())).await;
    ours.change().await;
    service.begin_stop();
    let end = theirs.next().await;
    assert_eq!(refusal(end), (Code::Unavailable, "SERVICE_STOPPING".into()), "nothing came before the end");
}

#[tokio::test]
async fn a_watch_does_not_hold_up_a_stop() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start_with("").await;
    let mut watch = Watch::open(&service, "bob", 0).await;
    service.begin_stop();
    let status = watch.next().await.expect_err("it ends");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(says_when_to_retry(&status));
    service.stop().await;
}

#[tokio::test]
async fn agents_do_not_watch() {
    let sandbox = Sandbox::new().await;
    let service = sandbox.start().await;
    let asked = ask(&service, question(&plan())).await;
    let mut scribe = service.client("scribe");
    let outcome = scribe.watch_approvals(pb::WatchApprovalsRequest::default()).await;
    assert_eq!(refusal(outcome.map(|_| ())), (Code::PermissionDenied, "ROLE_REQUIRED".into()));
    assert!(get(&mut scribe, &asked.approval_id).await.is_ok(), "it asks for its own instead");
}
