//! TLS and mTLS, from both sides.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bulkhead_edge::peer::{Dialler, Peer, reason};
use bulkhead_edge::serve::TransportSettings;
use bulkhead_edge::tls::{ClientAuth, IdentityFiles, PeerTlsSettings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::certificates::{Ca, Leaf};
use super::fixture::{BOUND, Service, ask, credentials, eventually, secured};

const NAME: &str = "spiffe://bulkhead/default/service/approval";

fn peer(address: SocketAddr, tls: PeerTlsSettings) -> Peer {
    let endpoint = format!("https://localhost:{}", address.port());
    Dialler::new(&endpoint).tls(tls).dial(credentials()).expect("usable files")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_caller_who_knows_the_authority_is_served() {
    let folder = folder();
    let ca = Ca::new(folder.path(), "ca");
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), ClientAuth::None)).await;
    let answer = ask(&peer(service.address, ca.trusted())).await.expect("served");
    assert_eq!((answer.signed_note.as_str(), answer.verifier_key.as_str()), ("one", "none"));
    service.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_gets_no_call() {
    let folder = folder();
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let cases = [
        ("of another authority", other.sign("other", Leaf::default())),
        ("expired", ca.sign("expired", Leaf { expired: true, ..Leaf::default() })),
        ("of another name", ca.sign("name", Leaf { host: Some("elsewhere.test"), ..Leaf::default() })),
    ];
    for (what, identity) in cases {
        let service = Service::start("one", secured(identity, ClientAuth::None)).await;
        let refused = ask(&peer(service.address, ca.trusted())).await.expect_err(what);
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unavailable, "PEER_UNREACHABLE"),
            "{what}"
        );
        assert_eq!(service.answered(), 0, "{what}");
        service.stop().await;
    }
}

#[tokio::test]
async fn a_required_client_certificate_must_be_shown_and_good() {
    let folder = folder();
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let clients = ClientAuth::Required(ca.file());
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), clients)).await;
    let shown = |identity| PeerTlsSettings { identity, ..ca.trusted() };
    let cases = [
        ("none", None),
        ("of another authority", Some(other.sign("foreign", Leaf::default()))),
        ("expired", Some(ca.sign("expired", Leaf { expired: true, ..Leaf::default() }))),
    ];
    for (what, identity) in cases {
        let refused = ask(&peer(service.address, shown(identity))).await.expect_err(what);
        assert_eq!(refused.code(), Code::Unavailable, "{what}: {refused:?}");
    }
    assert_eq!(service.answered(), 0);

    let good = Some(ca.sign("client", Leaf { uri: Some(NAME), ..Leaf::default() }));
    let answer = ask(&peer(service.address, shown(good))).await.expect("served");
    assert_eq!(answer.verifier_key, NAME);
    service.stop().await;
}

#[tokio::test]
async fn an_optional_client_certificate_is_told_when_shown_and_refused_when_bad() {
    let folder = folder();
    let (ca, other) = (Ca::new(folder.path(), "ca"), Ca::new(folder.path(), "other"));
    let clients = ClientAuth::Optional(ca.file());
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), clients)).await;
    let shown = |identity| PeerTlsSettings { identity, ..ca.trusted() };
    let told = |answer: bulkhead_proto::audit::v1::GetCheckpointResponse| answer.verifier_key;

    assert_eq!(ask(&peer(service.address, shown(None))).await.map(told).expect("served"), "none");
    let good = ca.sign("client", Leaf { uri: Some(NAME), ..Leaf::default() });
    assert_eq!(ask(&peer(service.address, shown(Some(good)))).await.map(told).expect("served"), NAME);
    let foreign = other.sign("foreign", Leaf { uri: Some(NAME), ..Leaf::default() });
    ask(&peer(service.address, shown(Some(foreign)))).await.expect_err("refused");
    service.stop().await;
}

/// A TLS connection by hand, which shows `identity`.
pub(crate) async fn raw(
    address: SocketAddr,
    ca: &Path,
    protocol: &[u8],
    identity: Option<&IdentityFiles>,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).expect("a file") {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        Some(files) => {
            let chain = CertificateDer::pem_file_iter(&files.certificate).expect("a file");
            let chain = chain.map(|certificate| certificate.expect("PEM")).collect();
            let key = PrivateKeyDer::from_pem_file(&files.key).expect("a key");
            config.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.expect("connects");
    let name = ServerName::try_from("localhost").expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

#[tokio::test]
async fn probes_are_answered_over_https_and_http_1() {
    let folder = folder();
    let ca = Ca::new(folder.path(), "ca");
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), ClientAuth::None)).await;
    let mut stream = raw(service.address, &ca.file(), b"http/1.1", None).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("sent");
    let mut answer = String::new();
    tokio::time::timeout(BOUND, stream.read_to_string(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    let stream = raw(service.address, &ca.file(), b"h2", None).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    service.stop().await;
}

#[tokio::test]
async fn plaintext_on_a_tls_port_gets_an_alert_and_a_clean_end() {
    let folder = folder();
    let ca = Ca::new(folder.path(), "ca");
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), ClientAuth::None)).await;
    let mut stream = TcpStream::connect(service.address).await.expect("connects");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(BOUND, stream.read_to_end(&mut answer)).await.expect("in time");
    read.expect("an end, and no reset");
    // The content type of an alert (RFC 8446, 5.1).
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    let refused = ask(&super::fixture::peer_at(service.address)).await.expect_err("no TLS");
    assert_eq!(refused.code(), Code::Unavailable);
    service.stop().await;
}

