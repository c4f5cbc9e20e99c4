//! Binds, serves, tells the truth about its health, and drains.

mod calls;
mod connection;
mod connections;
pub(crate) mod delivery;
mod limits;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use bulkhead_proto::{DESCRIPTORS, rules};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Builder as Reflection;

use self::connections::Listener;
pub use self::limits::ConnectionLimits;
use crate::identity::jwt::{self, KeyFollower, KeySourceError, Verifier};
use crate::identity::registry::Registry;
use crate::identity::watched::WatchedFile;
use crate::metrics;
use crate::stack::{Door, Gate, HttpApi, Places, TimeoutRange, guard, guard_api, is_grpc, open};
use crate::tls::{Acceptor, Reloader, TlsError, TlsSettings};
use crate::tokens::TokenFileError;
use crate::{EdgeSettings, Fault, Readiness, Tasks};

/// Largest message that a service decodes, in bytes. Above tonic's own 4 MiB, because a plan of 1 MiB and
/// its arguments travel twice in one execution.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;

/// How a listener serves its connections.
#[derive(Debug, Clone, Default)]
pub struct TransportSettings {
    /// TLS; without it connections are plaintext.
    pub tls: Option<TlsSettings>,
    /// How many connections there may be, and of whom.
    pub connections: ConnectionLimits,
}

