//! Asking the service that runs with a configuration whether it is ready, as a container engine does.
//!
//! An image that holds one program and no shell has nothing else to ask with. Calls the service's own port, through
//! the same `grpc.health.v1` that everybody uses, and needs no token.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use http::uri::InvalidUri;
use hyper::client::conn::http2::SendRequest;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use bulkhead_exit::Exit;

use super::stopped;
use crate::peer::{ConnectError, speak};
use crate::tls::{ClientAuth, TlsError, TlsSettings, itself};
use crate::{EdgeSettings, Mistakes};

/// How long the whole question may take. Below the five seconds that the images give it, so that it is this program
/// which says why.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Why a service is not known to be ready.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error("a port that is picked at every start cannot be asked; write one into edge.listen")]
    NoPort,
    #[error(
        "edge.tls.client_auth is \"required\" and a health check has no certificate to show; use \"optional\""
    )]
    ShowsNothing,
    #[error("its TLS files cannot be used")]
    Tls(#[source] TlsError),
    #[error("nobody accepts connections at {address}")]
    Absent {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no TLS with {address}, or it shows another certificate than its file holds")]
    Stranger {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("no HTTP/2 with {address}")]
    Http2 {
        address: SocketAddr,
        #[source]
        source: ConnectError,
    },
    #[error("its address makes no URL")]
    Url(#[source] InvalidUri),
    #[error("it does not answer for its health")]
    Asked(#[source] Status),
    #[error("it says {0}; GET /readyz tells why")]
    Not(&'static str),
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Late,
}

/// Asks, and says why not on standard error. Exits 0 only for SERVING.
pub(super) fn report(service: &'static str, edge: Result<EdgeSettings, Mistakes>) -> ExitCode {
    let edge = match edge {
        Ok(edge) => edge,
        Err(mistakes) => return stopped(service, &mistakes, Exit::Misconfigured),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return stopped(service, &error, Exit::Failed),
    };
    let asked = runtime
        .block_on(async { tokio::time::timeout(TIMEOUT, ask(&edge)).await.unwrap_or(Err(Unwell::Late)) });
    match asked {
        // Nobody has to read it; the exit code says the same.
        Ok(()) => {
            writeln!(io::stdout(), "{service}: serving").map_or(ExitCode::SUCCESS, |()| ExitCode::SUCCESS)
        }
        Err(unwell) => stopped(service, &unwell, Exit::Failed),
    }
}

async fn ask(edge: &EdgeSettings) -> Result<(), Unwell> {
    let address = reachable(edge.listen).ok_or(Unwell::NoPort)?;
    let sender = connect(address, edge.transport.tls.as_ref()).await?;
    let origin = format!("http://{address}").parse().map_err(Unwell::Url)?;
    let channel = tower::service_fn(move |request: http::Request<Body>| {
        let mut sender: SendRequest<Body> = sender.clone();
        async move { sender.send_request(request).await.map_err(Box::<dyn Error + Send + Sync>::from) }
    });
    let mut client = HealthClient::with_origin(channel, origin);
    let answer = client.check(Request::new(HealthCheckRequest::default())).await.map_err(Unwell::Asked)?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other => Err(Unwell::Not(other.as_str_name())),
    }
}

async fn connect(address: SocketAddr, tls: Option<&TlsSettings>) -> Result<SendRequest<Body>, Unwell> {
    let stream = TcpStream::connect(address).await.map_err(|source| Unwell::Absent { address, source })?;
    let http2 = |source| Unwell::Http2 { address, source };
    let Some(tls) = tls else { return speak(stream, address).await.map_err(http2) };
    if matches!(tls.clients, ClientAuth::Required(_)) {
        return Err(Unwell::ShowsNothing);
    }
    let connector = TlsConnector::from(Arc::new(itself(&tls.identity).map_err(Unwell::Tls)?));
    let stream = connector.connect(ServerName::from(address.ip()), stream).await;
    let stream = stream.map_err(|source| Unwell::Stranger { address, source })?;
    speak(stream, address).await.map_err(http2)
}

/// The address to call for one that a service listens on: all interfaces include loopback. None for port 0.
fn reachable(listen: SocketAddr) -> Option<SocketAddr> {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    (listen.port() != 0).then(|| SocketAddr::new(ip, listen.port()))
}
