//! One short method per RPC: convert, call, convert.

mod budgets;
pub(crate) mod convert;
mod explain;
pub(crate) mod status;

use std::time::Instant;

use bulkhead_edge::page::{self, Page};
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_edge::{Call, Violations};
use bulkhead_proto::router::v1 as pb;
use bulkhead_proto::router::v1::model_router_service_server::{ModelRouterService, ModelRouterServiceServer};
use bulkhead_proto::router::v1::session_service_server::{SessionService, SessionServiceServer};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::balance::Draw;
use crate::clearance;
use crate::plan::Needs;
use crate::service::{Messages, Service};

/// The service's routes, without the edge.
pub(crate) fn routes(service: Service) -> Routes {
    let router = ModelRouterServiceServer::new(Grpc { service })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let sessions = SessionServiceServer::new(Sessions)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(router).add_service(sessions)
}

#[derive(Debug, Clone)]
struct Grpc {
    service: Service,
}

#[derive(Debug, Clone)]
struct Sessions;

impl SessionService for Sessions {}

#[tonic::async_trait]
impl ModelRouterService for Grpc {
    async fn generate(
        &self,
        request: Request<pb::GenerateRequest>,
    ) -> Result<Response<pb::GenerateResponse>, Status> {
        let call = Call::of(&request)?;
        let command = convert::command(request.into_inner(), &self.service.catalog())?;
        Ok(Response::new(self.service.generate(&call, command).await?))
    }

    async fn stream_generate(
        &self,
        request: Request<pb::StreamGenerateRequest>,
    ) -> Result<Response<Messages>, Status> {
        let call = Call::of(&request)?;
        let command = convert::stream_command(request.into_inner(), &self.service.catalog())?;
        Ok(Response::new(self.service.stream(&call, command).await?))
    }

    async fn explain_route(
        &self,
        request: Request<pb::ExplainRouteRequest>,
    ) -> Result<Response<pb::ExplainRouteResponse>, Status> {
        let call = Call::of(&request)?;
        let catalog = self.service.catalog();
        let question = convert::question(request.into_inner(), &catalog)?;
        let decision = clearance::decide(&question.sensitivity);
        let now = Instant::now();
        let needs = Needs::new(decision.local_only, question.prompt.as_ref());
        let plan = catalog.plan(&question.route, needs, Draw::new(&question.session), now);
        let plan = self.service.affordable(&call, &catalog, &question, plan, now).await?;
        Ok(Response::new(explain::explanation(decision, plan, needs.size.prompt_tokens, now)))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        Call::of(&request)?;
        let request = request.into_inner();
        let mut violations = Violations::new();
        let page = Page::read(request.page_size, &request.page_token, "", &mut violations);
        let page = violations.finish(Some(page))?;
        let all = explain::models(&self.service.catalog(), Instant::now(), bulkhead_edge::now());
        let (models, next) = cut(all, page);
        let next_page_token = next.map_or_else(String::new, |cursor| page::token(cursor, ""));
        Ok(Response::new(pb::ListModelsResponse { models, next_page_token }))
    }

    async fn list_budgets(
        &self,
        request: Request<pb::ListBudgetsRequest>,
    ) -> Result<Response<pb::ListBudgetsResponse>, Status> {
        let call = Call::of(&request)?;
        let question = budgets::question(request.into_inner())?;
        let all = self.service.budgets(call.tenant(), &question.session_id).await?;
        Ok(Response::new(budgets::answer(all, &question)))
    }
}

/// The page of a sorted list, and the cursor of the next one: the number of rows before it.
fn cut<T>(all: Vec<T>, page: Page) -> (Vec<T>, Option<u64>) {
    let skip = usize::try_from(page.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let size = usize::try_from(page.size).unwrap_or(usize::MAX);
    let end = skip.saturating_add(size);
    let next = u64::try_from(end).ok().filter(|_| end < all.len());
    (all.into_iter().skip(skip).take(size).collect(), next)
}
