//! How streams end.

use std::time::Duration;

use bulkhead_proto::audit::v1::TailEventsRequest;
use prost::Message as _;
use tonic::{Code, Status};

use super::fixture::{BUSY, Fixture, start_with};
use super::raw::{BOUND, done, frame, refusal, to};

const TAIL: &str = "/bulkhead.audit.v1.AuditService/TailEvents";

/// What a stream from `start_sequence` ends with.
async fn ended(fixture: &Fixture, start_sequence: u64, timeout: Option<&str>) -> Status {
    let connection = fixture.connect().await;
    let request = timeout.iter().fold(to(TAIL), |request, timeout| request.header("grpc-timeout", *timeout));
    let mut open = connection.begin(done(request)).await;
    let message = TailEventsRequest { start_sequence, ..TailEventsRequest::default() };
    open.data(frame(&message.encode_to_vec()), true);
    let mut stream = open.stream().await;
    let last = async {
        while let Some(chunk) = stream.data().await {
            let chunk = chunk.expect("no silent end");
            stream.flow_control().release_capacity(chunk.len()).expect("was received");
        }
        stream.trailers().await.expect("a whole answer").expect("trailers")
    };
    let trailers = tokio::time::timeout(BOUND, last).await.expect("in time");
    Status::from_header_map(&trailers).expect("grpc-status")
}

#[tokio::test]
async fn a_stream_ends_when_it_is_old_silent_or_busy() {
    let short = Duration::from_millis(300);
    let fixture = start_with(|settings| settings.stream_timeout = short, None).await;
    for start in [0, BUSY] {
        let status = ended(&fixture, start, None).await;
        assert_eq!(refusal(&status), (Code::DeadlineExceeded, "STREAM_AGE_LIMIT".to_owned()), "{start}");
    }
}

#[tokio::test]
async fn a_stream_that_is_silent_for_long_ends_with_advice() {
    let short = Duration::from_millis(300);
    let fixture = start_with(|settings| settings.limits.stream_idle_timeout = short, None).await;
    let status = ended(&fixture, 0, None).await;
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "STREAM_IDLE_LIMIT".to_owned()));
    assert!(status.message().contains("call again"), "{status:?}");
    Fixture::until(&fixture.probe.dropped).await;
}

#[tokio::test]
async fn a_stream_that_is_not_silent_outlives_the_idle_limit() {
    let (short, long) = (Duration::from_millis(100), Duration::from_millis(800));
    let change = |settings: &mut bulkhead_edge::EdgeSettings| {
        settings.limits.stream_idle_timeout = short;
        settings.stream_timeout = long;
    };
    let fixture = start_with(change, None).await;
    let status = ended(&fixture, BUSY, None).await;
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "STREAM_AGE_LIMIT".to_owned()));
}

#[tokio::test]
async fn a_stream_ends_at_the_time_its_caller_gave() {
    let fixture = start_with(|_settings| {}, None).await;
    let status = ended(&fixture, 0, Some("200m")).await;
    assert_eq!(refusal(&status), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
}
