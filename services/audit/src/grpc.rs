//! One short method per RPC: convert, call, convert.

use bulkhead_proto::audit::v1::alert_service_server::{AlertService, AlertServiceServer};
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::job_service_server::{JobService, JobServiceServer};
use tonic::service::Routes;

/// The service's routes, without the edge.
pub(crate) fn routes() -> Routes {
    Routes::new(AuditServiceServer::new(Grpc))
        .add_service(AlertServiceServer::new(Grpc))
        .add_service(JobServiceServer::new(Grpc))
}

#[derive(Debug, Clone)]
struct Grpc;

impl AuditService for Grpc {}
impl AlertService for Grpc {}
impl JobService for Grpc {}
