//! The HTTP side: model endpoints that follow the script, and the control endpoints.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::control::{Requests, Script};
use crate::record::{self, Arrival};
use crate::stage::{self, Stage, Stopping};
use crate::state::State;
use crate::wire::{OLLAMA_VERSION, Provider};

/// Says that no model answered.
const SIMULATED: HeaderName = HeaderName::from_static("x-simulated");
/// Largest body, as Anthropic's limit of 32 MB.
const BODY_BYTES_MAX: usize = 32 << 20;

/// What every handler needs.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    pub(crate) state: State,
    pub(crate) stopping: CancellationToken,
}

#[derive(Debug, Deserialize)]
struct Which {
    model: Option<String>,
}

/// Every route.
pub(crate) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/chat/completions", post(completions))
        .route("/api/chat", post(chat))
        .route("/api/tags", get(tags))
        .route("/api/version", get(|| async { Json(json!({ "version": OLLAMA_VERSION })) }))
        .route("/control/scripts", put(set_script).get(scripts).delete(clear_scripts))
        .route("/control/requests", get(requests).delete(clear_requests))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(axum::middleware::map_response(say_simulated))
        .with_state(api)
}

async fn say_simulated(mut response: Response) -> Response {
    response.headers_mut().insert(SIMULATED, HeaderValue::from_static("true"));
    response
}

async fn messages(Shared(api): Shared<Api>, headers: HeaderMap, body: Bytes) -> Response {
    api.act(Provider::Anthropic, "/v1/messages", &headers, &body).await
}

async fn completions(Shared(api): Shared<Api>, headers: HeaderMap, body: Bytes) -> Response {
    api.act(Provider::OpenAi, "/v1/chat/completions", &headers, &body).await
}

async fn chat(Shared(api): Shared<Api>, headers: HeaderMap, body: Bytes) -> Response {
    api.act(Provider::Ollama, "/api/chat", &headers, &body).await
}

async fn tags(Shared(api): Shared<Api>) -> Json<Value> {
    let models: Vec<Value> =
        api.state.scripts().keys().map(|model| json!({ "name": model, "model": model })).collect();
    Json(json!({ "models": models }))
}

async fn set_script(
    Shared(api): Shared<Api>,
    Query(which): Query<Which>,
    Json(script): Json<Script>,
) -> Response {
    let Some(model) = which.model.filter(|model| !model.is_empty()) else {
        return (StatusCode::BAD_REQUEST, "name the model: /control/scripts?model=NAME\n").into_response();
    };
    if script.has_text_twice() {
        return (StatusCode::UNPROCESSABLE_ENTITY, "a reply has `text` or `chunks`, not both\n")
            .into_response();
    }
    api.state.set_script(model, script);
    StatusCode::NO_CONTENT.into_response()
}

async fn scripts(Shared(api): Shared<Api>) -> Response {
    Json(api.state.scripts()).into_response()
}

async fn clear_scripts(Shared(api): Shared<Api>, Query(which): Query<Which>) -> StatusCode {
    api.state.clear_scripts(which.model.as_deref());
    StatusCode::NO_CONTENT
}

async fn requests(Shared(api): Shared<Api>, Query(which): Query<Which>) -> Json<Requests> {
    Json(api.state.requests(which.model.as_deref()))
}

async fn clear_requests(Shared(api): Shared<Api>) -> StatusCode {
    api.state.clear_requests();
    StatusCode::NO_CONTENT
}

impl Api {
    /// Writes the request down, then does what the script says.
    async fn act(&self, provider: Provider, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let body_bytes = body.len();
        let body = record::body(body);
        let question = provider.read(headers, &body);
        let now = crate::clock::now();
        let model = question.as_ref().map_or("", |question| question.model.as_str());
        let arrival = Arrival { time: now, model, path, headers, body, body_bytes };
        let question = match &question {
            Ok(question) => question,
            Err(refused) => {
                return stage::refuse(provider, refused, self.state.receive_unusable(arrival), now);
            }
        };
        let (step, receipt) = self.state.receive(arrival);
        let stage = Stage::new(provider, question, receipt, now, &self.stopping);
        let acted = async {
            stage.wait(Duration::from_millis(step.delay_ms)).await?;
            stage.perform(step.action).await
        };
        acted.await.unwrap_or_else(|Stopping| stage::stopping())
    }
}
