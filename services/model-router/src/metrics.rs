//! What the router counts, as docs/metrics.md lists it. Attributes are names from the configuration.

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use bulkhead_telemetry::metrics::{self, BoundCounter, BoundHistogram, Counter, Histogram, KeyValue};

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

/// Waits for a place among the requests of one model; there from the first on.
#[derive(Debug, Default)]
pub(crate) struct PlaceWaits(OnceLock<BoundHistogram<f64>>);

impl PlaceWaits {
    /// An attempt with the model of that name waited so long.
    pub(crate) fn waited(&self, model: &str, waited: Duration) {
        let bound = self.0.get_or_init(|| PLACE_WAITS.bind(&[named(model)]));
        bound.record(waited.as_secs_f64());
    }
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
                    let model = named(&model.name);
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

/// What is counted of the requests to one model. What most of them record is bound at the first of them.
#[derive(Debug)]
pub(crate) struct Requests {
    model: KeyValue,
    /// As the GenAI conventions want it told.
    called: [KeyValue; 3],
    answered: OnceLock<BoundCounter<u64>>,
    duration: OnceLock<BoundHistogram<f64>>,
    first_token: OnceLock<BoundHistogram<f64>>,
    input_tokens: OnceLock<BoundHistogram<u64>>,
    output_tokens: OnceLock<BoundHistogram<u64>>,
}

impl Requests {
    /// None yet, of the model that the configuration calls `name`.
    pub(crate) fn new(name: &str, target: &Target) -> Self {
        Self {
            model: named(name),
            called: [
                KeyValue::new("gen_ai.operation.name", "chat"),
                KeyValue::new("gen_ai.provider.name", target.adapter.name),
                KeyValue::new("gen_ai.request.model", Arc::<str>::from(target.provider_model.as_str())),
            ],
            answered: OnceLock::new(),
            duration: OnceLock::new(),
            first_token: OnceLock::new(),
            input_tokens: OnceLock::new(),
            output_tokens: OnceLock::new(),
        }
    }

    /// One is over.
    pub(crate) fn ended(&self, attempt: &Attempt) {
        let seconds = attempt.latency.as_secs_f64();
        if let Some(first_token) = attempt.first_token {
            let bound = self.first_token.get_or_init(|| FIRST_TOKEN.bind(&self.called));
            bound.record(first_token.as_secs_f64());
        }
        match &attempt.failure {
            None => {
                self.answered.get_or_init(|| ATTEMPTS.bind(&self.outcome(attempt))).add(1);
                self.duration.get_or_init(|| DURATION.bind(&self.called)).record(seconds);
            }
            Some(failure) => {
                ATTEMPTS.add(1, &self.outcome(attempt));
                DURATION.record(seconds, &self.and("error.type", failure.kind.as_str()));
            }
        }
        let Some(usage) = attempt.usage else { return };
        let bind = |kind| TOKENS.bind(&self.and("gen_ai.token.type", kind));
        self.input_tokens.get_or_init(|| bind("input")).record(usage.input_tokens);
        self.output_tokens.get_or_init(|| bind("output")).record(usage.output_tokens);
    }

    fn outcome(&self, attempt: &Attempt) -> [KeyValue; 2] {
        [self.model.clone(), KeyValue::new("outcome", attempt.outcome())]
    }

    fn and(&self, key: &'static str, value: &'static str) -> [KeyValue; 4] {
        let [operation, provider, model] = self.called.clone();
        [operation, provider, model, KeyValue::new(key, value)]
    }
}

/// The name in the configuration.
fn named(model: &str) -> KeyValue {
    KeyValue::new("bulkhead.model", Arc::<str>::from(model))
}
