//! The router as the HTTP APIs that agents speak already: OpenAI Chat Completions and Anthropic Messages.
//!
//! A door is a translation at the rim and nothing else: the API's JSON becomes a `GenerateRequest`, passes the
//! checks of one that came by gRPC, and its answer becomes the API's JSON. Promises that what the contract cannot
//! express is refused by name, never dropped, and that nothing of a request or an answer is logged.

mod anthropic;
mod failure;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzed;
mod given;
mod media;
mod models;
mod openai;
mod request;
mod stream;

use std::time::Duration;

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use bulkhead_edge::{Call, HttpApi, Streaming, Violations, Voice};
use bulkhead_proto::router::v1 as pb;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use serde_json::{Value, json};
use tonic::Status;
use uuid::Uuid;

use self::stream::{Events, KEEP_ALIVE_AFTER, KeepAlive, Teller, Telling};
use crate::chat::Object;
use crate::grpc::status;
use crate::service::{Command, Service};

const GENERATE: &str = "/bulkhead.router.v1.ModelRouterService/Generate";
const STREAM_GENERATE: &str = "/bulkhead.router.v1.ModelRouterService/StreamGenerate";
const COUNT_TOKENS: &str = "/bulkhead.router.v1.ModelRouterService/CountTokens";
const LIST_MODELS: &str = "/bulkhead.router.v1.ModelRouterService/ListModels";

/// How long the SDKs of both APIs wait for an answer when they are not told otherwise. They do not tell servers, and half a
/// minute, which is enough for most calls of ours, would end answers that they still wait for.
const SDK_PATIENCE: Duration = Duration::from_secs(600);

/// Which configured model answered.
const MODEL: HeaderName = HeaderName::from_static("x-bulkhead-model");
/// How many attempts it took.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-bulkhead-attempts");
/// What all of them cost, in millionths of a US dollar, where a price is configured.
const COST: HeaderName = HeaderName::from_static("x-bulkhead-cost-usd-micros");
/// What a stream is; nobody on the way is to keep it.
const EVENT_STREAM: [(HeaderName, &str); 2] =
    [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
/// The name that one of the APIs has for `x-request-id`.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// One API: its words for what the contract says.
struct Dialect {
    /// Reads a request.
    read: Read,
    /// Writes an answer.
    answer: fn(&pb::GenerateResponse, &Reply) -> Value,
    /// Writes a stream for a caller who wants its usage or not.
    events: fn(Reply, bool) -> Box<dyn Events>,
    /// A sign of life in a silent stream, with the blank line after it.
    keep_alive: &'static str,
    /// Whether it has a place for what models think.
    tells_thinking: bool,
    /// The API's names of the contract's fields; of a name with a dot, the end of a path.
    names: &'static [(&'static str, &'static str)],
    /// Tells failures.
    voice: Voice,
}

/// How an API asks how many tokens a request has.
struct Counting {
    read: Read,
    answer: fn(u64) -> Value,
}

/// Reads a request; every violation is told.
type Read = fn(Object, &mut Violations) -> Option<Asked>;

/// A request in the contract's terms.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    /// Without an id and a context, which come as headers.
    generate: pb::GenerateRequest,
    /// The caller gave the id, and may come with it again.
    is_named: bool,
    /// The answer is to come as it is produced.
    stream: bool,
    /// And to tell its usage then.
    usage: bool,
    /// Of each turn, the place of the message that it was made of.
    origins: Vec<usize>,
}

/// What an answer says beside what the model said.
#[derive(Debug, Clone)]
struct Reply {
    request_id: Uuid,
    /// The name that the caller asked for.
    route: String,
    time: Timestamp,
}

/// Every door, for the edge to guard.
pub(crate) fn apis(service: &Service) -> Vec<HttpApi> {
    let list = HttpApi {
        path: "/v1/models",
        handler: listing(service.clone()),
        rpc: LIST_MODELS,
        streaming: None,
        patience: None,
        voice: |headers| speaker(headers).voice,
    };
    vec![
        HttpApi {
            path: "/v1/chat/completions",
            handler: generating(service.clone(), &openai::DIALECT),
            rpc: GENERATE,
            streaming: Some(Streaming { rpc: STREAM_GENERATE, wanted: request::wants_stream }),
            patience: Some(SDK_PATIENCE),
            voice: |_headers| openai::DIALECT.voice,
        },
        HttpApi {
            path: "/v1/messages",
            handler: generating(service.clone(), &anthropic::DIALECT),
            rpc: GENERATE,
            streaming: Some(Streaming { rpc: STREAM_GENERATE, wanted: request::wants_stream }),
            patience: Some(SDK_PATIENCE),
            voice: |_headers| anthropic::DIALECT.voice,
        },
        HttpApi {
            path: "/v1/messages/count_tokens",
            handler: counting(service.clone(), &anthropic::DIALECT, &anthropic::COUNTING),
            rpc: COUNT_TOKENS,
            streaming: None,
            patience: None,
            voice: |_headers| anthropic::DIALECT.voice,
        },
        HttpApi { path: "/v1/models/{name}", handler: finding(service.clone()), ..list.clone() },
        list,
    ]
}

