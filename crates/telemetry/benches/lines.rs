//! The price of a log line to the call that logs it. `cargo bench -p bulkhead-telemetry --bench lines 2>/dev/null`
//! compares the JSON formatter of `tracing-subscriber`, which writes under the lock of standard error, with what
//! [`bulkhead_telemetry::init`] installs.

use std::time::{Duration, Instant};

use bulkhead_telemetry::TelemetrySettings;
use tracing_subscriber::layer::SubscriberExt as _;

/// Lines per round: enough that the clock does not matter, few enough that none waits for room.
const LINES: u32 = 2_000;
/// Rounds; the middle one counts.
const ROUNDS: usize = 51;

fn call() {
    let span = tracing::info_span!(
        "rpc",
        otel.name = "bulkhead.tools.v1.ToolExecutorService/ExecuteToolCall",
        rpc.service = "bulkhead.tools.v1.ToolExecutorService",
        rpc.method = "ExecuteToolCall",
        request_id = "0190f3a0-0000-7000-8000-000000000000",
        principal = "acme/agent/ada",
    );
    span.in_scope(|| tracing::info!(latency_ms = 1.25, "answered"));
}

/// Time of one call, in nanoseconds, by the middle round.
fn measure() -> u128 {
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..LINES).for_each(|_| call());
            let each = start.elapsed().as_nanos() / u128::from(LINES);
            std::thread::park_timeout(Duration::from_millis(15));
            each
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let json = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_writer(std::io::stderr);
    let direct = tracing::subscriber::with_default(tracing_subscriber::registry().with(json), measure);
    let spans = tracing::subscriber::with_default(tracing_subscriber::registry(), measure);
    let _telemetry = bulkhead_telemetry::init("bench", &TelemetrySettings::default())?;
    let ours = measure();
    #[expect(clippy::print_stdout, reason = "the figures")]
    {
        println!("span alone                 {spans} ns");
        println!("span and line, directly    {direct} ns");
        println!("span, trace and line, ours {ours} ns");
    }
    Ok(())
}
