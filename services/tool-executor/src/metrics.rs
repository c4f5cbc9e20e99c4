//! What the executor counts, as docs/metrics.md lists it. Attributes are states and names of registered tools.

use std::sync::LazyLock;
use std::time::Duration;

use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};

use crate::execution::State;
use crate::tool::Outcome;

static EXECUTIONS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    let description = "Executions that came into a state, by state. UNKNOWN ones wait for a person.";
    let watched = [State::Unknown, State::Failed, State::Stale].map(|state| [attribute(state)]);
    metrics::counter("bulkhead.executor.executions", description, &watched.each_ref().map(<[_; 1]>::as_slice))
});

static TOOL_DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Time that a tool took to act, by tool and outcome.";
    metrics::seconds("gen_ai.execute_tool.duration", description)
});

/// Makes the counters show before the first call.
pub(crate) fn register() {
    LazyLock::force(&EXECUTIONS);
    LazyLock::force(&TOOL_DURATION);
}

/// An execution is on disk in this state.
pub(crate) fn entered(state: State) {
    EXECUTIONS.add(1, &[attribute(state)]);
}

/// A tool has acted. `tool` is the name of one that is registered.
pub(crate) fn acted(tool: &str, outcome: &Outcome, took: Duration) {
    let outcome = match outcome {
        Outcome::Succeeded(_) => "succeeded",
        Outcome::Failed(_) => "failed",
        Outcome::Stale(_) => "stale",
        Outcome::Unknown(_) => "unknown",
    };
    let attributes = [KeyValue::new("gen_ai.tool.name", tool.to_owned()), KeyValue::new("outcome", outcome)];
    TOOL_DURATION.record(took.as_secs_f64(), &attributes);
}

fn attribute(state: State) -> KeyValue {
    KeyValue::new("state", state.as_str())
}
