//! What the model-router answers beyond what all do.

use tonic::Code;

use super::{Happened, Reason, Retry};

pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "ANSWER_WITHHELD",
        codes: &[Code::Unavailable],
        happened: Happened::Yes,
        retry: Retry::AfterWaiting,
        meaning: "models were called, and because the call could not be recorded its answer is not given",
        advice: "send the same request after the delay; models are called, and paid, again",
        metadata: &[],
    },
    Reason {
        name: "BUDGET_EXHAUSTED",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "a budget of the tenant or the session does not pay for another call: what it spent, what is kept back \
                  for open calls and what this one may cost are more than its stop",
        advice: "with a RetryInfo, send the same request after the delay; without one, ask the operator to raise the \
                 budget, or wait for its next period",
        metadata: &[
            "budget",
            "spent_usd_micros",
            "reserved_usd_micros",
            "stop_usd_micros",
            "estimate_usd_micros",
            "route",
            "local_only",
            "attempts",
        ],
    },
    Reason {
        name: "CALLER_RATE_LIMITED",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "a limit of the caller or its tenant has not enough left in this minute, in requests or in tokens; no \
                  model was called",
        advice: "with a RetryInfo, send the same request after the delay; without one it is more than a whole minute \
                 has: send less, or ask for a shorter answer",
        metadata: &["limit", "tokens"],
    },
    Reason {
        name: "COST_LIMIT_REACHED",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "another attempt may cost more than the request or its route allows; `attempts` says what was tried",
        advice: "raise `limits.cost_usd_micros_max`, or ask for a shorter answer with `max_output_tokens`",
        metadata: &[
            "cost_usd_micros_max",
            "cost_usd_micros",
            "estimate_usd_micros",
            "route",
            "local_only",
            "attempts",
        ],
    },
    Reason {
        name: "LOCAL_MODELS_DOWN",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "only a local model may see the request, and every local model of the route is down or held back \
                  for now; it was sent nowhere",
        advice: "send the same request after the delay; `excluded` says what is known of each model",
        metadata: &["route", "local_only", "attempts", "excluded"],
    },
    Reason {
        name: "NO_LOCAL_MODEL",
        codes: &[Code::FailedPrecondition],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "only a local model may see the request, and the route has none; it was sent nowhere",
        advice: "name a route with a local model, or have the operator add one",
        metadata: &["route", "local_only", "attempts", "excluded"],
    },
    Reason {
        name: "NO_MODEL_ANSWERED",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "each model of the route failed or was left out; `attempts` and `excluded` say how and why; where one \
                  answered, and not what was asked for, `flaw` and `raw_text` say what, as in OUTPUT_INVALID",
        advice: "send the same request after the delay, or another route",
        metadata: &["route", "local_only", "attempts", "excluded", "flaw", "raw_text", "raw_text_bytes"],
    },
    Reason {
        name: "OUTPUT_INVALID",
        codes: &[Code::FailedPrecondition],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "models answered, and no answer was what was asked for, also after they were told what was wrong, and no \
                  other model will answer later (else NO_MODEL_ANSWERED); `raw_text` is what the last one wrote: its \
                  text, or its calls as JSON, the first 2,048 bytes",
        advice: "read `raw_text`; ask for less, simplify the schema, or name a route with a more able model",
        metadata: &["route", "local_only", "attempts", "flaw", "raw_text", "raw_text_bytes"],
    },
    Reason {
        name: "REQUEST_NOT_EXPRESSIBLE",
        codes: &[Code::InvalidArgument],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "the request sets fields that the provider of no model of the route has words for; it was sent nowhere",
        advice: "leave out the fields that the violations name, or name a route whose models can be told",
        metadata: &["route", "local_only", "attempts", "excluded"],
    },
    Reason {
        name: "REQUEST_REJECTED_BY_MODEL",
        codes: &[Code::InvalidArgument],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "the provider called the request itself wrong, or it is too long for every model",
        advice: "correct what the violation says, or send less",
        metadata: &["route", "local_only", "attempts", "excluded"],
    },
    Reason {
        name: "ROUTE_NOT_FOUND",
        codes: &[Code::NotFound],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "at an HTTP door: `model` is not the name of a configured route",
        advice: "use one of the routes that the error names, as `GET /v1/models` lists them",
        metadata: &["routes"],
    },
    Reason {
        name: "STREAM_BROKEN",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "the model failed after something of its answer was given, and the route lets nothing follow; the \
                  stream's last message holds what was given",
        advice: "discard what came, and send the same request after the delay",
        metadata: &["route", "local_only", "attempts"],
    },
    Reason {
        name: "TOO_MANY_CALLS",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "as many model calls are open as the router takes; no model was called",
        advice: "send the same request after the delay",
        metadata: &[],
    },
];
