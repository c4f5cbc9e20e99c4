//! Whatever is no HTTP/2 server, or refuses us after the handshake looked done, gets no call and is told as such.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bulkhead_edge::fault::chain;
use bulkhead_edge::peer::{Dialler, Peer, did_nothing, reason};
use bulkhead_edge::serve::ConnectionLimits;
use bulkhead_edge::tls::{ClientAuth, PeerTlsSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::{Code, Status};

use super::certificates::{Ca, Leaf};
use super::fixture::{BOUND, Service, ask, credentials, peer_at, plain, secured};

/// What an HTTP/2 client sends first (RFC 9113, 3.4), and types of frames.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
/// A TLS record that says: I do not know this authority.
const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x30";
/// The head of a frame that acknowledges settings, which cannot come first.
const ACKNOWLEDGEMENT: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

fn over_tls(address: SocketAddr, tls: PeerTlsSettings) -> Peer {
    let endpoint = format!("https://localhost:{}", address.port());
    Dialler::new(&endpoint).tls(tls).dial(credentials()).expect("usable files")
}

/// What a call to it ends with: certainly not sent, and for a reason that a person can use.
async fn assert_not_sent(peer: &Peer, because: &str, what: &str) {
    let failed = ask(peer).await.expect_err(what);
    let told = (failed.code(), reason(&failed));
    assert_eq!(told, (Code::Unavailable, "PEER_UNREACHABLE".to_owned()), "{what}: {failed:?}");
    assert!(did_nothing(&failed), "{what}");
    let cause = cause(&failed);
    assert!(cause.contains(because), "{what}: {cause}");
}

fn cause(status: &Status) -> String {
    status.source().map_or_else(String::new, |cause| chain(cause, ": "))
}

#[tokio::test]
async fn a_plaintext_call_to_a_tls_port_is_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Ca::new(folder.path(), "ca");
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), ClientAuth::None)).await;
    assert_not_sent(&peer_at(service.address), "it speaks TLS", "plaintext").await;
    assert_eq!(service.answered(), 0);
    service.stop().await;
}

#[tokio::test]
async fn a_tls_call_to_a_plaintext_port_is_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Ca::new(folder.path(), "ca");
    let service = Service::start("one", plain(ConnectionLimits::default())).await;
    assert_not_sent(&over_tls(service.address, ca.trusted()), "no TLS with", "TLS").await;
    assert_eq!(service.answered(), 0);
    service.stop().await;
}

#[tokio::test]
async fn a_call_with_a_certificate_that_is_refused_is_not_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let foreign = other.sign("foreign", Leaf::default());
    for (clients, identity, because) in [
        (ClientAuth::Required(ca.file()), Some(foreign.clone()), "UnknownCA"),
        (ClientAuth::Optional(ca.file()), Some(foreign), "UnknownCA"),
        (ClientAuth::Required(ca.file()), None, "CertificateRequired"),
    ] {
        let service = Service::start("one", secured(ca.sign("server", Leaf::default()), clients)).await;
        let peer = over_tls(service.address, PeerTlsSettings { identity, ..ca.trusted() });
        assert_not_sent(&peer, because, because).await;
        assert_eq!(service.answered(), 0);
        service.stop().await;
    }
}

/// The types of the frames that a client sent after its preface.
fn frames(sent: &[u8]) -> Vec<u8> {
    let mut rest = sent.strip_prefix(PREFACE).expect("a client begins with its preface");
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
        kinds.push(*kind);
        let bytes = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("24 bits");
        rest = after.get(bytes..).unwrap_or_default();
    }
    kinds
}

/// Accepts a connection, says this, and then ends it or stays. Gives what the caller sent, once that is
/// gone.
async fn saying(words: &'static [u8], stays: bool) -> (SocketAddr, oneshot::Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sent, received) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "ends with the test")]
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        stream.write_all(words).await.expect("said");
        if !stays {
            stream.shutdown().await.expect("ended");
        }
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.expect("the caller ends it properly");
        sent.send(heard).expect("the test waits");
    });
    (address, received)
}

#[tokio::test]
async fn what_speaks_no_http_2_is_told_at_once_and_gets_no_call() {
    let cases: [(&str, &'static [u8], bool, &str); 7] = [
        ("an HTTP/1 server", b"HTTP/1.1 400 Bad Request\r\n\r\n", false, "it speaks HTTP/1"),
        ("one that waits for more", b"HTTP/1.1 408 Request Timeout\r\n\r\n", true, "it speaks HTTP/1"),
        ("a mail server", b"220 mail.test ESMTP\r\n", true, "it speaks something else"),
        ("an alert, and it stays", ALERT, true, "it speaks TLS"),
        ("settings of ours, acknowledged", ACKNOWLEDGEMENT, true, "it speaks something else"),
        ("nothing", b"", false, "ended before anything was said"),
        ("half a head", b"\0\0\x12\x04", false, "ended before anything was said"),
    ];
    for (what, words, stays, because) in cases {
        let (address, received) = saying(words, stays).await;
        let began = Instant::now();
        assert_not_sent(&peer_at(address), because, what).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{what}: {:?}", began.elapsed());
        let sent = tokio::time::timeout(BOUND, received).await.expect("the connection ends").expect(what);
        assert!(!frames(&sent).contains(&HEADERS), "{what}: {sent:?}");
    }
}

#[tokio::test]
async fn what_stays_silent_is_waited_for_within_a_bound_and_left() {
    let (address, received) = saying(b"", true).await;
    let began = Instant::now();
    assert_not_sent(&peer_at(address), "took longer than 2 s", "silence").await;
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let sent = tokio::time::timeout(BOUND, received).await.expect("the connection ends").expect("sent");
    let frames = frames(&sent);
    assert!(frames.contains(&SETTINGS) && !frames.contains(&HEADERS), "{frames:?}");
}

#[tokio::test]
async fn what_begins_late_and_in_pieces_is_called() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let peer = peer_at(listener.local_addr().expect("an address"));
    let serving = async {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut sent = vec![0; PREFACE.len()];
        // As a server does that speaks several protocols on one port.
        stream.read_exact(&mut sent).await.expect("the client begins");
        for piece in b"\0\0\0\x04\0\0\0\0\0".chunks(2) {
            stream.write_all(piece).await.expect("said");
            tokio::task::yield_now().await;
        }
        while !frames(&sent).contains(&HEADERS) {
            assert_ne!(stream.read_buf(&mut sent).await.expect("a call"), 0, "it ended without a call");
        }
    };
    let (answered, ()) = tokio::join!(ask(&peer), serving);
    assert_eq!(reason(&answered.expect_err("it broke under the call")), "PEER_CONNECTION_LOST");
}
