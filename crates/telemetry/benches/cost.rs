//! What telemetry costs a call: `cargo bench -p bulkhead-telemetry --bench cost 2>/dev/null`.
//!
//! Compares the JSON formatter of `tracing-subscriber`, which writes under the lock of standard error, with what
//! [`bulkhead_telemetry::init`] installs, and times one measurement of an RPC.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bulkhead_telemetry::TelemetrySettings;
use bulkhead_telemetry::metrics::{self, KeyValue};
use tracing_subscriber::layer::SubscriberExt as _;

/// Calls per round: enough that the clock does not matter, few enough that every line finds room.
const CALLS: u32 = 2_000;
/// Rounds; the middle one counts.
const ROUNDS: usize = 51;

/// A span and a line as the edge makes them.
fn line() {
    let span = tracing::info_span!(
        target: "bulkhead_bench",
        "rpc",
        otel.name = "bulkhead.tools.v1.ToolExecutorService/ExecuteToolCall",
        rpc.method = "bulkhead.tools.v1.ToolExecutorService/ExecuteToolCall",
        request_id = "0190f3a0-0000-7000-8000-000000000000",
        principal = "acme/agent/ada",
    );
    span.in_scope(|| tracing::info!(target: "bulkhead_bench", latency_ms = 1.25, "answered"));
}

/// Nanoseconds of one call, by the middle round.
fn measure(call: impl Fn()) -> u128 {
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            let each = start.elapsed().as_nanos() / u128::from(CALLS);
            // The writer catches up between the rounds.
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
    let direct =
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), || measure(line));
    let _telemetry = bulkhead_telemetry::init("bench", &TelemetrySettings::default())?;
    let ours = measure(line);
    let duration = metrics::seconds("bench.duration", "Of nothing.");
    let attributes = [
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", "bulkhead.tools.v1.ToolExecutorService/ExecuteToolCall"),
        KeyValue::new("rpc.response.status_code", "OK"),
    ];
    let recorded = measure(|| duration.record(black_box(0.001), &attributes));
    #[expect(clippy::print_stdout, reason = "the figures")]
    {
        println!("span and line, formatted and written at once   {direct:>6} ns");
        println!("span, trace and line, as services do           {ours:>6} ns");
        println!("one measurement with three attributes          {recorded:>6} ns");
    }
    Ok(())
}
