//! A deadline on its way through three services.

use std::time::Duration;

use tonic::Code;

use super::fixture::{Fixture, start_with};
use super::raw::{BOUND, done, frame, to};

const CHECKPOINT: &str = "/bulkhead.audit.v1.AuditService/GetCheckpoint";

/// The time that a hop was given.
async fn given(fixture: &mut Fixture) -> Duration {
    let sent = tokio::time::timeout(BOUND, fixture.timeouts.recv()).await.expect("in time").expect("told");
    let (digits, unit) = sent.split_at(sent.len() - 1);
    let value: u64 = digits.parse().expect("digits");
    match unit {
        "n" => Duration::from_nanos(value),
        "u" => Duration::from_micros(value),
        "m" => Duration::from_millis(value),
        "S" => Duration::from_secs(value),
        _ => panic!("{sent}"),
    }
}

#[tokio::test]
async fn each_hop_has_less_time_and_the_one_that_runs_out_is_heard() {
    let mut last = start_with(|_settings| {}, None).await;
    let mut middle = start_with(|_settings| {}, Some(last.address)).await;
    let mut first = start_with(|_settings| {}, Some(middle.address)).await;

    let connection = first.connect().await;
    let request = done(to(CHECKPOINT).header("grpc-timeout", "2000m"));
    let mut open = connection.begin(request).await;
    open.data(frame(b""), true);
    let answer = open.answer().await;

    let given = [given(&mut first).await, given(&mut middle).await, given(&mut last).await];
    assert_eq!(given[0], Duration::from_secs(2));
    // A tenth is kept back at each hop.
    assert!(given[1] <= given[0] - Duration::from_millis(200), "{given:?}");
    assert!(given[2] < given[1] - Duration::from_millis(100), "{given:?}");
    assert!(given[2] > Duration::from_millis(500), "no more than the margins is lost: {given:?}");

    let status = answer.grpc();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    // It was not the first hop's time that was over: it had some left to pass the word on.
    let told = super::raw::info(&status).metadata.get("timeout_ms").cloned();
    assert_ne!(told, Some(given[0].as_millis().to_string()));
}
