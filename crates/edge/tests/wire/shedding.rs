//! More calls than places.

use std::time::Duration;

use bulkhead_edge::EdgeSettings;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::fixture::{Fixture, start_with};
use super::raw::{BOUND, Connection, Open, asking, done, frame, query, to};

const HEALTH: &str = "/grpc.health.v1.Health/Check";
const TAIL: &str = "/bulkhead.audit.v1.AuditService/TailEvents";
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

async fn crowded(calls_max: usize, queue_max: usize, queue_timeout: Duration) -> Fixture {
    let change = move |settings: &mut EdgeSettings| {
        settings.limits.calls_max = calls_max;
        settings.limits.queue_max = queue_max;
        settings.limits.queue_timeout = queue_timeout;
    };
    start_with(change, None).await
}

fn of(name: &str) -> http::request::Builder {
    let mut request = query();
    let value = format!("Bearer token-of-{name}").parse().expect("a header");
    request.headers_mut().expect("a good request").insert("authorization", value);
    request
}

/// A call that takes a place, or waits for one.
async fn hold(connection: &Connection, name: &str) -> Open {
    let mut open = connection.begin(done(of(name))).await;
    open.data(asking("hold"), true);
    open
}

#[tokio::test]
async fn a_call_without_a_place_is_refused_with_advice_and_before_any_effect() {
    let mut fixture = crowded(1, 1, SHORT).await;
    let connection = fixture.connect().await;
    let first = hold(&connection, "auditor").await;
    assert_eq!(fixture.next_holder().await, "acme");

    // It waits in the queue, and then no longer.
    let refused = hold(&connection, "auditor").await.answer().await;
    assert_eq!(refused.refusal(), (Code::Unavailable, "OVERLOADED".to_owned()));
    let delay = refused.grpc().get_details_retry_info().and_then(|info| info.retry_delay).expect("advice");
    assert!((SHORT..Duration::from_secs(1)).contains(&delay), "{delay:?}");
    assert!(refused.grpc().message().contains("nothing was done"));
    assert!(fixture.holding.try_recv().is_err(), "its handler ran");

    fixture.release(1);
    assert_eq!(first.answer().await.grpc().code(), Code::Ok);
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn a_newcomer_is_admitted_next_and_the_greedy_wait() {
    let mut fixture = crowded(2, 2, LONG).await;
    let connection = fixture.connect().await;
    let mut greedy = Vec::new();
    for _ in 0..2 {
        greedy.push(hold(&connection, "auditor").await);
        assert_eq!(fixture.next_holder().await, "acme");
    }
    greedy.push(hold(&connection, "auditor").await);
    let put_out = hold(&connection, "auditor").await;
    // What was sent on one connection arrives in its order, so the queue is full when this one comes.
    let newcomer = hold(&connection, "newcomer").await;
    let refused = put_out.answer().await;
    assert_eq!(refused.refusal(), (Code::ResourceExhausted, "TENANT_OVER_SHARE".to_owned()));
    assert!(refused.grpc().get_details_retry_info().is_some());

    fixture.release(1);
    assert_eq!(fixture.next_holder().await, "other", "the newcomer waited for less than anybody");
    fixture.release(3);
    assert_eq!(newcomer.answer().await.grpc().code(), Code::Ok);
    for call in greedy {
        assert_eq!(call.answer().await.grpc().code(), Code::Ok);
    }
}

#[tokio::test]
async fn services_have_a_share_of_their_own() {
    let mut fixture = crowded(2, 2, LONG).await;
    let connection = fixture.connect().await;
    let first = hold(&connection, "auditor").await;
    let second = hold(&connection, "auditor").await;
    for _ in 0..2 {
        fixture.next_holder().await;
    }
    let third = hold(&connection, "auditor").await;
    let mut service = connection.begin(done(of_service())).await;
    service.data(frame(b""), true);
    // Only once the service's call waits as well is anything let go.
    connection.call(done(to(HEALTH)), frame(b"")).await;
    fixture.release(1);
    let served = tokio::time::timeout(BOUND, fixture.timeouts.recv()).await.expect("in time");
    assert!(served.is_some() && fixture.holding.try_recv().is_err(), "the tenant's third call was next");
    service.send.send_reset(h2::Reason::CANCEL);
    fixture.release(2);
    for call in [first, second, third] {
        assert_eq!(call.answer().await.grpc().code(), Code::Ok);
    }
}

fn of_service() -> http::request::Builder {
    let mut request = to("/bulkhead.audit.v1.AuditService/GetCheckpoint");
    let value = "Bearer token-of-service".parse().expect("a header");
    request.headers_mut().expect("a good request").insert("authorization", value);
    request
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_its_place_and_its_turn_away() {
    let mut fixture = crowded(1, 2, LONG).await;
    let connection = fixture.connect().await;
    let mut holder = hold(&connection, "auditor").await;
    fixture.next_holder().await;
    let mut waits = hold(&connection, "auditor").await;
    let next = hold(&connection, "newcomer").await;
    waits.send.send_reset(h2::Reason::CANCEL);
    // Once this is answered, the reset has come.
    connection.call(done(to(HEALTH)), frame(b"")).await;
    holder.send.send_reset(h2::Reason::CANCEL);
    assert_eq!(fixture.next_holder().await, "other");
    fixture.release(1);
    assert_eq!(next.answer().await.grpc().code(), Code::Ok);
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn waiting_for_a_place_is_part_of_the_callers_time() {
    let mut fixture = crowded(1, 1, LONG).await;
    let connection = fixture.connect().await;
    let _holder = hold(&connection, "auditor").await;
    fixture.next_holder().await;
    let late = connection.call(done(query().header("grpc-timeout", "100m")), asking("")).await;
    assert_eq!(late.refusal(), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
}

#[tokio::test]
async fn health_reflection_and_probes_are_never_shed() {
    let mut fixture = crowded(1, 0, SHORT).await;
    let connection = fixture.connect().await;
    let _holder = hold(&connection, "auditor").await;
    fixture.next_holder().await;
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Unavailable);

    assert_eq!(connection.call(done(to(HEALTH)), frame(b"")).await.grpc().code(), Code::Ok);
    let reflection = to("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let list_services = frame(b"\x3a\x01*");
    assert_eq!(connection.call(done(reflection), list_services).await.grpc().code(), Code::Ok);
    for path in ["/healthz", "/readyz", "/metrics"] {
        let get = http::Request::get(format!("http://edge.test{path}"));
        assert_eq!(connection.call(done(get), "").await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn no_tenant_takes_every_stream_and_no_stream_a_place_of_a_call() {
    let change = |settings: &mut EdgeSettings| {
        settings.limits.streams_max = 4;
        settings.limits.calls_max = 1;
    };
    let fixture = start_with(change, None).await;
    let connection = fixture.connect().await;
    let open = |name: &'static str| {
        let connection = &connection;
        async move {
            let mut request = to(TAIL);
            let value = format!("Bearer token-of-{name}").parse().expect("a header");
            request.headers_mut().expect("a good request").insert("authorization", value);
            let mut open = connection.begin(done(request)).await;
            open.data(frame(b""), true);
            open
        }
    };
    let streams = [open("auditor").await.stream().await, open("auditor").await.stream().await];
    let refused = open("auditor").await.answer().await;
    assert_eq!(refused.refusal(), (Code::ResourceExhausted, "TENANT_OVER_SHARE".to_owned()));
    let newcomer = open("newcomer").await.stream().await;
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Ok);

    // Their places come back with their end.
    drop((streams, newcomer));
    Fixture::until(&fixture.probe.dropped).await;
    let again = open("auditor").await.stream().await;
    assert!(!again.is_end_stream(), "it was refused");
}
