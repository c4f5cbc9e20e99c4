//! The request path, outermost first.
//!
//! The order is an invariant. The request id comes first, so that everything after it can be found in the
//! log; the panic guard stands outside identity, so that no panic escapes; authorisation follows identity;
//! the deadline is innermost, so that it covers the handler alone and the answer still passes the rest.

mod admit;
mod deadline;
mod declared;
mod observe;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use bulkhead_proto::rules::MethodRule;
use tokio_util::sync::CancellationToken;

use crate::identity::registry::Registry;

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
    // `layer` wraps what is there already, so the innermost stands first.
    let answering = services
        .layer(from_fn_with_state(gate.clone(), deadline::bound))
        .layer(from_fn_with_state(gate.clone(), admit::authorise))
        .layer(from_fn_with_state(gate.clone(), admit::identify))
        .layer(from_fn(observe::catch_panics))
        .layer(from_fn(admit::speak_grpc))
        .layer(from_fn_with_state(gate.clone(), observe::complete_faults));
    let held = if cfg!(debug_assertions) {
        answering.layer(from_fn_with_state(gate.clone(), declared::hold_to_contract))
    } else {
        answering
    };
    held.layer(from_fn_with_state(gate.clone(), observe::trace))
}

/// What health and reflection pass: no identity, but the same answers and the same bounds.
pub fn open(services: Router, gate: &Gate) -> Router {
    services
        .layer(from_fn_with_state(gate.clone(), deadline::bound_stream))
        .layer(from_fn(observe::catch_panics))
        .layer(from_fn(admit::speak_grpc))
        .layer(from_fn_with_state(gate.clone(), observe::complete_faults))
}

/// What every request passes first, known path or not.
pub fn receive(all: Router) -> Router {
    all.layer(from_fn(admit::bound_headers)).layer(from_fn(observe::assign_request_id))
}
