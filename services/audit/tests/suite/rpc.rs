//! The service in process, through its public `serve`, over real gRPC.

use std::net::SocketAddr;
use std::time::Duration;

use bulkhead_audit::{Config, NAME, serve};
use bulkhead_edge::{Settings, wire};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::common::v1 as common;
use prost_types::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::support::{Installation, by, client, request, sent};

/// Of the trace in its middle.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Service {
    client: AuditServiceClient<Channel>,
    shutdown: CancellationToken,
    running: JoinSet<Result<(), String>>,
}

impl Service {
    async fn start(installation: &Installation) -> Self {
        let settings = Settings::load(&installation.config(), NAME).expect("settings");
        let config = settings.read(Config::read).expect("a config");
        let (announce, address) = oneshot::channel::<SocketAddr>();
        let shutdown = CancellationToken::new();
        let mut running = JoinSet::new();
        let (token, announce) =
            (shutdown.clone(), Box::new(|address| announce.send(address).expect("the test waits")));
        running.spawn(async move { serve(config, announce, token).await.map_err(|error| error.to_string()) });
        let address = address.await.expect("it starts");
        Self { client: client(address), shutdown, running }
    }

    async fn stop(mut self) {
        drop(self.client);
        self.shutdown.cancel();
        let stopped = tokio::time::timeout(Duration::from_secs(10), self.running.join_next()).await;
        stopped.expect("in time").expect("it ran").expect("no panic").expect("no error");
    }

    async fn append(&mut self, events: Vec<pb::Event>) -> Result<pb::AppendEventsResponse, Status> {
        let answer = self.client.append_events(by("tool-executor", request(events))).await?;
        Ok(answer.into_inner())
    }

    async fn query(&mut self, query: pb::QueryEventsRequest) -> pb::QueryEventsResponse {
        self.client.query_events(by("auditor", query)).await.expect("answers").into_inner()
    }

    /// Subjects of the events that match.
    async fn subjects(&mut self, query: pb::QueryEventsRequest) -> Vec<String> {
        let found = self.query(query).await.events;
        found.into_iter().map(|found| found.event.expect("an event").subject_id).collect()
    }
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().expect("an ErrorInfo").reason
}

fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request().expect("a BadRequest");
    details.field_violations.into_iter().map(|violation| violation.field).collect()
}

#[tokio::test]
async fn an_event_is_appended_found_signed_for_and_verified() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let answer = service.append(vec![sent(1), sent(2), sent(1)]).await.expect("appends");
    assert_eq!((answer.tree_size, answer.duplicate_count), (2, 1));

    let found = service.query(pb::QueryEventsRequest::default()).await;
    assert_eq!(found.next_page_token, "");
    let [first, second] = &found.events[..] else { panic!("{found:?}") };
    assert_eq!((first.sequence, second.sequence), (0, 1));
    assert_eq!(first.event, Some(sent(1)));
    let source = first.source.as_ref().expect("a source");
    assert_eq!((source.name.as_str(), source.kind()), ("tool-executor", common::PrincipalKind::Service));
    let name = std::fs::read_dir(installation.data().join("logs")).expect("lists").next().expect("a file");
    let text = std::fs::read_to_string(name.expect("a name").path()).expect("reads");
    assert_eq!(text, format!("{}\n{}\n", first.line, second.line));

    let asked = service.client.get_checkpoint(by("scribe", pb::GetCheckpointRequest {})).await;
    let checkpoint = asked.expect("answers").into_inner();
    assert_eq!(checkpoint.tree_size, 2);
    assert!(checkpoint.signed_note.starts_with("bulkhead.local/audit\n2\n"), "{}", checkpoint.signed_note);
    let report = installation.verify();
    assert!(report.verified && report.checkpoints[0].signature_verified, "{report}");
    assert_eq!(report.tree_size, 2);
    service.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_sent_again_after_a_restart_changes_nothing() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let once = service.append((1..=256).map(sent).collect()).await.expect("appends");
    service.stop().await;

    let mut service = Service::start(&installation).await;
    let again = service.append((1..=256).map(sent).collect()).await.expect("appends");
    assert_eq!((once.tree_size, once.duplicate_count), (256, 0));
    assert_eq!((again.tree_size, again.duplicate_count), (256, 256));
    service.stop().await;
    assert!(installation.verify().verified);
}

