//! RPCs that are also served as HTTP APIs of others, for clients that speak those.
//!
//! Promises that a call which comes this way passes what a call of the RPC passes, in the same order: identity,
//! roles, deadline, a place; and that it is counted, traced and logged as one of that RPC. Inside, a failure is a
//! `Status` as everywhere; it is put into the words of the API on its way out.

mod body;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::MethodRouter;
use bulkhead_proto::rules::MethodRule;
use bytes::Bytes;
use http::HeaderMap;
use tonic::{Code, Status};
use tracing::Span;

use self::body::{Ended, Spoken, refuse_encoding, whole};
use super::observe::{self, Observed, RequestId};
use super::{Deadline, Gate, admit, stream};
use crate::identity::Admitted;
use crate::identity::credential::take_api_key;
use crate::metrics::ServerCall;
use crate::{Call, Fault, spans};

/// An RPC in the form of an HTTP API.
#[derive(Debug, Clone)]
pub struct HttpApi {
    /// Where, as axum writes it: `/v1/models/{name}`.
    pub path: &'static str,
    /// Answers. Gets the whole body, and the [`Call`] in the extensions. A failure is a response that has its
    /// `Status` among the extensions, as [`Status::into_http`] makes it.
    pub handler: MethodRouter,
    /// Path of the RPC that a request is.
    pub rpc: &'static str,
    /// What a request may turn out to be once its body is read.
    pub streaming: Option<Streaming>,
    /// How long its clients wait for a plain answer when they do not say; none: as long as the RPC's callers. It counts from
    /// the whole body on, which has to come within the time of any call, and is never more than the longest that the
    /// service lets any caller ask for.
    pub patience: Option<Duration>,
    /// In whose words a request with these headers is refused.
    pub voice: fn(&HeaderMap) -> Voice,
}

/// The RPC that a request is when its body asks for a stream.
#[derive(Debug, Clone, Copy)]
pub struct Streaming {
    /// Path of the RPC.
    pub rpc: &'static str,
    /// Whether a body asks for it. One that cannot be read does not.
    pub wanted: fn(&[u8]) -> bool,
}

/// How an API tells failures.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// In place of an answer, to the request of this id.
    pub refusal: fn(&Status, &str) -> Response,
    /// As the last of a stream that had begun.
    pub ending: fn(&Status) -> Bytes,
}

/// Puts the stack in front of an API.
pub(crate) fn guard_api(api: HttpApi, gate: &Gate) -> Router {
    let (path, handler) = (api.path, api.handler.clone());
    Router::new().route(path, handler.route_layer(from_fn_with_state(Arc::new((gate.clone(), api)), guarded)))
}

/// Which RPC a request is, as far as is known, and its count.
struct Asked<'a> {
    rule: Option<&'a MethodRule>,
    counted: ServerCall,
}

async fn guarded(State(state): State<Arc<(Gate, HttpApi)>>, request: Request, next: Next) -> Response {
    let (gate, api) = &*state;
    let (voice, id) = ((api.voice)(request.headers()), RequestId::in_extensions(&request));
    let mut asked = Asked { rule: gate.rules.get(api.rpc), counted: ServerCall::begin(api.rpc) };
    let observed = Observed::begin(asked.rule.map(|_| api.rpc), &request);
    let handled = observed.run(admitted(gate, api, &mut asked, request, next)).await;
    let response = observed.tell(handled, asked.rule);
    spoken(asked.counted.follow(response), voice, &id)
}

/// From a request to the handler's answer, or the fault that stands in its way.
async fn admitted<'a>(
    gate: &'a Gate,
    api: &HttpApi,
    asked: &mut Asked<'a>,
    mut request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let door = gate.strangers.enter()?;
    take_api_key(request.headers_mut());
    let Admitted { identity, standing } =
        admit::identify(gate, request.headers(), request.extensions()).await?;
    let mut rule = admit::authorise(asked.rule, api.rpc, &identity)?;
    drop(door);
    refuse_encoding(request.headers())?;
    let mut deadline = Deadline::of_call(gate, rule, request.headers())?;
    // A body takes the place of a call while it is read, as a message does.
    let mut place = gate.calls.take(&identity, &deadline).await?;
    let (mut request, wants_stream) = deadline.bound(whole(request, api.streaming, gate)).await??;
    if let Some(rpc) = wants_stream {
        rule = admit::authorise(asked.turned_into(rpc, gate), rpc, &identity)?;
        deadline = Deadline::of_call(gate, rule, request.headers())?.of_what_began_with(&deadline);
        place = gate.streams.take(&identity, &deadline).await?;
    } else if api.patience.is_some() && !Deadline::is_asked_for(request.headers()) {
        deadline = Deadline::of_patient_call(gate, rule, request.headers(), api.patience)?;
    }

    let call = Call::new(identity, RequestId::in_extensions(&request), &deadline);
    request.extensions_mut().insert(call);
    let response = deadline.bound(next.run(request)).await?;
    if response.extensions().get::<Status>().is_some() {
        return Ok(response);
    }
    if !rule.server_streaming {
        return Ok(answered(response));
    }
    let response = response.map(|body| Body::new(Ended::new(body)));
    observe::completed(stream::limited(response, deadline, standing, Some(place), gate), Some(rule), gate)
}

impl<'a> Asked<'a> {
    /// The rule of the RPC that a body made of the call.
    fn turned_into(&mut self, rpc: &'static str, gate: &'a Gate) -> Option<&'a MethodRule> {
        self.counted.turn_into(rpc);
        spans::turned_into(&Span::current(), rpc);
        self.rule = gate.rules.get(rpc);
        self.rule
    }
}

/// An answer that is there as a whole: what is left is to send it.
fn answered(mut response: Response) -> Response {
    spans::answered(&Span::current(), Code::Ok);
    response.extensions_mut().insert(Status::new(Code::Ok, ""));
    response
}

/// The answer as the API gives it.
fn spoken(response: Response, voice: Voice, id: &RequestId) -> Response {
    match response.extensions().get::<Status>() {
        Some(status) if status.code() == Code::Ok => response,
        Some(status) => (voice.refusal)(status, id.as_str()),
        None => response.map(|body| Body::new(Spoken::new(body, voice.ending))),
    }
}
