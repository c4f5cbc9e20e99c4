//! The two servers.

use std::net::SocketAddr;
use std::process::ExitCode;

use bulkhead_edge::serve::TransportSettings;
use bulkhead_edge::tls::{ClientAuth, TlsSettings};
use bulkhead_edge::{Edge, EdgeSettings, Readiness, Tasks, process};
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::{QueryEventsRequest, QueryEventsResponse};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::child::{Kind, Transport};
use crate::house::House;
use crate::secure;

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
pub(crate) fn serve(kind: Kind, transport: Transport, house: House) -> ExitCode {
    process::host("bench", move |announce, shutdown| async move {
        match kind {
            Kind::Bare => {
                let any: SocketAddr = ([127, 0, 0, 1], 0).into();
                let listener = TcpListener::bind(any).await?;
                announce(listener.local_addr()?);
                bare(listener, transport, &house).await?;
            }
            Kind::Edge => {
                let edge = Edge::bind(settings(transport, &house)).await?;
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

async fn bare(listener: TcpListener, transport: Transport, house: &House) -> anyhow::Result<()> {
    let mut server = tonic::transport::Server::builder();
    let router = server.add_service(AuditServiceServer::new(Noop));
    match transport {
        Transport::Plaintext => {
            // Without it the baseline waits for delayed acknowledgements, 44 ms at a time.
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            router.serve_with_incoming(incoming).await?;
        }
        Transport::Tls => router.serve_with_incoming(secure::accepted(listener, house)?).await?,
    }
    Ok(())
}

fn settings(transport: Transport, house: &House) -> EdgeSettings {
    let tls = match transport {
        Transport::Plaintext => None,
        Transport::Tls => Some(TlsSettings { identity: house.identity(), clients: ClientAuth::None }),
    };
    let settings = house.settings();
    EdgeSettings { transport: TransportSettings { tls, ..settings.transport.clone() }, ..settings }
}