#[tokio::test]
async fn an_id_that_stands_for_another_event_is_refused_with_its_whole_batch() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    // Numbers that a line spells in another way than the sender did.
    let attributes_json = r#"{"b":1.0,"a":[1e2,-2.50]}"#.to_owned();
    let first = pb::Event { attributes_json, ..sent(1) };
    service.append(vec![first.clone()]).await.expect("appends");
    let repeated = service.append(vec![first.clone(), sent(2), sent(2)]).await.expect("equal repeats");
    assert_eq!((repeated.tree_size, repeated.duplicate_count), (2, 2));

    let other = pb::Event { subject_id: "other".into(), ..first };
    let twice = vec![sent(4), pb::Event { step: 9, ..sent(4) }];
    for (events, number) in [(vec![sent(3), other], 1), (twice, 4)] {
        let refused = service.append(events).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::AlreadyExists, "EVENT_ID_REUSED"));
        let metadata = refused.get_details_error_info().expect("an ErrorInfo").metadata;
        assert_eq!(metadata["event_id"], sent(number).event_id);
    }
    assert_eq!(service.subjects(pb::QueryEventsRequest::default()).await, ["e1", "e2"]);
    service.stop().await;
}

#[tokio::test]
async fn a_bad_event_is_refused_with_every_mistake_and_nothing_of_its_batch_is_kept() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let nobody = common::Principal::default();
    let cases: Vec<(pb::Event, &[&str])> = vec![
        (pb::Event { event_id: "7".into(), ..sent(2) }, &["events[1].event_id"]),
        (pb::Event { time: None, ..sent(2) }, &["events[1].time"]),
        (pb::Event { time: Some(Timestamp { seconds: 0, nanos: -1 }), ..sent(2) }, &["events[1].time"]),
        (pb::Event { kind: "Read".into(), ..sent(2) }, &["events[1].kind"]),
        (pb::Event { principal: None, ..sent(2) }, &["events[1].principal"]),
        (
            pb::Event { principal: Some(nobody), ..sent(2) },
            &["events[1].principal.kind", "events[1].principal.tenant", "events[1].principal.name"],
        ),
        (pb::Event { session_id: "a b".into(), ..sent(2) }, &["events[1].session_id"]),
        (pb::Event { run_id: "x".repeat(129), ..sent(2) }, &["events[1].run_id"]),
        (pb::Event { outcome: "Done".into(), ..sent(2) }, &["events[1].outcome"]),
        (pb::Event { trace_id: "ABC".into(), ..sent(2) }, &["events[1].trace_id"]),
        (pb::Event { traceparent: TRACEPARENT.into(), ..sent(2) }, &["events[1].trace_id"]),
        (pb::Event { traceparent: "00-1-2-03".into(), ..sent(2) }, &["events[1].traceparent"]),
        (pb::Event { subject_id: "x".repeat(129), ..sent(2) }, &["events[1].subject_id"]),
        (pb::Event { tool: "a\nb".into(), ..sent(2) }, &["events[1].tool"]),
        (pb::Event { attributes_json: "[]".into(), ..sent(2) }, &["events[1].attributes_json"]),
        (pb::Event { attributes_json: r#"{"a":1,"a":2}"#.into(), ..sent(2) }, &["events[1].attributes_json"]),
        (
            pb::Event { attributes_json: format!(r#"{{"a":"{}"}}"#, "x".repeat(65_535)), ..sent(2) },
            &["events[1]"],
        ),
        (
            pb::Event { kind: String::new(), time: None, trace_id: "-".into(), ..sent(2) },
            &["events[1].time", "events[1].kind", "events[1].trace_id"],
        ),
    ];
    for (event, expected) in cases {
        let refused = service.append(vec![sent(1), event, sent(3)]).await.expect_err("refused");
        assert_eq!((refused.code(), reason(&refused).as_str()), (Code::InvalidArgument, "INVALID_EVENT"));
        assert_eq!(fields(&refused), expected);
    }
    for count in [0, 257] {
        let refused = service.append((0..count).map(sent).collect()).await.expect_err("refused");
        assert_eq!(fields(&refused), ["events"]);
    }
    let message = pb::AppendEventsRequest { request_id: "1".into(), events: vec![sent(1)] };
    let refused = service.client.append_events(by("tool-executor", message)).await.expect_err("refused");
    assert_eq!(fields(&refused), ["request_id"]);

    assert!(service.query(pb::QueryEventsRequest::default()).await.events.is_empty());
    service.stop().await;
    assert_eq!(installation.verify().tree_size, 0);
}

#[tokio::test]
async fn only_services_append_and_nobody_reads_another_tenant() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    service.append(vec![sent(1)]).await.expect("appends");
    for holder in ["auditor", "scribe"] {
        let refused = service.client.append_events(by(holder, request(vec![sent(2)]))).await;
        assert_eq!(refused.expect_err("refused").code(), Code::PermissionDenied);
    }
    let query = pb::QueryEventsRequest::default();
    for (holder, code) in [("scribe", Code::PermissionDenied), ("nobody", Code::Unauthenticated)] {
        let refused = service.client.query_events(by(holder, query.clone())).await;
        assert_eq!(refused.expect_err("refused").code(), code);
    }
    let found = service.client.query_events(by("stranger", query)).await.expect("answers").into_inner();
    assert!(found.events.is_empty(), "{found:?}");
    service.stop().await;
}

#[tokio::test]
async fn every_filter_narrows_the_answer() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let at = |seconds: i64, nanos: i32| Some(Timestamp { seconds: 1_000 + seconds, nanos });
    let mut bob = sent(5).principal.expect("a principal");
    bob.name = "bob".into();
    let trace = &TRACEPARENT[3..35];
    let events = vec![
        pb::Event { time: at(0, 0), ..sent(1) },
        pb::Event { time: at(1, 5), kind: "tool.intent".into(), outcome: String::new(), ..sent(2) },
        pb::Event { time: at(2, 0), kind: "toolbox.opened".into(), tool: "fs.write".into(), ..sent(3) },
        pb::Event {
            time: at(3, 0),
            session_id: "s2".into(),
            trace_id: trace.into(),
            traceparent: TRACEPARENT.into(),
            ..sent(4)
        },
        pb::Event { time: at(4, 0), principal: Some(bob), outcome: "failed".into(), ..sent(5) },
    ];
    service.append(events.clone()).await.expect("appends");
    let of_trace = pb::QueryEventsRequest { trace_id: trace.into(), ..Default::default() };
    assert_eq!(service.query(of_trace).await.events[0].event.as_ref(), Some(&events[3]));
    let all = pb::QueryEventsRequest::default;
    let cases: [(pb::QueryEventsRequest, &[&str]); 12] = [
        (all(), &["e1", "e2", "e3", "e4", "e5"]),
        (pb::QueryEventsRequest { kind: "tool.".into(), ..all() }, &["e1", "e2", "e4", "e5"]),
        (pb::QueryEventsRequest { kind: "tool.intent".into(), ..all() }, &["e2"]),
        (pb::QueryEventsRequest { kind: "tool".into(), ..all() }, &[]),
        (pb::QueryEventsRequest { start_time: at(1, 5), end_time: at(3, 0), ..all() }, &["e2", "e3"]),
        (pb::QueryEventsRequest { start_time: at(1, 6), end_time: at(3, 1), ..all() }, &["e3", "e4"]),
        (pb::QueryEventsRequest { principal_name: "bob".into(), ..all() }, &["e5"]),
        (pb::QueryEventsRequest { session_id: "s2".into(), ..all() }, &["e4"]),
        (pb::QueryEventsRequest { tool: "fs.write".into(), ..all() }, &["e3"]),
        (pb::QueryEventsRequest { outcome: "failed".into(), ..all() }, &["e5"]),
        (pb::QueryEventsRequest { trace_id: trace.into(), ..all() }, &["e4"]),
        (pb::QueryEventsRequest { subject_id: "e2".into(), session_id: "s2".into(), ..all() }, &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(service.subjects(query.clone()).await, expected, "{query:?}");
    }
    let backwards = pb::QueryEventsRequest { start_time: at(2, 0), end_time: at(1, 0), ..all() };
    let refused = service.client.query_events(by("auditor", backwards)).await.expect_err("refused");
    assert_eq!(fields(&refused), ["end_time"]);
    service.stop().await;
}

#[tokio::test]
async fn pages_follow_one_another_and_belong_to_their_query() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    service.append((1..=5).map(sent).collect()).await.expect("appends");
    let mut query = pb::QueryEventsRequest { page_size: 2, ..pb::QueryEventsRequest::default() };
    let mut pages = Vec::new();
    loop {
        let answer = service.query(query.clone()).await;
        pages.push(answer.events.iter().map(|found| found.sequence).collect::<Vec<_>>());
        query.page_token = answer.next_page_token;
        if query.page_token.is_empty() {
            break;
        }
        let other = pb::QueryEventsRequest { tool: "fs.read".into(), ..query.clone() };
        let refused = service.client.query_events(by("auditor", other)).await.expect_err("refused");
        assert_eq!(fields(&refused), ["page_token"]);
    }
    assert_eq!(pages, [vec![0, 1], vec![2, 3], vec![4]]);
    service.stop().await;
}

#[tokio::test]
async fn the_newest_come_first_where_asked_for_and_appends_move_no_page() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    service.append((1..=5).map(sent).collect()).await.expect("appends");
    let newest_first = pb::QueryEventsRequest { page_size: 2, newest_first: true, ..Default::default() };
    let oldest_first = pb::QueryEventsRequest { newest_first: false, ..newest_first.clone() };
    let (mut backwards, mut forwards) = (Vec::new(), Vec::new());
    for (query, pages) in [(newest_first, &mut backwards), (oldest_first, &mut forwards)] {
        let mut query = query;
        for appended in (100..).step_by(10) {
            let answer = service.query(query.clone()).await;
            pages.push(answer.events.iter().map(|found| found.sequence).collect::<Vec<_>>());
            query.page_token = answer.next_page_token;
            if query.page_token.is_empty() {
                break;
            }
            let other = pb::QueryEventsRequest { newest_first: !query.newest_first, ..query.clone() };
            let refused = service.client.query_events(by("auditor", other)).await.expect_err("refused");
            assert_eq!(
                (refused.code(), fields(&refused)),
                (Code::InvalidArgument, vec!["page_token".into()])
            );
            let filtered = pb::QueryEventsRequest { tool: "fs.read".into(), ..query.clone() };
            let refused = service.client.query_events(by("auditor", filtered)).await.expect_err("refused");
            assert_eq!(fields(&refused), ["page_token"]);
            if pages.len() < 3 {
                let number = appended + if query.newest_first { 0 } else { 1_000 };
                service.append(vec![sent(number)]).await.expect("appends");
            }
        }
    }
    assert_eq!(backwards, [vec![4, 3], vec![2, 1], vec![0]]);
    assert_eq!(
        forwards,
        [vec![0, 1], vec![2, 3], vec![4, 5], vec![6, 7], vec![8]],
        "what came meanwhile too"
    );
    service.stop().await;
}

