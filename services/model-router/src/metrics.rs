//! What the router counts, as docs/metrics.md lists it. Attributes are names from the configuration.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};

use crate::attempt::Attempt;
use crate::catalog::Catalog;
use crate::health::Circuit;
use crate::upstream::Target;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Time of one request to a model, by provider, model and error.";
    metrics::seconds("gen_ai.client.operation.duration", description)
});

static FIRST_TOKEN: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "From a request to a model to the first token of its stream, by provider and model.";
    metrics::seconds("gen_ai.client.operation.time_to_first_chunk", description)
});

/// Up to 2^20 tokens told apart: the largest context windows.
static TOKENS: LazyLock<Histogram<u64>> = LazyLock::new(|| {
    metrics::sizes("gen_ai.client.token.usage", "Tokens of one answer, as the provider counts them.", 20)
});

static ATTEMPTS: LazyLock<Counter<u64>> = LazyLock::new(|| {
    metrics::counter("bulkhead.router.attempts", "Requests to models, by model and outcome.", &[])
});

/// Shows the circuits of the models as they are when somebody looks.
pub(crate) fn observe(catalog: &Arc<Catalog>) {
    let catalog = Arc::downgrade(catalog);
    let _registered = metrics::meter()
        .u64_observable_gauge("bulkhead.router.circuit")
        .with_description("1 for the state that the circuit of a model is in, 0 for the others.")
        .with_callback(move |observer| {
            let Some(catalog) = catalog.upgrade() else { return };
            let now = Instant::now();
            for (index, model) in catalog.models().iter().enumerate() {
                let is = catalog.health().state(index, now).circuit(now);
                for circuit in Circuit::ALL {
                    let attributes = [
                        KeyValue::new("bulkhead.model", model.name.clone()),
                        KeyValue::new("state", circuit.as_str()),
                    ];
                    observer.observe(u64::from(circuit == is), &attributes);
                }
            }
        })
        .build();
}

/// One request to a model is over.
pub(crate) fn attempted(attempt: &Attempt) {
    let model = KeyValue::new("bulkhead.model", attempt.model.clone());
    ATTEMPTS.add(1, &[model, KeyValue::new("outcome", attempt.outcome())]);
}

/// The same as the GenAI conventions want it told.
pub(crate) fn called(target: &Target, attempt: &Attempt) {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", "chat"),
        KeyValue::new("gen_ai.provider.name", target.adapter.name),
        KeyValue::new("gen_ai.request.model", target.provider_model.clone()),
    ];
    if let Some(first_token) = attempt.first_token {
        FIRST_TOKEN.record(first_token.as_secs_f64(), &attributes);
    }
    if let Some(failure) = &attempt.failure {
        attributes.push(KeyValue::new("error.type", failure.kind.as_str()));
    }
    DURATION.record(attempt.latency.as_secs_f64(), &attributes);
    let Some(usage) = attempt.usage else { return };
    for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
        attributes.truncate(3);
        attributes.push(KeyValue::new("gen_ai.token.type", kind));
        TOKENS.record(tokens, &attributes);
    }
}
