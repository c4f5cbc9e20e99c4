//! The two servers.

use std::net::SocketAddr;
use std::process::ExitCode;

use bulkhead_edge::tokens::{TokenEntry, TokenFile, token_hash};
use bulkhead_edge::{Edge, EdgeSettings, PrincipalKind, Readiness, Tasks, process};
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{QueryEventsRequest, QueryEventsResponse};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::child::Kind;

/// The credential of the load. It opens nothing but this bench.
pub(crate) const TOKEN: &str = "token-of-the-bench";

/// Does nothing.
struct Noop;

#[tonic::async_trait]
impl AuditService for Noop {
    async fn query_events(
        &self,
        _request: Request<QueryEventsRequest>,
    ) -> Result<Response<QueryEventsResponse>, Status> {
        Ok(Response::new(QueryEventsResponse::default()))
    }
}

/// Serves until the process is killed.
pub(crate) fn serve(kind: Kind) -> ExitCode {
    process::host("bench", move |announce, shutdown| async move {
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        match kind {
            Kind::Bare => {
                let listener = TcpListener::bind(any).await?;
                announce(listener.local_addr()?);
                // Without it the baseline waits for delayed acknowledgements, 44 ms at a time.
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let mut server = tonic::transport::Server::builder();
                server.add_service(AuditServiceServer::new(Noop)).serve_with_incoming(incoming).await?;
            }
            Kind::Edge => {
                let folder = tempfile::tempdir()?;
                let tokens = folder.path().join("tokens.toml");
                std::fs::write(&tokens, toml::to_string(&callers())?)?;
                let edge = Edge::bind(EdgeSettings::loopback(tokens)).await?;
                announce(edge.address());
                let routes = Routes::new(AuditServiceServer::new(Noop));
                let names = &["bulkhead.audit.v1.AuditService"];
                let stop = async move { shutdown.cancelled().await };
                edge.serve(routes, names, Readiness::new(), Tasks::new(), stop).await?;
            }
        }
        Ok(())
    })
}

fn callers() -> TokenFile {
    let entry = TokenEntry {
        hash: Some(token_hash(TOKEN)),
        certificate: None,
        tenant: "default".into(),
        kind: PrincipalKind::Person,
        name: "bench".into(),
        owner: None,
        roles: vec!["auditor".into()],
    };
    TokenFile { tokens: vec![entry] }
}
