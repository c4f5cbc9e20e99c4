//! What the edge counts, as docs/metrics.md lists it.
//!
//! Promises that counting costs a call well under a microsecond (what it needs is prepared per RPC), that
//! every call is counted once however it ends, and that nothing a caller sends becomes an attribute: a path
//! outside the contract is `_OTHER`.

mod body;
mod client;
mod server;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use bulkhead_proto::rules::MethodRule;
use bulkhead_telemetry::metrics::{self, BoundHistogram, KeyValue};
use tonic::Code;

pub use client::Measured;
pub(crate) use server::ServerCall;

/// The name of whatever is not part of the contract; the word is that of the RPC conventions.
pub(crate) const OTHER_METHOD: &str = "_OTHER";

/// The contract's RPCs, by path.
static METHODS: OnceLock<HashMap<String, Method>> = OnceLock::new();
/// Whatever is not part of the contract.
static OTHER: LazyLock<Method> = LazyLock::new(|| Method::new(OTHER_METHOD));
/// Connections that are served now.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// One RPC: its attributes, ready to use, and how many calls of it are open.
#[derive(Debug)]
struct Method {
    answered: [KeyValue; 3],
    /// The series of calls that came in and were answered; there from the first on.
    served: OnceLock<BoundHistogram<f64>>,
    /// The same of calls that went out.
    asked: OnceLock<BoundHistogram<f64>>,
    open: AtomicU64,
    begun: AtomicU64,
}

impl Method {
    fn new(name: &str) -> Self {
        let name = KeyValue::new("rpc.method", Arc::<str>::from(name));
        Self {
            answered: [KeyValue::new("rpc.system.name", "grpc"), name, status(Code::Ok)],
            served: OnceLock::new(),
            asked: OnceLock::new(),
            open: AtomicU64::new(0),
            begun: AtomicU64::new(0),
        }
    }

    /// The RPC at a path.
    fn at(path: &str) -> &'static Self {
        METHODS.get().and_then(|methods| methods.get(path)).unwrap_or_else(|| &*OTHER)
    }

    fn ended(&self, code: Code) -> [KeyValue; 3] {
        let [system, name, _ok] = self.answered.clone();
        [system, name, status(code)]
    }
}

/// Prepares the attributes of the contract's RPCs, and shows what is open.
pub(crate) fn begin(rules: &HashMap<String, MethodRule>) {
    METHODS.get_or_init(|| {
        let named = |path: &String| (path.clone(), Method::new(path.trim_start_matches('/')));
        rules.keys().map(named).collect()
    });
    let meter = metrics::meter();
    let _registered = meter
        .u64_observable_gauge("bulkhead.rpc.server.open")
        .with_description("Calls that are open now, streams included.")
        .with_callback(|observer| {
            let known = METHODS.get().into_iter().flat_map(HashMap::values);
            for method in known.chain([&*OTHER]).filter(|method| method.begun.load(Ordering::Relaxed) > 0) {
                observer.observe(method.open.load(Ordering::Relaxed), &method.answered[1..2]);
            }
        })
        .build();
    let _registered = meter
        .u64_observable_gauge("bulkhead.edge.connections")
        .with_description("Connections that are open now.")
        .with_callback(|observer| observer.observe(CONNECTIONS.load(Ordering::Relaxed), &[]))
        .build();
    server::register();
}

/// Counts a connection as long as it lives.
#[derive(Debug)]
pub(crate) struct OpenConnection(());

impl OpenConnection {
    pub(crate) fn new() -> Self {
        CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /metrics`.
pub(crate) async fn expose() -> Response {
    // Observing reads files under /proc and asks services for their state.
    match tokio::task::spawn_blocking(metrics::exposition).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, metrics::TEXT_FORMAT)], text).into_response(),
        Ok(Err(error)) => {
            tracing::error!(%error, "the metrics could not be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, "the log has the details\n").into_response()
        }
        Err(_panicked) => (StatusCode::INTERNAL_SERVER_ERROR, "the log has the details\n").into_response(),
    }
}

fn status(code: Code) -> KeyValue {
    KeyValue::new("rpc.response.status_code", status_name(code))
}

/// The names that the gRPC conventions give.
pub(crate) fn status_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
