//! Calls to peers that are down, move, multiply or break.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bulkhead_edge::peer::{
    Credentials, Dialler, Peer, PeerFailure, PeerSettings, Resolving, dial, did_nothing, reason, within,
};
use bulkhead_edge::serve::ConnectionLimits;
use bulkhead_proto::audit::v1::GetCheckpointRequest;
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bytes::Bytes;
use tokio::net::TcpListener;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::fixture::{Service, ask, credentials, eventually, peer_at, plain};

/// Addresses that a test may change.
type Addresses = Arc<Mutex<Vec<SocketAddr>>>;

/// A peer whose name has these addresses.
fn peer_of(addresses: &Addresses) -> Peer {
    let addresses = Arc::clone(addresses);
    let resolver = move |_host: String, _port: u16| -> Resolving {
        let found = addresses.lock().expect("not poisoned").clone();
        Box::pin(async move { Ok(found) })
    };
    Dialler::new("http://peer.test:7104").resolver(resolver).dial(credentials()).expect("an address")
}

fn known(addresses: &[SocketAddr]) -> Addresses {
    Arc::new(Mutex::new(addresses.to_vec()))
}

/// A port where nobody listens.
fn deserted() -> SocketAddr {
    let bound = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    bound.local_addr().expect("an address")
}

async fn service(name: &'static str) -> Service {
    Service::start(name, plain(ConnectionLimits::default())).await
}

fn assert_unreachable(status: &Status, peer: &str) {
    assert_eq!(
        (status.code(), reason(status).as_str()),
        (Code::Unavailable, "PEER_UNREACHABLE"),
        "{status:?}"
    );
    let info = status.get_details_error_info().expect("info");
    assert_eq!(info.metadata["peer"], peer);
    let wait = status.get_details_retry_info().and_then(|retry| retry.retry_delay).expect("a delay");
    assert!((Duration::from_millis(50)..=Duration::from_secs(2)).contains(&wait), "{wait:?}");
    assert!(did_nothing(status) && PeerFailure::of(status) == PeerFailure::Unavailable);
}

