//! What the three simulated models do in the demo.

use bulkhead_provider_sim::{Action, ControlClient, ControlError, RetryAfter, Script, Step, ToolCall};
use serde_json::{Value, json};

use super::workspace::Planted;

/// The models' names at the simulator.
pub(super) const PRIMARY: &str = "sim-primary";
pub(super) const FALLBACK: &str = "sim-fallback";
pub(super) const LOCAL: &str = "sim-local";

/// What the primary's 429 asks for.
pub(super) const TOLD_SECONDS: u64 = 2;

/// What the agent's model writes.
pub(super) const SUMMARY_TEXT: &str = "# Summary\n\n\
    The folder holds notes and a plan. The demo's draft is obsolete and can go.\n";

/// Tells every model what to do.
pub(super) async fn install(control: &ControlClient, planted: &Planted) -> Result<(), ControlError> {
    let primary = Script::once([
        Step::status_after(429, RetryAfter::Seconds(TOLD_SECONDS)),
        Step::tools([
            tool("fs.list", json!({ "path": "." })),
            tool("fs.read", json!({ "path": planted.note })),
        ]),
    ]);
    control.script(PRIMARY, &primary.then(Action::Reset.into())).await?;
    let fallback = Script::once([Step::tools([tool("fs.read", json!({ "path": planted.credential }))])]);
    control.script(FALLBACK, &fallback).await?;
    let local = Script::once([
        Step::tools([tool("fs.write", json!({ "path": planted.summary, "content": SUMMARY_TEXT }))]),
        Step::tools([tool("fs.delete", json!({ "path": planted.obsolete }))]),
        Step::text("The summary is written and the obsolete draft is dealt with."),
    ]);
    control.script(LOCAL, &local).await
}

fn tool(name: &str, input: Value) -> ToolCall {
    ToolCall { name: name.to_owned(), input }
}
