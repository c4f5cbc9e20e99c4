//! The least that stands between the router's contract and a model's: tonic's server, the words of one API in place of those of
//! the other, and the HTTP client that the router uses. No identity, no limits, no record, no trace: what the router costs
//! beside this is what it does.

use bulkhead_proto::router::v1 as pb;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::model_router_service_server::{ModelRouterService, ModelRouterServiceServer};
use reqwest::{Client, Url};
use serde_json::{Value, json};
use tonic::{Request, Response, Status};

/// Serves Generate.
#[derive(Debug)]
pub(crate) struct Gateway {
    client: Client,
    endpoint: Url,
}

impl Gateway {
    pub(crate) fn before(upstream: &str) -> anyhow::Result<ModelRouterServiceServer<Self>> {
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let endpoint = format!("http://{upstream}/v1/chat/completions").parse()?;
        Ok(ModelRouterServiceServer::new(Self { client, endpoint }))
    }
}

#[tonic::async_trait]
impl ModelRouterService for Gateway {
    async fn generate(
        &self,
        request: Request<pb::GenerateRequest>,
    ) -> Result<Response<pb::GenerateResponse>, Status> {
        let body = asked(&request.into_inner());
        let sent = self.client.post(self.endpoint.clone()).bearer_auth("key").json(&body).send();
        let response = sent.await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let answer: Value = response.json().await.map_err(failed)?;
        Ok(Response::new(answered(&answer)))
    }
}

/// A request of a user who says something for the first time, which is what the bench asks.
fn asked(request: &pb::GenerateRequest) -> Value {
    let messages = request.messages.iter().map(|message| {
        let texts = message.content.iter().filter_map(|content| match &content.block {
            Some(Block::Text(text)) => Some(text.as_str()),
            Some(_) | None => None,
        });
        json!({ "role": "user", "content": texts.collect::<String>() })
    });
    json!({ "model": request.route, "messages": messages.collect::<Vec<_>>() })
}

fn answered(answer: &Value) -> pb::GenerateResponse {
    let text = answer.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default();
    let block = pb::ContentBlock { block: Some(Block::Text(text.to_owned())), ..pb::ContentBlock::default() };
    pb::GenerateResponse {
        message: Some(pb::Message { role: pb::Role::Assistant.into(), content: vec![block] }),
        ..pb::GenerateResponse::default()
    }
}

fn failed(error: reqwest::Error) -> Status {
    Status::unavailable(error.to_string())
}
