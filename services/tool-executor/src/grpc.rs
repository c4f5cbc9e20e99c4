//! One short method per RPC: convert, call, convert.

mod convert;
mod status;

use bulkhead_edge::Call;
use bulkhead_edge::serve::MESSAGE_BYTES_MAX;
use bulkhead_proto::tools::v1 as pb;
use bulkhead_proto::tools::v1::tool_executor_service_server::{
    ToolExecutorService, ToolExecutorServiceServer,
};
use futures::StreamExt as _;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::engine::{Command, Engine, EngineError};
use convert::{Asked, Mode};

/// The service's routes, without the edge.
pub(crate) fn routes(engine: Engine) -> Routes {
    let server = ToolExecutorServiceServer::new(Grpc { engine })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(server)
}

#[derive(Debug, Clone)]
struct Grpc {
    engine: Engine,
}

impl Grpc {
    /// Acts on a command, or only says what it would do.
    async fn answer(&self, asked: Asked) -> Result<pb::Execution, EngineError> {
        match asked.mode {
            Mode::DryRun => {
                let preview = self.engine.preview(asked.command).await?;
                Ok(convert::previewed(&preview))
            }
            Mode::Act { request, patience } => {
                let execution = self.engine.execute(asked.command, request, patience).await?;
                Ok(convert::execution(&execution))
            }
        }
    }
}

#[tonic::async_trait]
impl ToolExecutorService for Grpc {
    async fn list_tools(
        &self,
        request: Request<pb::ListToolsRequest>,
    ) -> Result<Response<pb::ListToolsResponse>, Status> {
        let page = convert::tools_page(&request.into_inner())?;
        Ok(Response::new(convert::tools(self.engine.toolbox(), page)))
    }

    async fn plan_tool_call(
        &self,
        request: Request<pb::PlanToolCallRequest>,
    ) -> Result<Response<pb::PlanToolCallResponse>, Status> {
        let call = Call::of(&request)?;
        let command: Command = convert::plan(&call, request.into_inner())?;
        let preview = self.engine.preview(command).await.map_err(status::of)?;
        Ok(Response::new(convert::plan_answer(&preview)))
    }

    async fn execute_tool_call(
        &self,
        request: Request<pb::ExecuteToolCallRequest>,
    ) -> Result<Response<pb::ExecuteToolCallResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = convert::execute(&call, request.into_inner())?;
        let execution = self.answer(asked).await.map_err(status::of)?;
        Ok(Response::new(pb::ExecuteToolCallResponse { execution: Some(execution) }))
    }

    async fn undo_execution(
        &self,
        request: Request<pb::UndoExecutionRequest>,
    ) -> Result<Response<pb::UndoExecutionResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = convert::undo(&call, request.into_inner())?;
        let execution = self.answer(asked).await.map_err(status::of)?;
        Ok(Response::new(pb::UndoExecutionResponse { execution: Some(execution) }))
    }

    async fn get_execution(
        &self,
        request: Request<pb::GetExecutionRequest>,
    ) -> Result<Response<pb::GetExecutionResponse>, Status> {
        let call = Call::of(&request)?;
        let id = convert::execution_id(&request.into_inner().execution_id)?;
        let (caller, sees_tenant) = convert::viewer(&call);
        let found = self.engine.get(id, &caller, sees_tenant).await.map_err(status::of)?;
        Ok(Response::new(pb::GetExecutionResponse { execution: Some(convert::execution(&found)) }))
    }

    async fn list_executions(
        &self,
        request: Request<pb::ListExecutionsRequest>,
    ) -> Result<Response<pb::ListExecutionsResponse>, Status> {
        let call = Call::of(&request)?;
        let listing = convert::listing(&call, &request.into_inner())?;
        let journal = self.engine.journal();
        let found = journal.list(&listing.filter, listing.page.after, listing.page.size).await;
        Ok(Response::new(listing.answer(&found.map_err(|error| status::of(error.into()))?)))
    }

    async fn watch_execution(
        &self,
        request: Request<pb::WatchExecutionRequest>,
    ) -> Result<Response<BoxStream<pb::WatchExecutionResponse>>, Status> {
        let call = Call::of(&request)?;
        let id = convert::execution_id(&request.into_inner().execution_id)?;
        let (caller, sees_tenant) = convert::viewer(&call);
        let first = self.engine.get(id, &caller, sees_tenant).await.map_err(status::of)?;
        let told = self.engine.follow(first).map(|changed| {
            let execution = convert::execution(&changed.map_err(status::of)?);
            Ok(pb::WatchExecutionResponse { execution: Some(execution) })
        });
        Ok(Response::new(Box::pin(told)))
    }
}