#[tokio::test]
async fn a_peer_that_is_down_is_told_long_before_the_deadline() {
    let address = deserted();
    let peer = peer_at(address);
    for _ in 0..3 {
        let began = Instant::now();
        let mut client = AuditServiceClient::new(peer.clone());
        let call = within(GetCheckpointRequest {}, Duration::from_secs(600));
        let down = client.get_checkpoint(call).await.expect_err("down");
        assert_unreachable(&down, &format!("http://{address}"));
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_name_without_addresses_is_a_peer_that_is_down() {
    assert_unreachable(&ask(&peer_of(&known(&[]))).await.expect_err("nowhere"), "http://peer.test:7104");
    let unknown = |_host: String, _port: u16| -> Resolving {
        Box::pin(async { Err(io::Error::other("no such name")) })
    };
    let peer = Dialler::new("http://peer.test:1").resolver(unknown).dial(credentials()).expect("an address");
    assert_unreachable(&ask(&peer).await.expect_err("unknown"), "http://peer.test:1");
}

#[tokio::test]
async fn calls_go_to_the_addresses_that_answer() {
    let live = service("live").await;
    let peer = peer_of(&known(&[deserted(), live.address, deserted()]));
    for _ in 0..50 {
        assert_eq!(ask(&peer).await.expect("one is up").signed_note, "live");
    }
    live.stop().await;
}

#[tokio::test]
async fn calls_are_shared_by_all_addresses_and_go_on_when_one_is_gone() {
    let (one, two) = (service("one").await, service("two").await);
    let peer = peer_of(&known(&[one.address, two.address]));
    eventually("both are asked", async || {
        ask(&peer).await.expect("up");
        (one.answered() > 2 && two.answered() > 2).then_some(())
    })
    .await;
    one.stop().await;
    let before = two.answered();
    for _ in 0..20 {
        assert_eq!(ask(&peer).await.expect("one is up").signed_note, "two");
    }
    assert_eq!(two.answered(), before + 20);
    two.stop().await;
}

#[tokio::test]
async fn a_peer_that_moves_is_found_and_one_that_comes_back_too() {
    let old = service("old").await;
    let addresses = known(&[old.address]);
    let peer = peer_of(&addresses);
    ask(&peer).await.expect("up");
    let new = service("new").await;
    *addresses.lock().expect("not poisoned") = vec![new.address];
    // The old one still answers: only asking again for the addresses finds the new one.
    eventually("the new address", async || {
        (ask(&peer).await.expect("up").signed_note == "new").then_some(())
    })
    .await;
    old.stop().await;

    let address = new.address;
    new.stop().await;
    ask(&peer).await.expect_err("down");
    let back = Service::start_at(address, "back", plain(ConnectionLimits::default())).await;
    assert_eq!(ask(&peer).await.expect("the first call after it is back").signed_note, "back");
    back.stop().await;
}

/// What a peer does with the first call that it gets.
#[derive(Clone, Copy)]
enum Breaks {
    TheConnection,
    TheCall(h2::Reason),
    AfterTheHead,
}

/// A peer that speaks HTTP/2 and breaks.
async fn breaking(how: Breaks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("accepts");
            let mut connection = h2::server::handshake(stream).await.expect("a handshake");
            let Some(Ok((_request, mut respond))) = connection.accept().await else { continue };
            match how {
                Breaks::TheConnection => {}
                Breaks::TheCall(reason) => {
                    respond.send_reset(reason);
                    let _goes_on = connection.accept().await;
                }
                Breaks::AfterTheHead => {
                    let head = http::Response::builder().header("content-type", "application/grpc");
                    let mut body =
                        respond.send_response(head.body(()).expect("a head"), false).expect("sent");
                    body.send_data(Bytes::from_static(b"\0\0\0\0\x09"), false).expect("sent");
                    let polled = std::future::poll_fn(|context| connection.poll_closed(context));
                    let _sent = tokio::time::timeout(Duration::from_millis(200), polled).await;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_breaks_under_a_call_leaves_open_whether_it_was_acted_on() {
    for how in [Breaks::TheConnection, Breaks::AfterTheHead, Breaks::TheCall(h2::Reason::INTERNAL_ERROR)] {
        let broken = ask(&peer_at(breaking(how).await)).await.expect_err("broken");
        let told = (broken.code(), reason(&broken));
        assert_eq!(told, (Code::Unavailable, "PEER_CONNECTION_LOST".to_owned()), "{broken:?}");
        assert!(!did_nothing(&broken) && PeerFailure::of(&broken) == PeerFailure::Unavailable);
        assert!(broken.message().contains("may have been acted on"), "{}", broken.message());
    }
}

#[tokio::test]
async fn a_call_that_the_peer_did_not_begin_was_not_acted_on() {
    let address = breaking(Breaks::TheCall(h2::Reason::REFUSED_STREAM)).await;
    let refused = ask(&peer_at(address)).await.expect_err("refused");
    assert_unreachable(&refused, &format!("http://{address}"));
}

#[tokio::test]
async fn a_rotated_token_is_carried_without_dialling_again() {
    let service = service("one").await;
    let folder = tempfile::tempdir().expect("a folder");
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "token-of-first\n").expect("written");
    let endpoint = format!("http://{}", service.address);
    let peer = dial(&PeerSettings { endpoint, token_file: token_file.clone(), tls: None }).expect("dials");
    assert_eq!(ask(&peer).await.expect("the first token").tree_size, 0);
    std::fs::write(&token_file, "token-of-second\n").expect("written");
    eventually("the second token", async || (ask(&peer).await.expect("valid").tree_size == 1).then_some(()))
        .await;
    service.stop().await;
}

#[tokio::test]
async fn what_does_not_name_a_peer_is_refused_at_once() {
    let token = || Credentials::new("t").expect("a token");
    for endpoint in ["nowhere", "https://localhost:1", "unix:/run/x"] {
        Dialler::new(endpoint).dial(token()).expect_err(endpoint);
    }
}