/// Both APIs have the path `/v1/models`; the clients of one always send a header of its own.
fn speaks_anthropic(headers: &HeaderMap) -> bool {
    headers.contains_key("anthropic-version")
}

fn speaker(headers: &HeaderMap) -> &'static Dialect {
    if speaks_anthropic(headers) { &anthropic::DIALECT } else { &openai::DIALECT }
}

fn generating(service: Service, dialect: &'static Dialect) -> MethodRouter {
    post(move |request: Request| {
        let service = service.clone();
        async move { generate(&service, dialect, request).await.unwrap_or_else(Status::into_http) }
    })
}

async fn generate(
    service: &Service,
    dialect: &'static Dialect,
    request: Request,
) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let call = Call::within(&parts.extensions)?;
    let mut asked = request::read(dialect.read, &parts.headers, &request::bytes(body).await?)?;
    let origins = std::mem::take(&mut asked.origins);
    let answered = if asked.stream {
        streamed(service, dialect, &call, asked).await
    } else {
        whole(service, dialect, &call, asked).await
    };
    answered.map_err(|status| request::renamed(status, dialect.names, &origins))
}

async fn whole(service: &Service, dialect: &Dialect, call: &Call, asked: Asked) -> Result<Response, Status> {
    let command = request::command(asked, &service.catalog())?;
    let reply = Reply::to(&command);
    let response = service.generate(call, command).await?;
    let mut headers = told(&response.model, response.attempts.len(), call);
    if let Some(cost) = response.cost_usd_micros {
        headers.insert(COST, HeaderValue::from(cost));
    }
    Ok((headers, Json((dialect.answer)(&response, &reply))).into_response())
}

async fn streamed(
    service: &Service,
    dialect: &Dialect,
    call: &Call,
    asked: Asked,
) -> Result<Response, Status> {
    let usage = asked.usage;
    let is_structured = is_structured(asked.generate.response_format.as_ref());
    let command = request::stream_command(asked, !dialect.tells_thinking, &service.catalog())?;
    let teller = Teller::new((dialect.events)(Reply::to(&command), usage), is_structured);
    let keep_alive = KeepAlive { words: dialect.keep_alive, after: KEEP_ALIVE_AFTER };
    let begun = Telling::new(service.stream(call, command).await?, teller, keep_alive).begin().await?;
    let headers = told(&begun.teller().model, begun.teller().attempts, call);
    Ok((headers, EVENT_STREAM, begun.into_body()).into_response())
}

fn is_structured(format: Option<&pb::ResponseFormat>) -> bool {
    match format.map(pb::ResponseFormat::kind) {
        Some(pb::ResponseFormatKind::JsonObject | pb::ResponseFormatKind::JsonSchema) => true,
        Some(pb::ResponseFormatKind::Unspecified | pb::ResponseFormatKind::Text) | None => false,
    }
}

impl Reply {
    fn to(command: &Command) -> Self {
        Self { request_id: command.request_id, route: command.route.name.clone(), time: bulkhead_edge::now() }
    }
}

/// The headers of an answer.
fn told(model: &str, attempts: usize, call: &Call) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(ATTEMPTS, HeaderValue::from(attempts))]);
    // Names of models are words of the configuration, of letters and the like.
    for (name, text) in [(MODEL, model), (REQUEST_ID, call.request_id())] {
        if let Some(value) = HeaderValue::try_from(text).ok().filter(|value| !value.is_empty()) {
            headers.insert(name, value);
        }
    }
    headers
}

/// What the answer to a dry run says beside its form: whom the request would have been sent to, in order.
fn dry_run(response: &pb::GenerateResponse) -> Option<Value> {
    let planned = || response.attempts.iter().map(|attempt| attempt.model.as_str()).collect::<Vec<_>>();
    response.message.is_none().then(|| json!({ "dry_run": true, "planned": planned() }))
}

fn counting(service: Service, dialect: &'static Dialect, counting: &'static Counting) -> MethodRouter {
    post(move |request: Request| {
        let service = service.clone();
        async move { count(&service, dialect, counting, request).await.unwrap_or_else(Status::into_http) }
    })
}

