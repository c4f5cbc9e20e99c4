//! The HTTP side: model endpoints that follow the script, and the control endpoints.

use std::time::{Duration, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::control::{Action, Answered, Malformed, Reply, Requests, RetryAfter, Script, StatusFault};
use crate::record::Arrival;
use crate::state::{Receipt, State};
use crate::wire::{Provider, Question, Refused, anthropic, ollama, openai};

/// Says that no model answered.
const SIMULATED: HeaderName = HeaderName::from_static("x-simulated");
/// Largest body, as Anthropic's limit of 32 MB.
const BODY_BYTES_MAX: usize = 32 << 20;

/// In the extensions of a response: reset the connection instead of sending it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the script resets the connection")]
pub(crate) struct ResetConnection;

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
        .route("/api/version", get(|| async { Json(json!({ "version": ollama::VERSION })) }))
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
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let question = anthropic::read(&headers, &json);
    api.act(Provider::Anthropic, "/v1/messages", &headers, &body, question).await
}

async fn completions(Shared(api): Shared<Api>, headers: HeaderMap, body: Bytes) -> Response {
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let question = openai::read(&headers, &json);
    api.act(Provider::OpenAi, "/v1/chat/completions", &headers, &body, question).await
}

async fn chat(Shared(api): Shared<Api>, headers: HeaderMap, body: Bytes) -> Response {
    let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let question = ollama::read(&json);
    api.act(Provider::Ollama, "/api/chat", &headers, &body, question).await
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
    async fn act(
        &self,
        provider: Provider,
        path: &str,
        headers: &HeaderMap,
        body: &[u8],
        question: Result<Question, Refused>,
    ) -> Response {
        let time = crate::clock::now();
        let model = question.as_ref().map_or("", |question| question.model.as_str());
        let arrival = Arrival { time, model, path, headers, body };
        let question = match &question {
            Ok(question) => question,
            Err(refused) => return refuse(provider, refused, self.state.receive_unusable(&arrival)),
        };
        let (step, receipt) = self.state.receive(&arrival);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(step.delay_ms)) => {}
            () = self.stopping.cancelled() => return stopping(),
        }
        let stage = Stage { provider, question, receipt };
        match step.action {
            Action::Echo => stage.reply(Reply::default()),
            Action::Reply(reply) => stage.reply(reply),
            Action::Status(fault) => stage.fail(&fault),
            Action::Malformed(how) => stage.garble(how),
            Action::Cut => stage.cut(),
            Action::Reset => stage.reset(),
            Action::Silence => {
                self.stopping.cancelled().await;
                stopping()
            }
        }
    }
}

fn stopping() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the simulator stops\n").into_response()
}

fn refuse(provider: Provider, refused: &Refused, receipt: Receipt) -> Response {
    let fault = StatusFault { message: Some(refused.message.clone()), ..StatusFault::new(refused.status) };
    failure(provider, &fault, receipt)
}

/// One request at the moment it is answered.
struct Stage<'a> {
    provider: Provider,
    question: &'a Question,
    receipt: Receipt,
}

impl Stage<'_> {
    fn body(&self, reply: Reply) -> Value {
        let answer = self.question.answer(reply);
        match self.provider {
            Provider::Anthropic => anthropic::answer(self.question, &answer, self.receipt.sequence()),
            Provider::Ollama => ollama::answer(self.question, &answer, crate::clock::now()),
            Provider::OpenAi => {
                openai::answer(self.question, &answer, self.receipt.sequence(), crate::clock::now())
            }
        }
    }

    fn reply(self, reply: Reply) -> Response {
        let response = with_request_id(Json(self.body(reply)).into_response(), self.provider, &self.receipt);
        self.receipt.finish(Answered::Status(200));
        response
    }

    fn fail(self, fault: &StatusFault) -> Response {
        failure(self.provider, fault, self.receipt)
    }

    fn garble(self, how: Malformed) -> Response {
        let text = self.body(Reply::default()).to_string();
        let (kind, body) = match how {
            Malformed::Truncated => ("application/json", text.chars().take(text.len() / 2).collect()),
            Malformed::WrongShape => ("application/json", json!({ "unexpected": true }).to_string()),
            Malformed::Html => ("text/html", "<html><body>Bad gateway</body></html>".to_owned()),
        };
        self.receipt.finish(Answered::Malformed);
        ([("content-type", kind)], body).into_response()
    }

    fn cut(self) -> Response {
        let text = self.body(Reply::default()).to_string();
        let half: String = text.chars().take(text.len() / 2).collect();
        self.receipt.finish(Answered::Cut);
        // The pause lets the half reach the socket before the connection is given up.
        let end = futures::stream::once(async {
            tokio::task::yield_now().await;
            Err(ResetConnection)
        });
        let body = Body::from_stream(futures::stream::iter([Ok(Bytes::from(half))]).chain(end));
        ([("content-type", "application/json")], body).into_response()
    }

    fn reset(self) -> Response {
        self.receipt.finish(Answered::Reset);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(ResetConnection);
        response
    }
}

fn failure(provider: Provider, fault: &StatusFault, receipt: Receipt) -> Response {
    let status = StatusCode::from_u16(fault.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = fault.message.as_deref();
    let body = match provider {
        Provider::Anthropic => anthropic::error(fault.code, message, receipt.sequence()),
        Provider::Ollama => ollama::error(fault.code, message),
        Provider::OpenAi => openai::error(fault.code, message),
    };
    let mut response = with_request_id((status, Json(body)).into_response(), provider, &receipt);
    let retry_after = retry_after(&fault.retry_after).map(|text| ("retry-after".to_owned(), text));
    for (name, value) in fault.headers.clone().into_iter().chain(retry_after) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    receipt.finish(Answered::Status(status.as_u16()));
    response
}

fn with_request_id(mut response: Response, provider: Provider, receipt: &Receipt) -> Response {
    let id = HeaderValue::try_from(anthropic::request_id(receipt.sequence()));
    if let (Provider::Anthropic, Ok(id)) = (provider, id) {
        response.headers_mut().insert("request-id", id);
    }
    response
}

fn retry_after(wish: &RetryAfter) -> Option<String> {
    match wish {
        RetryAfter::None => None,
        RetryAfter::Seconds(seconds) => Some(seconds.to_string()),
        RetryAfter::HttpDate(seconds) => Some(http_date(*seconds, crate::clock::now())),
        RetryAfter::Raw(text) => Some(text.clone()),
    }
}

/// A date in `seconds`, rounded up: the format has whole seconds, and a server never means less.
fn http_date(seconds: u64, now: Timestamp) -> String {
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    let whole = millis.div_ceil(1_000).saturating_add(seconds);
    // `httpdate` writes years up to 9999 and panics beyond.
    let whole = whole.min(253_402_300_799);
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_never_earlier_than_meant() {
        let now: Timestamp = "2026-05-09T12:00:00.001Z".parse().expect("a time");
        assert_eq!(http_date(2, now), "Sat, 09 May 2026 12:00:03 GMT");
        assert_eq!(http_date(u64::MAX, now), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
