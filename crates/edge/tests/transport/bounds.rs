//! What rude clients get.

use std::net::SocketAddr;
use std::time::Duration;

use bulkhead_edge::Limits;
use bulkhead_edge::peer::{reason, within};
use bulkhead_edge::serve::ConnectionLimits;
use bulkhead_proto::audit::v1::TailEventsRequest;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::fixture::{BOUND, BUSY, Service, ask, eventually, peer_at, plain, query};

/// A request that leaves the connection open.
const PROBE: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("connects")
}

/// Asks for a probe; tells whether it was answered.
async fn probe(stream: &mut TcpStream) -> bool {
    let mut answer = Vec::new();
    let exchange = async {
        stream.write_all(PROBE).await?;
        while !answer.ends_with(b"ok\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        std::io::Result::Ok(())
    };
    let answered = tokio::time::timeout(BOUND, exchange).await.expect("in time");
    answered.is_ok() && answer.starts_with(b"HTTP/1.1 200")
}

/// Resolves when the service has closed the connection.
async fn closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let ending = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            rest.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(BOUND, ending).await.expect("closed in time");
}

#[tokio::test]
async fn one_address_gets_no_more_connections_than_it_may() {
    let limits = ConnectionLimits { per_address_max: 2, ..ConnectionLimits::default() };
    let service = Service::start("one", plain(limits)).await;
    let (mut first, mut second) = (connect(service.address).await, connect(service.address).await);
    assert!(probe(&mut first).await && probe(&mut second).await);
    let mut third = connect(service.address).await;
    assert!(!probe(&mut third).await, "a third was served");
    drop(first);
    super::fixture::eventually("a place", async || {
        probe(&mut connect(service.address).await).await.then_some(())
    })
    .await;
    service.stop().await;
}

#[tokio::test]
async fn beyond_all_places_a_connection_waits_for_one() {
    let limits = ConnectionLimits { max: 1, ..ConnectionLimits::default() };
    let service = Service::start("one", plain(limits)).await;
    let mut first = connect(service.address).await;
    assert!(probe(&mut first).await);
    let mut second = connect(service.address).await;
    second.write_all(PROBE).await.expect("sent");
    assert!(probe(&mut first).await, "the first is still served, and the second is not");
    let mut head = [0; 12];
    assert!(second.try_read(&mut head).is_err(), "the second was served without a place");
    drop(first);
    tokio::time::timeout(BOUND, second.read_exact(&mut head)).await.expect("in time").expect("served");
    service.stop().await;
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_one_with_an_open_call_is_not() {
    let limits = ConnectionLimits { idle_timeout: Duration::from_millis(100), ..ConnectionLimits::default() };
    let service = Service::start("one", plain(limits)).await;
    let peer = peer_at(service.address);
    let mut client = AuditServiceClient::new(peer.clone());
    let mut tail = client.tail_events(TailEventsRequest::default()).await.expect("opens").into_inner();
    let mut idle = connect(service.address).await;
    assert!(probe(&mut idle).await);
    closed(&mut idle).await;
    let still = tokio::time::timeout(Duration::from_millis(200), tail.message()).await;
    assert!(still.is_err(), "the open stream ended: {still:?}");
    ask(&peer).await.expect("the connection of the stream is there");
    service.stop().await;
}

#[tokio::test]
async fn heads_that_never_end_and_preludes_without_calls_are_cut() {
    let service = Service::start("one", plain(ConnectionLimits::default())).await;
    let mut slow = connect(service.address).await;
    slow.write_all(b"GET /healthz HTTP/1.1\r\nx-slow: ").await.expect("sent");
    let mut silent = connect(service.address).await;
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    tokio::join!(closed(&mut slow), closed(&mut silent));
    service.stop().await;
}

/// An HTTP/2 connection by hand, whose owner decides what is read.
async fn h2(address: SocketAddr, window: u32) -> h2::client::SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(window);
    let (sender, connection) = builder.handshake(connect(address).await).await.expect("a handshake");
    #[expect(clippy::disallowed_methods, reason = "ends with the connection")]
    tokio::spawn(async move {
        let _ended: Result<(), h2::Error> = connection.await;
    });
    sender
}

fn call(address: SocketAddr, timeout: &str, padding: usize) -> http::Request<()> {
    call_of("QueryEvents", address, timeout, padding)
}

