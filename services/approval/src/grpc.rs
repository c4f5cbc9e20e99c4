//! One short method per RPC: convert, call, convert.

use bulkhead_proto::approval::v1::approval_service_server::{ApprovalService, ApprovalServiceServer};
use tonic::service::Routes;

/// The service's routes, without the edge.
pub(crate) fn routes() -> Routes {
    Routes::new(ApprovalServiceServer::new(Grpc))
}

#[derive(Debug, Clone)]
struct Grpc;

impl ApprovalService for Grpc {}
