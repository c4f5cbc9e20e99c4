//! The simulator as a process of its own.

use std::io::Write as _;
use std::net::SocketAddr;

use bulkhead_provider_sim::{NAME, run};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// A SIMULATOR of model providers: Anthropic Messages, OpenAI Chat Completions and Ollama chat, with scripted faults.
///
/// It is no model and needs no key. For demos, tests, benches and chaos only. Models named `sim-429-2s`,
/// `sim-reset`, `sim-flap-3` … misbehave by name; any other can be scripted:
///
///   curl -X PUT 'http://127.0.0.1:7199/control/scripts?model=primary' -H 'content-type: application/json'
///     -d '{"steps":[{"action":{"status":{"code":429,"retry_after":{"seconds":2}}}}]}'
///
///   curl http://127.0.0.1:7199/control/requests
#[derive(Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:7199", value_name = "ADDRESS")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let shutdown = CancellationToken::new();
    let running = run(arguments.listen, Box::new(announce), shutdown.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return Ok(ended?),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    shutdown.cancel();
    Ok(running.await?)
}

fn announce(address: SocketAddr) {
    let line = serde_json::json!({ "listening": address.to_string(), "service": NAME });
    if let Err(error) = writeln!(std::io::stdout(), "{line}") {
        tracing::warn!(%error, "nobody reads standard output; going on without the announcement");
    }
}
