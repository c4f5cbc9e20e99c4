//! What the router counts, as docs/metrics.md lists it. Attributes are names from the configuration.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bulkhead_telemetry::metrics::{self, Counter, Histogram, KeyValue};

use crate::attempt::Attempt;
use crate::catalog::Catalog;
use crate::health::Circuit;
use crate::reload::{Catalogs, Current, Standing};
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

static PLACE_WAITS: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    let description = "Wait for a place among the requests that a model has at a time.";
    metrics::seconds("bulkhead.router.limiter.wait.duration", description)
});

/// An attempt waited so long for a place among a model's requests.
pub(crate) fn waited_for_place(model: &str, waited: Duration) {
    PLACE_WAITS.record(waited.as_secs_f64(), &[KeyValue::new("bulkhead.model", model.to_owned())]);
}

/// Shows the circuits of the models, what they are sent at a time, and how the configuration stands, as they are when
/// somebody looks.
pub(crate) fn observe(catalogs: &Catalogs) {
    let description = "1 for the state that the circuit of a model is in, 0 for the others.";
    observe_models(catalogs, "bulkhead.router.circuit", description, |catalog, index| {
        let now = Instant::now();
        let is = catalog.health().state(index, now).circuit(now);
        let states = Circuit::ALL.map(|circuit| (Some(circuit.as_str()), u64::from(circuit == is)));
        states.to_vec()
    });
    let description = "Requests that are open at a model.";
    observe_models(catalogs, "bulkhead.router.concurrency.open", description, |catalog, index| {
        let concurrency = catalog.limits().concurrency(index);
        concurrency.map(|concurrency| (None, concurrency.open().into())).into_iter().collect()
    });
    let description = "Requests that may be open at a model.";
    observe_models(catalogs, "bulkhead.router.concurrency.limit", description, |catalog, index| {
        let concurrency = catalog.limits().concurrency(index);
        concurrency.map(|concurrency| (None, concurrency.limit().into())).into_iter().collect()
    });
    observe_configuration(catalogs);
}

/// What is seen of a model: its value, or one for each of its states.
type Seen = Vec<(Option<&'static str>, u64)>;

fn observe_models(
    catalogs: &Catalogs,
    name: &'static str,
    description: &'static str,
    look: impl Fn(&Catalog, usize) -> Seen + Send + Sync + 'static,
) {
    let current = catalogs.observer();
    let _registered = metrics::meter()
        .u64_observable_gauge(name)
        .with_description(description)
        .with_callback(move |observer| {
            let Some(Current { catalog, .. }) = current() else { return };
            for (index, model) in catalog.models().iter().enumerate() {
                for (state, value) in look(&catalog, index) {
                    let model = KeyValue::new("bulkhead.model", model.name.clone());
                    let state = state.map(|state| KeyValue::new("state", state));
                    let attributes: Vec<KeyValue> = [model].into_iter().chain(state).collect();
                    observer.observe(value, &attributes);
                }
            }
        })
        .build();
}

fn observe_configuration(catalogs: &Catalogs) {
    let current = catalogs.observer();
    let _registered = metrics::meter()
        .u64_observable_gauge("bulkhead.router.config")
        .with_description("1 for how the configuration in force stands to its file, 0 for the others.")
        .with_callback(move |observer| {
            let Some(current) = current() else { return };
            for standing in Standing::ALL {
                let state = KeyValue::new("state", standing.as_str());
                observer.observe(u64::from(standing == current.standing), &[state]);
            }
        })
        .build();
    let current = catalogs.observer();
    let _registered = metrics::meter()
        .f64_observable_gauge("bulkhead.router.config.age")
        .with_unit("s")
        .with_description("Since the configuration in force was taken up.")
        .with_callback(move |observer| {
            let Some(current) = current() else { return };
            observer.observe(current.since.elapsed().as_secs_f64(), &[]);
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
