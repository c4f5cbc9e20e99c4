//! The request path, as one sentence: see `guarded` and `admitted`.
//!
//! The order is an invariant, outermost first:
//!
//! 1. the *request id*, so that every answer and everything in the log can be found by it;
//! 2. the bound on *headers*, before anything is made of them;
//! 3. the *count*, the *trace* and the one log line, so that refusals are seen too;
//! 4. the *panic guard*, outside everything that decides, so that no panic escapes;
//! 5. the *door*, a cap on calls that nobody has been identified for, so that strangers cannot queue work;
//! 6. *identity*, then 7. *authorisation*, so that no place is spent on who may not call;
//! 8. the *deadline*, so that waiting for a place is part of the caller's time;
//! 9. a *place*, fair between tenants, given up when the handler or its stream ends;
//! 10. the *handler*, which alone runs under all of these.
//!
//! Health and reflection pass 1 to 4, the deadline and the handler: they are never shed. Plain HTTP probes pass
//! 1 and 2. The HTTP APIs that some RPCs also have pass all of it ([`http_api`]).

mod admit;
mod deadline;
mod declared;
mod door;
mod http_api;
mod observe;
mod shed;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use bulkhead_proto::rules::MethodRule;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub(crate) use deadline::parse as parse_timeout;

use crate::identity::credential::conceal;
use crate::identity::registry::Registry;
use crate::identity::{Admitted, Standing};
use crate::metrics::ServerCall;
use crate::{Call, Fault};
use observe::Observed;

pub(crate) use admit::is_grpc;
pub(crate) use deadline::Deadline;
pub use door::Door;
pub(crate) use http_api::guard_api;
pub use http_api::{HttpApi, Streaming, Voice};
pub(crate) use observe::RequestId;
pub use shed::Places;

/// Headers of one request, in bytes: names, values and path. Tokens and traces need a fraction of it.
pub(crate) const HEADERS_BYTES_MAX: usize = 16 << 10;

/// What the stack decides by.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Every RPC of the contract by its path.
    pub rules: Arc<HashMap<String, MethodRule>>,
    /// Who is known.
    pub registry: Registry,
    /// How long a unary call may take when its caller does not say, and at most.
    pub unary_timeout: TimeoutRange,
    /// How old a stream may become when its caller does not say, and at most.
    pub stream_timeout: TimeoutRange,
    /// How long a stream may be silent.
    pub stream_idle_timeout: Duration,
    /// For calls that nobody has been identified for.
    pub strangers: Door,
    /// For unary calls.
    pub calls: Places,
    /// For streams.
    pub streams: Places,
    /// Largest message that is decoded, in bytes; only named here, for the error.
    pub message_bytes_max: usize,
    /// Ends streams when the service stops.
    pub stopping: CancellationToken,
}

/// A default, and a bound on what a caller may ask for.
#[derive(Debug, Clone, Copy)]
pub struct TimeoutRange {
    /// Used when the caller sends no `grpc-timeout`.
    pub default: Duration,
    /// A longer `grpc-timeout` is cut to this.
    pub max: Duration,
}

/// Puts the stack in front of the contract's services.
pub fn guard(services: Router, gate: &Gate) -> Router {
    services.layer(from_fn_with_state(Arc::new(gate.clone()), guarded))
}

/// What health and reflection pass: no identity and no place, but the same answers and the same bounds.
pub fn open(services: Router, gate: &Gate) -> Router {
    services.layer(from_fn_with_state(Arc::new(gate.clone()), opened))
}

/// What every request passes first, known path or not, on its way to everything that is served.
pub(crate) async fn received(all: Router, mut request: Request) -> Response {
    conceal(request.headers_mut());
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let response = match admit::bound_headers(&request) {
        Ok(()) => all.oneshot(request).await.unwrap_or_else(|never| match never {}),
        Err(fault) => observe::answer(fault),
    };
    id.returned_with(response)
}

async fn guarded(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let counted = ServerCall::begin(request.uri().path());
    let rule = gate.rules.get(request.uri().path());
    let response = match admit::refuse_plain_http(&request) {
        Some(refusal) => refusal,
        None => {
            let observed = Observed::begin(rule.map(|_| request.uri().path()), &request);
            let handled = observed.run(admitted(&gate, rule, request, next)).await;
            observed.tell(handled, rule)
        }
    };
    counted.follow(response)
}

/// From a request to the handler's answer, or the fault that stands in its way.
async fn admitted(
    gate: &Gate,
    rule: Option<&MethodRule>,
    mut request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let door = gate.strangers.enter()?;
    let Admitted { identity, standing } =
        admit::identify(gate, request.headers(), request.extensions()).await?;
    let rule = admit::authorise(rule, request.uri().path(), &identity)?;
    drop(door);
    admit::refuse_compression(request.headers())?;
    let deadline = Deadline::of_call(gate, rule, request.headers())?;
    let places = if rule.server_streaming { &gate.streams } else { &gate.calls };
    let place = places.take(&identity, &deadline).await?;

    let call = Call::new(identity, RequestId::in_extensions(&request), &deadline);
    request.extensions_mut().insert(call);
    let response = deadline.bound(next.run(request)).await?;
    let response = if rule.server_streaming {
        stream::limited(response, deadline, standing, Some(place), gate)
    } else {
        response
    };
    observe::completed(response, Some(rule), gate)
}

async fn opened(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match admit::refuse_plain_http(&request) {
        Some(refusal) => refusal,
        None => {
            let observed = Observed::quiet(&request);
            let handled = observed.run(handled_openly(&gate, request, next)).await;
            observed.tell(handled, None)
        }
    }
}

/// Neither identity nor place, but a bound on everything: the answer comes within the time of a unary call, and
/// a watch lives no longer than any stream.
async fn handled_openly(gate: &Gate, request: Request, next: Next) -> Result<Response, Fault> {
    admit::refuse_compression(request.headers())?;
    let response = Deadline::of_open_call(gate).bound(next.run(request)).await?;
    let (deadline, standing) = (Deadline::of_open_stream(gate), Standing::default());
    observe::completed(stream::limited(response, deadline, standing, None, gate), None, gate)
}