fn call_of(rpc: &str, address: SocketAddr, timeout: &str, padding: usize) -> http::Request<()> {
    http::Request::post(format!("http://{address}/bulkhead.audit.v1.AuditService/{rpc}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .header("authorization", "Bearer token-of-first")
        .header("x-padding", "x".repeat(padding))
        .body(())
        .expect("a request")
}

fn frame(kind: &str) -> Bytes {
    framed(&query(kind))
}

fn framed(message: &impl prost::Message) -> Bytes {
    let message = message.encode_to_vec();
    let length = u32::try_from(message.len()).expect("short");
    [&[0], length.to_be_bytes().as_slice(), &message].concat().into()
}

#[tokio::test]
async fn an_answer_that_is_never_read_is_given_up_after_its_deadline() {
    let service = Service::start("one", plain(ConnectionLimits::default())).await;
    let mut sender = h2(service.address, 1_000).await.ready().await.expect("ready");
    let (answer, mut body) = sender.send_request(call(service.address, "500m", 1), false).expect("sent");
    body.send_data(frame("large"), true).expect("sent");
    let mut answer = answer.await.expect("a head").into_body();
    // Of a megabyte only the first bytes are let in: no room is ever granted.
    let reading = async {
        loop {
            match answer.data().await {
                Some(Ok(_)) => {}
                ended => return ended,
            }
        }
    };
    let ended = tokio::time::timeout(BOUND, reading).await.expect("given up in time");
    let reset = ended.expect("not the end of the answer").expect_err("a reset");
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL), "{reset:?}");

    let mut sender = sender.ready().await.expect("the connection goes on");
    let probe =
        http::Request::get(format!("http://{}/healthz", service.address)).body(()).expect("a request");
    let (answer, _) = sender.send_request(probe, true).expect("sent");
    assert_eq!(answer.await.expect("an answer").status(), 200);
    service.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_never_read_gives_its_place_back() {
    // A tenant may hold as many streams as are free: of two it gets one.
    let limits = Limits { streams_max: 2, ..Limits::default() };
    let any = "127.0.0.1:0".parse().expect("an address");
    let service = Service::start_within(any, "one", plain(ConnectionLimits::default()), limits).await;
    let mut sender = h2(service.address, 100).await.ready().await.expect("ready");
    let unread = call_of("TailEvents", service.address, "500m", 1);
    let (answer, mut body) = sender.send_request(unread, false).expect("sent");
    body.send_data(framed(&TailEventsRequest { start_sequence: BUSY, ..Default::default() }), true)
        .expect("sent");
    let unread = answer.await.expect("a head");

    let mut client = AuditServiceClient::new(peer_at(service.address));
    let mut refusals = 0;
    let stream = eventually("a place", async || {
        let tail = client.tail_events(within(TailEventsRequest::default(), BOUND)).await;
        match tail {
            Ok(stream) => Some(stream),
            Err(refused) => {
                assert_eq!(reason(&refused), "TENANT_OVER_SHARE");
                refusals += 1;
                None
            }
        }
    });
    stream.await;
    assert!(refusals > 0, "the place was never held");
    drop(unread);
    service.stop().await;
}

#[tokio::test]
async fn calls_open_on_a_connection_and_their_headers_are_bounded() {
    let service = Service::start("one", plain(ConnectionLimits::default())).await;
    let sender = h2(service.address, 65_535).await;
    let mut sender = sender.ready().await.expect("ready");
    let (answer, _) = sender.send_request(call(service.address, "5S", 100 << 10), true).expect("sent");
    let refused = answer.await.map(|answer| answer.status().as_u16());
    assert!(matches!(refused, Ok(431) | Err(_)), "{refused:?}");

    let mut sender = h2(service.address, 65_535).await.ready().await.expect("ready");
    let (answer, _) = sender.send_request(call(service.address, "5S", 1), true).expect("sent");
    answer.await.expect("an answer");
    assert_eq!(sender.current_max_send_streams(), 256);
    service.stop().await;
}

#[tokio::test]
async fn a_call_beyond_its_deadline_ends_for_its_caller_too() {
    let service = Service::start("one", plain(ConnectionLimits::default())).await;
    let mut client = AuditServiceClient::new(peer_at(service.address));
    let late = client.query_events(within(query("hang"), Duration::from_millis(200))).await;
    assert_eq!(late.expect_err("late").code(), tonic::Code::DeadlineExceeded);
    service.stop().await;
}
