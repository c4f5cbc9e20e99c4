//! One short method per RPC: convert, call, convert.

mod convert;
mod status;
mod traces;

use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::{Call, page};
use bulkhead_proto::audit::v1 as pb;
use bulkhead_proto::audit::v1::alert_service_server::{AlertService, AlertServiceServer};
use bulkhead_proto::audit::v1::audit_service_server::{AuditService, AuditServiceServer};
use bulkhead_proto::audit::v1::job_service_server::{JobService, JobServiceServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::Instrument as _;

use crate::log::Log;
use crate::query::Query;

/// The service's routes, without the edge.
pub(crate) fn routes(log: Log, query: Query) -> Routes {
    let grpc = Grpc { log, query };
    let audit = AuditServiceServer::new(grpc)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(audit).add_service(AlertServiceServer::new(NotYet)).add_service(JobServiceServer::new(NotYet))
}

#[derive(Debug, Clone)]
struct Grpc {
    log: Log,
    query: Query,
}

/// Services of the contract that answer UNIMPLEMENTED so far.
#[derive(Debug, Clone)]
struct NotYet;

impl AlertService for NotYet {}
impl JobService for NotYet {}

#[tonic::async_trait]
impl AuditService for Grpc {
    async fn append_events(
        &self,
        request: Request<pb::AppendEventsRequest>,
    ) -> Result<Response<pb::AppendEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let (batch_id, events) = (message.request_id.clone(), message.events.len());
        let batch = convert::batch(message, call.principal())?;
        let traced = traces::Append::begin(&batch.events);
        let appended = self.log.append(batch).instrument(traced.span()).await.map_err(status::append);
        traced.end(&appended);
        let receipt = appended?;
        tracing::info!(batch_id, events, duplicates = receipt.duplicates, "appended");
        Ok(Response::new(pb::AppendEventsResponse {
            tree_size: receipt.tree_size,
            duplicate_count: receipt.duplicates,
        }))
    }

    async fn query_events(
        &self,
        request: Request<pb::QueryEventsRequest>,
    ) -> Result<Response<pb::QueryEventsResponse>, Status> {
        let call = Call::of(&request)?;
        let wanted = convert::query(request.into_inner(), call.tenant())?;
        let found = self.query.page(&wanted.filter, wanted.page.after, wanted.page.size).await;
        let answer = found.map_err(status::query)?;
        let next = answer.more_after.map(|cursor| page::token(cursor, &wanted.fingerprint));
        Ok(Response::new(pb::QueryEventsResponse {
            events: answer.events.into_iter().map(convert::recorded).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn get_checkpoint(
        &self,
        request: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        Call::of(&request)?;
        let checkpoint = self.log.checkpoint().await.map_err(status::sign)?;
        Ok(Response::new(pb::GetCheckpointResponse {
            signed_note: checkpoint.note,
            tree_size: checkpoint.tree_size,
            verifier_key: checkpoint.verifier_key,
        }))
    }
}