/// By the estimate that plans and limits go by. No model is asked, so nothing is written.
async fn count(
    service: &Service,
    dialect: &Dialect,
    counting: &Counting,
    request: Request,
) -> Result<Response, Status> {
    let (parts, body) = request.into_parts();
    let asked = request::read(counting.read, &parts.headers, &request::bytes(body).await?)?;
    let tokens = request::tokens(asked.generate, &service.catalog());
    let tokens = tokens.map_err(|status| request::renamed(status, dialect.names, &asked.origins))?;
    Ok(Json((counting.answer)(tokens)).into_response())
}

fn listing(service: Service) -> MethodRouter {
    get(move |headers: HeaderMap| async move {
        let catalog = service.catalog();
        let names = catalog.routes().iter().map(|route| route.name.as_str()).collect();
        Json(models::list(names, speaks_anthropic(&headers)))
    })
}

fn finding(service: Service) -> MethodRouter {
    get(move |axum::extract::Path(name): axum::extract::Path<String>, headers: HeaderMap| async move {
        let catalog = service.catalog();
        match catalog.route(&name) {
            Some(route) => Json(models::one(&route.name, speaks_anthropic(&headers))).into_response(),
            None => Status::from(status::route_not_found(&catalog)).into_http(),
        }
    })
}

#[cfg(test)]
mod tests {
    use pb::content_block::Block;
    use proptest::prelude::*;
    use serde_json::Map;

    use super::*;
    use crate::doors::media::block;

    fn tool_use() -> impl Strategy<Value = Block> {
        let number = any::<i64>().prop_map(Value::from);
        let value = prop_oneof![number, ".*".prop_map(Value::from), any::<bool>().prop_map(Value::from)];
        ("[a-z0-9_]{1,12}", "[a-z._-]{1,12}", proptest::collection::vec((".*", value), 0..4)).prop_map(
            |(tool_use_id, name, input)| {
                let input_json = Value::Object(Map::from_iter(input)).to_string();
                Block::ToolUse(pb::ToolUse { tool_use_id, name, input_json })
            },
        )
    }

    fn thinking() -> impl Strategy<Value = Block> {
        let hidden =
            "[A-Za-z0-9+/=]{1,20}".prop_map(|data| (String::new(), format!("redacted_thinking:{data}")));
        prop_oneof![(".+", "[A-Za-z0-9+/=]{0,20}"), hidden]
            .prop_map(|(text, signature)| Block::Thinking(pb::Thinking { text, signature }))
    }

    fn said() -> impl Strategy<Value = Block> {
        ".+".prop_map(Block::Text)
    }

    /// What a request holds that sends back an answer as it came.
    fn sent_back(dialect: &Dialect, blocks: &[Block], message_of: fn(&Value) -> Value) -> Vec<pb::Message> {
        let content = blocks.iter().cloned().map(block).collect();
        let message = Some(pb::Message { role: pb::Role::Assistant.into(), content });
        let response = pb::GenerateResponse { message, ..pb::GenerateResponse::default() };
        let reply = Reply { request_id: Uuid::nil(), route: "default".into(), time: Timestamp::UNIX_EPOCH };
        let message = message_of(&(dialect.answer)(&response, &reply));
        let body = json!({ "model": "default", "max_tokens": 9, "messages": [message] }).to_string();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        let asked = request::read(dialect.read, &headers, body.as_bytes()).expect("it is welcome");
        asked.generate.messages
    }

    fn by_assistant(blocks: &[Block]) -> Vec<pb::Message> {
        let content = blocks.iter().cloned().map(block).collect();
        vec![pb::Message { role: pb::Role::Assistant.into(), content }]
    }

    proptest! {
        #[test]
        fn an_answer_of_one_api_is_welcome_in_its_next_request(
            blocks in proptest::collection::vec(prop_oneof![said(), tool_use(), thinking()], 1..6),
        ) {
            let message = |body: &Value| json!({ "role": "assistant", "content": body["content"] });
            prop_assert_eq!(sent_back(&anthropic::DIALECT, &blocks, message), by_assistant(&blocks));
        }

        #[test]
        fn so_is_one_of_the_other_which_has_one_text_before_its_calls(
            text in said(),
            calls in proptest::collection::vec(tool_use(), 0..4),
        ) {
            let blocks: Vec<Block> = [text].into_iter().chain(calls).collect();
            let message = |body: &Value| body["choices"][0]["message"].clone();
            prop_assert_eq!(sent_back(&openai::DIALECT, &blocks, message), by_assistant(&blocks));
        }
    }
}