/// Why a service did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The tokens could not be loaded.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The keys that JWTs are verified with could not be loaded.
    #[error(transparent)]
    Keys(#[from] KeySourceError),
    /// The files for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The port is taken or not ours.
    #[error("cannot listen on {address}; is another instance running?")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Our own descriptors do not decode.
    #[error("the built-in contract is broken")]
    Contract(#[source] rules::DescriptorError),
    /// Reflection could not be built from them.
    #[error("the built-in reflection data is broken")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// A background task panicked; the log has the details.
    #[error("a background task failed; the service cannot keep its promises without it")]
    TaskFailed,
}

/// A bound service: its address is known and calls queue, but nothing is answered before
/// [`Edge::serve`].
#[derive(Debug)]
pub struct Edge {
    listener: TcpListener,
    address: SocketAddr,
    gate: Gate,
    tokens: WatchedFile,
    keys: Option<KeyFollower>,
    tls: Option<(Acceptor, Reloader)>,
    apis: Vec<HttpApi>,
    settings: EdgeSettings,
}

impl Edge {
    /// Loads the tokens, the keys and the files for TLS, and binds the port.
    ///
    /// # Errors
    /// [`ServeError`] when a file is wrong or the port cannot be had.
    pub async fn bind(settings: EdgeSettings) -> Result<Self, ServeError> {
        let (verifier, keys) = settings.jwt.clone().map(Verifier::open).transpose()?.unzip();
        let (registry, tokens) = Registry::open(&settings.tokens, verifier)?;
        let tls = settings.transport.tls.clone().map(Acceptor::load).transpose()?;
        let gate = Gate {
            rules: Arc::new(rules::by_path().map_err(ServeError::Contract)?),
            registry,
            unary_timeout: TimeoutRange { default: settings.unary_timeout, max: settings.unary_timeout_max },
            stream_timeout: TimeoutRange { default: settings.stream_timeout, max: settings.stream_timeout },
            stream_idle_timeout: settings.limits.stream_idle_timeout,
            strangers: Door::default(),
            calls: Places::of_calls(&settings.limits),
            streams: Places::of_streams(&settings.limits),
            message_bytes_max: MESSAGE_BYTES_MAX,
            stopping: CancellationToken::new(),
        };
        metrics::begin(&gate.rules);
        jwt::begin();
        let bind = |source| ServeError::Bind { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(bind)?;
        let address = listener.local_addr().map_err(bind)?;
        Ok(Self { listener, address, gate, tokens, keys, tls, apis: Vec::new(), settings })
    }

    /// The same, which also serves RPCs as these HTTP APIs.
    #[must_use]
    pub fn with_apis(self, apis: Vec<HttpApi>) -> Self {
        Self { apis, ..self }
    }

    /// Where it listens; the real port when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` resolves or a background task fails, then drains: open calls finish within
    /// the drain limit, background tasks too.
    ///
    /// # Errors
    /// [`ServeError::Reflection`] or [`ServeError::TaskFailed`].
    pub async fn serve(
        self,
        services: Routes,
        service_names: &'static [&'static str],
        readiness: Readiness,
        tasks: Tasks,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let gate = Gate { stopping: tasks.stopping(), ..self.gate };
        let described = reflection(self.settings.reflection)?.add_service(health);
        let router = guard(services.into_axum_router().reset_fallback(), &gate)
            .merge(open(described.into_axum_router().reset_fallback(), &gate))
            .merge(probes(readiness.clone()));
        let apis = self.apis.into_iter().map(|api| guard_api(api, &gate));
        let router = apis.fold(router, Router::merge).fallback(unknown);
        let registry = gate.registry.clone();
        tasks.spawn("tokens", registry.follow(self.tokens, readiness.clone(), tasks.stopping()));
        if let Some(keys) = self.keys {
            tasks.spawn("jwt keys", keys.follow(readiness.clone(), tasks.stopping()));
        }
        let acceptor = self.tls.map(|(acceptor, reloader)| {
            reloader.start(readiness.clone(), &tasks);
            acceptor
        });
        // Before the first connection: whoever asks at once must not hear that there is no such service.
        publish(&reporter, service_names, readiness.problems().is_empty()).await;
        report_health(reporter, service_names, readiness, &tasks);

        let (broken, stopping) = (tasks.broken(), tasks.stopping());
        let stop = async {
            tokio::select! { () = shutdown => {}, () = broken.cancelled() => {} }
            stopping.cancel();
        };
        let limits = self.settings.transport.connections;
        let listener = Listener { listener: self.listener, acceptor, limits };
        listener.serve(router, &tasks, stop, self.settings.drain_timeout).await;
        tasks.finish(self.settings.drain_timeout).await;
        if tasks.broken().is_cancelled() { Err(ServeError::TaskFailed) } else { Ok(()) }
    }
}

fn reflection(enabled: bool) -> Result<Routes, ServeError> {
    if !enabled {
        return Ok(Routes::default());
    }
    let builder = || {
        Reflection::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().map_err(ServeError::Reflection)?;
    let v1alpha = builder().build_v1alpha().map_err(ServeError::Reflection)?;
    Ok(Routes::new(v1).add_service(v1alpha))
}

/// Says of the whole server and of each service whether it is ready.
async fn publish(reporter: &HealthReporter, service_names: &[&'static str], ready: bool) {
    let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    for name in service_names.iter().copied().chain([""]) {
        reporter.set_service_status(name, status).await;
    }
}

/// Keeps `grpc.health.v1` equal to the readiness, for the whole server (empty name) and each service.
fn report_health(
    reporter: HealthReporter,
    service_names: &'static [&'static str],
    readiness: Readiness,
    tasks: &Tasks,
) {
    let stopping = tasks.stopping();
    tasks.spawn("health", async move {
        let mut changes = readiness.subscribe();
        loop {
            let problems = changes.borrow_and_update().clone();
            let stops = stopping.is_cancelled();
            publish(&reporter, service_names, problems.is_empty() && !stops).await;
            if !problems.is_empty() {
                tracing::warn!(?problems, "not ready");
            }
            if stops {
                return;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return },
                () = stopping.cancelled() => {}
            }
        }
    });
}

fn probes(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics::expose))
        .with_state(readiness)
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<BTreeMap<&'static str, String>>) {
    let problems = readiness.problems();
    let status = if problems.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(problems))
}

/// gRPC callers get a gRPC answer, everybody else plain HTTP.
async fn unknown(headers: HeaderMap) -> Response {
    if is_grpc(&headers) {
        let fault = Fault::new(Code::Unimplemented, "UNKNOWN_RPC");
        return fault
            .saying("no such service here; reflection lists those there are")
            .into_status()
            .into_http();
    }
    (StatusCode::NOT_FOUND, "not found\n").into_response()
}
