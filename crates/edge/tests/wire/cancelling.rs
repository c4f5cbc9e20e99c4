//! A caller that goes away ends what has had no effect yet, and never what has.

use h2::Reason;
use tonic::Code;

use super::fixture::{Fixture, start};
use super::raw::{asking, done, query};

#[tokio::test]
async fn a_caller_who_resets_its_call_ends_the_handler() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let mut open = connection.begin(done(query())).await;
    open.data(asking("hang"), true);
    Fixture::until(&fixture.probe.entered).await;
    open.send.send_reset(Reason::CANCEL);
    Fixture::until(&fixture.probe.dropped).await;
    assert_eq!(connection.call(done(query()), asking("")).await.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn a_caller_who_closes_the_connection_ends_the_handler() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let mut open = connection.begin(done(query())).await;
    open.data(asking("hang"), true);
    Fixture::until(&fixture.probe.entered).await;
    connection.cut().await;
    Fixture::until(&fixture.probe.dropped).await;
}

#[tokio::test]
async fn what_is_past_its_point_of_no_return_is_completed() {
    let fixture = start().await;
    let connection = fixture.connect().await;
    let mut open = connection.begin(done(query())).await;
    open.data(asking("commit"), true);
    Fixture::until(&fixture.probe.entered).await;
    open.send.send_reset(Reason::CANCEL);
    Fixture::until(&fixture.probe.dropped).await;
    assert!(!fixture.probe.done.is_cancelled(), "it waits to be let go");
    fixture.release(1);
    Fixture::until(&fixture.probe.done).await;
}