#[tokio::test]
async fn a_page_of_long_lines_still_fits_into_a_message() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let long = |number| pb::Event {
        attributes_json: format!(r#"{{"text":"{}"}}"#, "x".repeat(60_000)),
        ..sent(number)
    };
    for start in [1, 101] {
        service.append((start..start + 100).map(long).collect()).await.expect("appends");
    }
    let mut query = pb::QueryEventsRequest { page_size: 1_000, ..pb::QueryEventsRequest::default() };
    let mut count = 0;
    loop {
        let answer = service.query(query.clone()).await;
        assert!(!answer.events.is_empty());
        count += answer.events.len();
        query.page_token = answer.next_page_token;
        if query.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(count, 200);
    service.stop().await;
}

#[tokio::test]
async fn times_are_kept_to_the_nanosecond() {
    let installation = Installation::new();
    let mut service = Service::start(&installation).await;
    let time = "1969-12-31T23:59:59.000000001Z".parse().expect("a time");
    let event = pb::Event { time: Some(wire::timestamp(time)), ..sent(1) };
    service.append(vec![event.clone()]).await.expect("appends");
    let exact = pb::QueryEventsRequest { start_time: event.time, ..pb::QueryEventsRequest::default() };
    assert_eq!(service.query(exact).await.events[0].event, Some(event.clone()));
    let before = pb::QueryEventsRequest { end_time: event.time, ..pb::QueryEventsRequest::default() };
    assert!(service.query(before).await.events.is_empty());
    service.stop().await;
}
