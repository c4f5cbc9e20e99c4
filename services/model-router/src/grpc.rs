//! One short method per RPC: convert, call, convert.

use bulkhead_proto::router::v1::model_router_service_server::{ModelRouterService, ModelRouterServiceServer};
use bulkhead_proto::router::v1::session_service_server::{SessionService, SessionServiceServer};
use tonic::service::Routes;

/// The service's routes, without the edge.
pub(crate) fn routes() -> Routes {
    Routes::new(ModelRouterServiceServer::new(Grpc)).add_service(SessionServiceServer::new(Grpc))
}

#[derive(Debug, Clone)]
struct Grpc;

impl ModelRouterService for Grpc {}
impl SessionService for Grpc {}
