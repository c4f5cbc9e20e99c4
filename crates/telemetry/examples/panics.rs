//! Logs a line and panics, as a handler might: for the test beside it.

use bulkhead_telemetry::TelemetrySettings;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _telemetry = bulkhead_telemetry::init("panics", &TelemetrySettings::default())?;
    let call = tracing::info_span!("rpc", request_id = "r-1").entered();
    tracing::info!("just before");
    if call.is_none() {
        return Ok(());
    }
    #[expect(clippy::panic, reason = "what the test is about")]
    {
        panic!("deliberate");
    }
}
