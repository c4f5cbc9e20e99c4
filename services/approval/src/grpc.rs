//! One short method per RPC: convert, call, convert.

mod access;
mod convert;
mod reply;
mod status;
mod watch;

use std::pin::Pin;

use bulkhead_edge::page::{self, Page};
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::{Call, Fault, Violations};
use bulkhead_proto::approval::v1 as pb;
use bulkhead_proto::approval::v1::approval_service_server::{ApprovalService, ApprovalServiceServer};
use ed25519_dalek::VerifyingKey;
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tracing::Span;

use crate::clock;
use crate::config::ExpiryRange;
use crate::desk::Desk;

/// The service behind the edge.
#[derive(Debug, Clone)]
pub(crate) struct Grpc {
    /// Does the work.
    pub(crate) desk: Desk,
    /// What a request may ask for.
    pub(crate) expiry: ExpiryRange,
    /// The public half of the key that signs grants.
    pub(crate) public_key: VerifyingKey,
    /// Ends watches.
    pub(crate) stopping: CancellationToken,
}

impl Grpc {
    /// The service's routes, without the edge.
    pub(crate) fn routes(self) -> Routes {
        let server = ApprovalServiceServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Routes::new(server)
    }
}

type Answer<T> = Result<Response<T>, Status>;
type Watch = Pin<Box<dyn Stream<Item = Result<pb::WatchApprovalsResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ApprovalService for Grpc {
    async fn create_approval(
        &self,
        request: Request<pb::CreateApprovalRequest>,
    ) -> Answer<pb::CreateApprovalResponse> {
        let call = Call::of(&request)?;
        let asked = convert::asked(request.into_inner(), self.expiry)?;
        access::may_act_for(&call, &asked.on_behalf_of)?;
        let caller = access::caller(&call, "CreateApproval", asked.request_id, asked.payload.clone());
        let traceparent = bulkhead_telemetry::traceparent(&Span::current());
        let question = asked.into_question(call.principal(), traceparent, clock::now());
        let approval = self.desk.open(question, caller).await.map_err(Fault::from)?;
        let approval = Some(reply::approval(&approval, &call));
        Ok(Response::new(pb::CreateApprovalResponse { approval }))
    }

    async fn get_approval(
        &self,
        request: Request<pb::GetApprovalRequest>,
    ) -> Answer<pb::GetApprovalResponse> {
        let call = Call::of(&request)?;
        let id = convert::approval_id(&request.into_inner().approval_id)?;
        let approval = self.desk.get(call.tenant(), id, clock::now()).await.map_err(Fault::from)?;
        access::may_see(&call, &approval)?;
        let approval = Some(reply::approval(&approval, &call));
        Ok(Response::new(pb::GetApprovalResponse { approval }))
    }

    async fn list_approvals(
        &self,
        request: Request<pb::ListApprovalsRequest>,
    ) -> Answer<pb::ListApprovalsResponse> {
        let call = Call::of(&request)?;
        let wanted = convert::wanted(&request.into_inner())?;
        let listed = self.desk.list(call.tenant(), wanted.filter, wanted.page, clock::now()).await;
        let listed = listed.map_err(Fault::from)?;
        Ok(Response::new(pb::ListApprovalsResponse {
            approvals: listed.approvals.iter().map(|approval| reply::approval(approval, &call)).collect(),
            next_page_token: listed.next.map_or_else(String::new, |next| page::token(next, &wanted.filters)),
        }))
    }

    async fn decide_approval(
        &self,
        request: Request<pb::DecideApprovalRequest>,
    ) -> Answer<pb::DecideApprovalResponse> {
        let call = Call::of(&request)?;
        let cast = convert::cast(request.into_inner())?;
        let caller = access::caller(&call, "DecideApproval", cast.request_id, cast.payload.clone());
        let (id, traceparent) = (cast.approval_id, bulkhead_telemetry::traceparent(&Span::current()));
        let ballot = cast.into_ballot(call.principal(), call.roles(), traceparent);
        let approval = self.desk.vote(id, ballot, caller, clock::now()).await.map_err(Fault::from)?;
        let approval = Some(reply::approval(&approval, &call));
        Ok(Response::new(pb::DecideApprovalResponse { approval }))
    }

    async fn watch_approvals(&self, request: Request<pb::WatchApprovalsRequest>) -> Answer<Watch> {
        let call = Call::of(&request)?;
        let (desk, stopping) = (self.desk.clone(), self.stopping.clone());
        let feed = match convert::place(&request.into_inner())? {
            convert::Place::After(revision) => watch::Feed::after(desk, call, revision, stopping),
            convert::Place::Now => watch::Feed::from_now(desk, call, stopping).await.map_err(Fault::from)?,
        };
        Ok(Response::new(Box::pin(feed.into_stream())))
    }

    async fn list_signing_keys(
        &self,
        request: Request<pb::ListSigningKeysRequest>,
    ) -> Answer<pb::ListSigningKeysResponse> {
        let asked = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::read(asked.page_size, &asked.page_token, "", &mut violations);
        let page = violations.finish(Some(page))?;
        // There is one key, so whatever follows the first page is empty.
        let keys = if page.after.is_none() { vec![reply::signing_key(&self.public_key)] } else { Vec::new() };
        Ok(Response::new(pb::ListSigningKeysResponse { keys, next_page_token: String::new() }))
    }
}