/// Calls on an old connection and on new ones, until told to stop.
async fn keep_calling(
    address: SocketAddr,
    tls: PeerTlsSettings,
    made: &AtomicUsize,
    enough: &AtomicBool,
) -> Result<(), tonic::Status> {
    let old = peer(address, tls.clone());
    while !enough.load(Ordering::SeqCst) {
        ask(&old).await?;
        ask(&peer(address, tls.clone())).await?;
        made.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[tokio::test]
async fn files_change_on_both_sides_while_calls_go_on_and_none_fails() {
    let folder = folder();
    let (first, second) = (Ca::new(folder.path(), "first"), Ca::new(folder.path(), "second"));
    let identity = first.sign("server", Leaf::default());
    let service = Service::start("one", secured(identity.clone(), ClientAuth::None)).await;
    let trusted = PeerTlsSettings { ca: folder.path().join("trusted.pem"), identity: None };
    std::fs::write(&trusted.ca, first.pem()).expect("written");
    // Made before any change, and used for the first time after all of them.
    let unused = peer(service.address, trusted.clone());
    let (made, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    let rounds = |count| {
        let (start, made) = (made.load(Ordering::SeqCst), &made);
        eventually("calls", async move || (made.load(Ordering::SeqCst) >= start + count).then_some(()))
    };
    let changes = async {
        rounds(2).await;
        std::fs::write(&trusted.ca, format!("{}{}", first.pem(), second.pem())).expect("written");
        rounds(2).await;
        second.sign("server", Leaf::default());
        let only_second = second.file();
        eventually("the new certificate", async || {
            let by_second = PeerTlsSettings { ca: only_second.clone(), identity: None };
            ask(&peer(service.address, by_second)).await.ok()
        })
        .await;
        std::fs::write(&trusted.ca, second.pem()).expect("written");
        rounds(2).await;
        enough.store(true, Ordering::SeqCst);
    };
    let (calls, ()) = tokio::join!(keep_calling(service.address, trusted.clone(), &made, &enough), changes);
    calls.expect("no call failed");
    ask(&unused).await.expect("a dialler reads its files again");
    service.stop().await;
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_refused_and_the_old_one_stays() {
    let folder = folder();
    let ca = Ca::new(folder.path(), "ca");
    let identity = ca.sign("server", Leaf::default());
    let service = Service::start("one", secured(identity.clone(), ClientAuth::None)).await;
    let foreign = ca.sign("another", Leaf::default());
    let good = std::fs::read(&identity.key).expect("read");
    for bad in [std::fs::read(&foreign.key).expect("read"), b"no key at all".to_vec()] {
        std::fs::write(&identity.key, bad).expect("written");
        eventually("readiness says so", async || service.readiness.problems().get("tls").cloned()).await;
        ask(&peer(service.address, ca.trusted())).await.expect("served with the old one");
        std::fs::write(&identity.key, &good).expect("written");
        eventually("readiness is back", async || service.readiness.problems().is_empty().then_some(())).await;
    }
    ask(&peer(service.address, ca.trusted())).await.expect("served");
    service.stop().await;
}

#[tokio::test]
async fn a_changed_authority_of_clients_holds_for_new_connections() {
    let folder = folder();
    let (old, new) = (Ca::new(folder.path(), "old"), Ca::new(folder.path(), "new"));
    let clients = folder.path().join("clients.pem");
    std::fs::write(&clients, old.pem()).expect("written");
    let transport = secured(old.sign("server", Leaf::default()), ClientAuth::Required(clients.clone()));
    let service = Service::start("one", transport).await;
    let shown = |identity| PeerTlsSettings { identity: Some(identity), ..old.trusted() };
    let held = peer(service.address, shown(old.sign("before", Leaf::default())));
    ask(&held).await.expect("served");

    std::fs::write(&clients, new.pem()).expect("written");
    let after = shown(new.sign("after", Leaf::default()));
    eventually("the new authority", async || ask(&peer(service.address, after.clone())).await.ok()).await;
    let before = shown(old.sign("before", Leaf::default()));
    ask(&peer(service.address, before)).await.expect_err("the old authority is gone");
    ask(&held).await.expect("what is connected stays");
    service.stop().await;
}

#[tokio::test]
async fn a_service_does_not_start_with_files_that_cannot_be_used() {
    let folder = folder();
    let ca = Ca::new(folder.path(), "ca");
    let (one, two) = (ca.sign("one", Leaf::default()), ca.sign("two", Leaf::default()));
    let mixed = IdentityFiles { certificate: one.certificate, key: two.key };
    let TransportSettings { tls, .. } = secured(mixed, ClientAuth::None);
    let tls = tls.expect("TLS");
    let tried = bulkhead_edge::tls::check(&tls).expect_err("refused");
    assert!(tried.to_string().contains("two.key"), "{tried}");
}
