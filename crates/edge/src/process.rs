//! What every service's `main` does: read the settings, log, serve, drain, say how it ended.

mod arguments;
mod check;
mod health;

use std::error::Error;
use std::future::Future;
use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;

use bulkhead_exit::{Exit, Obstacle};
use bulkhead_telemetry::TelemetrySettings;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use arguments::ServiceArguments;

use crate::fault::chain;
use crate::identity::jwt::KeySourceError;
use crate::settings::{Knob, Loaded, Read, Table};
use crate::tls::TlsError;
use crate::tokens::TokenFileError;
use crate::{Mistakes, PeerError, ServeError, Settings};
use arguments::Action;

/// Told the address once the service is bound.
pub type Announce = Box<dyn FnOnce(SocketAddr) + Send>;

/// Does what the arguments of a service's process ask for: serves until SIGTERM or SIGINT, or looks at the
/// configuration.
///
/// A service prints one JSON line, `{"listening":…,"service":…}`, on standard output once it is bound; everything
/// else goes to standard error. Exits 0 after a drain, and otherwise as [`Exit`] says.
pub fn run<C, S, F>(
    service: &'static str,
    arguments: &ServiceArguments,
    read: impl FnOnce(&mut Table<'_>) -> Option<C>,
    serve: S,
) -> ExitCode
where
    S: FnOnce(C, Announce, CancellationToken) -> F,
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    carry_out(service, arguments, |settings| settings.read_with_knobs(read), serve)
}

/// The same for a service that follows its configuration while it runs.
pub fn run_following<C, S, F>(
    service: &'static str,
    arguments: &ServiceArguments,
    read: Read<C>,
    serve: S,
) -> ExitCode
where
    S: FnOnce(Loaded<C>, Announce, CancellationToken) -> F,
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let load = |settings: Settings| {
        let loaded = settings.follow(read)?;
        let knobs = loaded.knobs.clone();
        Ok((loaded, knobs))
    };
    carry_out(service, arguments, load, serve)
}

fn carry_out<C, S, F>(
    service: &'static str,
    arguments: &ServiceArguments,
    load: impl FnOnce(Settings) -> Result<(C, Vec<Knob>), Mistakes>,
    serve: S,
) -> ExitCode
where
    S: FnOnce(C, Announce, CancellationToken) -> F,
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let settings = Settings::load(&arguments.config, service);
    let action = arguments.action();
    if action == Action::Health {
        return health::report(service, settings.and_then(|settings| settings.edge()));
    }
    match (action, settings.and_then(load)) {
        (Action::Check { json }, config) => check::report(service, config.map(drop), json),
        (Action::Print, Ok((_config, knobs))) => check::print(&knobs),
        (_, Ok((config, _knobs))) => host(service, |announce, shutdown| serve(config, announce, shutdown)),
        (_, Err(mistakes)) => stopped(service, &mistakes, Exit::Misconfigured),
    }
}

/// Runs what needs no configuration the way [`run`] runs a service.
pub fn host<S, F>(service: &'static str, serve: S) -> ExitCode
where
    S: FnOnce(Announce, CancellationToken) -> F,
    F: Future<Output = Result<(), Box<dyn Error + Send + Sync>>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return stopped(service, &error, Exit::Failed),
    };
    let entered = runtime.enter();
    let telemetry = match bulkhead_telemetry::init(service, &TelemetrySettings::from_env()) {
        Ok(telemetry) => telemetry,
        Err(error) => return stopped(service, &error, Exit::Misconfigured),
    };
    drop(entered);
    let served = runtime.block_on(async {
        let shutdown = shutdown_on_signal()?;
        let _kept = outlive_size_limits()?;
        serve(Box::new(move |address| announce(service, address)), shutdown).await
    });
    telemetry.shutdown();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => stopped(service, error.as_ref(), exit(error.as_ref()).unwrap_or(Exit::Failed)),
    }
}

/// How a service ends because of an error: as the first says of whose meaning something is known.
fn exit(error: &(dyn Error + 'static)) -> Option<Exit> {
    meaning(error).or_else(|| exit(error.source()?))
}

fn meaning(error: &(dyn Error + 'static)) -> Option<Exit> {
    if let Some(obstacle) = error.downcast_ref::<Obstacle>() {
        return Some(obstacle.exit());
    }
    let files = error.is::<TokenFileError>() || error.is::<KeySourceError>() || error.is::<TlsError>();
    match error.downcast_ref::<ServeError>() {
        // The first three show their cause as themselves.
        Some(ServeError::Tokens(_) | ServeError::Keys(_) | ServeError::Tls(_)) => Some(Exit::Misconfigured),
        Some(ServeError::Bind { source, .. }) => match source.kind() {
            ErrorKind::AddrInUse => Some(Exit::Taken),
            // It is no address of this machine, or a port that is not ours.
            ErrorKind::AddrNotAvailable | ErrorKind::PermissionDenied => Some(Exit::Misconfigured),
            _ => None,
        },
        _ => (files || error.is::<PeerError>()).then_some(Exit::Misconfigured),
    }
}

fn announce(service: &str, address: SocketAddr) {
    let line = json!({ "listening": address.to_string(), "service": service });
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::warn!(%error, "nobody reads standard output; going on without the announcement");
    }
    tracing::info!(%address, service, "serving");
}

fn shutdown_on_signal() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process and cannot panic")]
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: open calls may finish, new ones are refused");
        token.cancel();
    });
    Ok(shutdown)
}

/// What is written beyond a limit on the size of files (`RLIMIT_FSIZE`) is refused, like on a full disk, instead
/// of ending the process, which is what the signal does that nobody handles.
fn outlive_size_limits() -> std::io::Result<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// Says on standard error, for a person, why the process ends.
fn stopped(service: &str, error: &(dyn Error + 'static), exit: Exit) -> ExitCode {
    let chain = chain(error, "\n  because: ");
    // Nothing is left to tell if standard error is closed too.
    drop(writeln!(std::io::stderr(), "{service}: {chain}"));
    exit.into()
}
