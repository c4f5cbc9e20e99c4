//! Callers who say who they are with nothing but a certificate.

use std::net::SocketAddr;
use std::path::PathBuf;

use bulkhead_edge::peer::{reason, within};
use bulkhead_edge::tls::{ClientAuth, IdentityFiles};
use bulkhead_proto::audit::v1::audit_service_client::AuditServiceClient;
use bulkhead_proto::audit::v1::{GetCheckpointRequest, GetCheckpointResponse};
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::certificates::{Ca, Leaf};
use super::fixture::{BOUND, NAME, Service, secured};
use super::tls::raw;

/// A channel that adds no token to a call. TLS is the connector's, hence the `http`.
fn channel(address: SocketAddr, ca: PathBuf, identity: Option<IdentityFiles>) -> Channel {
    let connector = tower::service_fn(move |_| {
        let (ca, identity) = (ca.clone(), identity.clone());
        async move { std::io::Result::Ok(TokioIo::new(raw(address, &ca, b"h2", identity.as_ref()).await)) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector)
}

/// One call, with a token or without.
async fn ask(channel: &Channel, token: Option<&str>) -> Result<GetCheckpointResponse, Status> {
    let mut request = within(GetCheckpointRequest {}, BOUND);
    if let Some(token) = token {
        let header = format!("Bearer {token}").parse().expect("a header");
        request.metadata_mut().insert("authorization", header);
    }
    AuditServiceClient::new(channel.clone()).get_checkpoint(request).await.map(Response::into_inner)
}

fn assert_refused(answer: Result<GetCheckpointResponse, Status>, what: &str) {
    let refused = answer.expect_err(what);
    let told = (refused.code(), reason(&refused));
    assert_eq!(told, (Code::Unauthenticated, "CREDENTIAL_REQUIRED".to_owned()), "{what}: {refused:?}");
}

#[tokio::test]
async fn a_certificate_alone_says_who_calls_and_one_that_nobody_entered_says_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Ca::new(folder.path(), "ca");
    let clients = ClientAuth::Optional(ca.file());
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), clients)).await;
    let showing = |name, uri| {
        let identity = ca.sign(name, Leaf { uri, ..Leaf::default() });
        channel(service.address, ca.file(), Some(identity))
    };
    let cases = [
        ("another URI", showing("other", Some("spiffe://bulkhead/default/person/other"))),
        ("a longer URI", showing("longer", Some("spiffe://bulkhead/default/person/second/more"))),
        ("no URI", showing("nameless", None)),
        ("no certificate", channel(service.address, ca.file(), None)),
    ];
    for (what, channel) in cases {
        assert_refused(ask(&channel, None).await, what);
    }
    assert_eq!(service.answered(), 0, "a refused call reached the service");

    let entered = showing("entered", Some(NAME));
    let answer = ask(&entered, None).await.expect("known by its certificate");
    assert_eq!((answer.tree_size, answer.verifier_key.as_str()), (1, NAME));
    service.stop().await;
}

#[tokio::test]
async fn a_token_decides_over_the_certificate_that_it_comes_with() {
    let folder = tempfile::tempdir().expect("a folder");
    let ca = Ca::new(folder.path(), "ca");
    let clients = ClientAuth::Required(ca.file());
    let service = Service::start("one", secured(ca.sign("server", Leaf::default()), clients)).await;
    let identity = ca.sign("entered", Leaf { uri: Some(NAME), ..Leaf::default() });
    let entered = channel(service.address, ca.file(), Some(identity));
    let answer = ask(&entered, Some("token-of-first")).await.expect("known by the token");
    assert_eq!((answer.tree_size, answer.verifier_key.as_str()), (0, NAME));
    assert_refused(ask(&entered, Some("token-of-nobody")).await, "no fall back to the certificate");
    service.stop().await;
}
