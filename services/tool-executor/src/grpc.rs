//! One short method per RPC: convert, call, convert.

use bulkhead_proto::tools::v1::tool_executor_service_server::{
    ToolExecutorService, ToolExecutorServiceServer,
};
use tonic::service::Routes;

/// The service's routes, without the edge.
pub(crate) fn routes() -> Routes {
    Routes::new(ToolExecutorServiceServer::new(Grpc))
}

#[derive(Debug, Clone)]
struct Grpc;

impl ToolExecutorService for Grpc {}
