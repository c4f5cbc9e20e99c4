//! The only place in the service that chooses gRPC codes.

use std::time::Duration;

use bulkhead_edge::Fault;
use tonic::{Code, Status};

use crate::attempt::Attempt;
use crate::catalog::Catalog;
use crate::generate::Unanswered;
use crate::ledger::Exhausted;
use crate::meter::Denied;
use crate::output::Flaw;
use crate::plan::{Excluded, Reason};
use crate::record::RecordError;
use crate::service::GenerateError;
use crate::spend::Cap;

/// After which a full outbox or a crowd may be gone.
const ROOM_RETRY_DELAY: Duration = Duration::from_secs(5);
/// After which a failing store may be back.
const STORE_RETRY_DELAY: Duration = Duration::from_secs(1);
/// Bytes of a wrong answer that an error carries: clients take 8 KiB of trailers, and the rest needs its room.
const RAW_TEXT_BYTES_MAX: usize = 2_048;

impl From<GenerateError> for Status {
    /// Names every variant: a new one is a compile error here, not a silent INTERNAL.
    fn from(error: GenerateError) -> Self {
        let fault = match error {
            GenerateError::RequestIdReused { request_id } => {
                Fault::new(Code::AlreadyExists, "REQUEST_ID_REUSED")
                    .saying("this request id was used with another payload; use a new one")
                    .with("request_id", request_id)
            }
            GenerateError::Unanswered { route, local_only, attempts, why } => {
                let told = unanswered(why, &attempts, local_only);
                told.with("route", route).with("local_only", local_only).with("attempts", summary(&attempts))
            }
            GenerateError::Limited { limit, tokens, retry_after } => limited(&limit, tokens, retry_after),
            GenerateError::Exhausted(exhausted) => budget_exhausted(&exhausted),
            GenerateError::Record(error) => record(error),
            GenerateError::Unreadable(error) => Fault::new(Code::Unavailable, "STORE_UNAVAILABLE")
                .saying("what was spent could not be read")
                .retry_after(STORE_RETRY_DELAY)
                .because(error),
            // It was encoded here, so that this is a defect.
            GenerateError::Kept(error) => Fault::new(Code::Internal, "UNDECLARED_FAILURE").because(error),
            GenerateError::Withheld(error) => Fault::new(Code::Unavailable, "ANSWER_WITHHELD")
                .saying("models were called, and the call could not be recorded, so its answer is not given")
                .retry_after(STORE_RETRY_DELAY)
                .because(error),
        };
        fault.into_status()
    }
}

/// At the HTTP doors a route is the name of a model, and an unknown one has an error of its own there.
pub(crate) fn route_not_found(catalog: &Catalog) -> Fault {
    let known: Vec<&str> = catalog.routes().iter().map(|route| route.name.as_str()).collect();
    let known = known.join(", ");
    Fault::new(Code::NotFound, "ROUTE_NOT_FOUND")
        .saying(format!("`model` must be the name of a configured route: {known}"))
        .with("routes", known)
}

/// A body that could not be had as a whole.
pub(crate) fn unread(cause: impl std::error::Error + Send + Sync + 'static) -> Fault {
    Fault::new(Code::InvalidArgument, "MALFORMED_REQUEST")
        .saying("the body did not come whole")
        .because(cause)
}

/// A stream ended without saying how, or took back what its reader cannot be told to discard.
pub(crate) fn stream_broken() -> Fault {
    Fault::new(Code::Unavailable, "STREAM_BROKEN")
        .saying("the answer broke off in its middle; discard what came")
        .retry_after(STORE_RETRY_DELAY)
}

fn unanswered(why: Unanswered, attempts: &[Attempt], local_only: bool) -> Fault {
    match why {
        Unanswered::NoLocalModel { excluded } => Fault::new(Code::FailedPrecondition, "NO_LOCAL_MODEL")
            .saying("only a local model may see this request, and the route has none; it was sent nowhere")
            .with("excluded", left_out(&excluded)),
        Unanswered::LocalModelsDown { excluded, retry_after } => {
            Fault::new(Code::Unavailable, "LOCAL_MODELS_DOWN")
                .saying(
                    "only a local model may see this request, and none can be tried now; it was sent nowhere",
                )
                .with("excluded", left_out(&excluded))
                .retry_after(retry_after)
        }
        Unanswered::NotExpressible { excluded } => not_expressible(&excluded),
        Unanswered::Broken(failure) => Fault::new(Code::Unavailable, "STREAM_BROKEN")
            .saying(format!("the model failed in the middle of its answer: {}", failure.message))
            .retry_after(failure.server_delay.unwrap_or_default().max(STORE_RETRY_DELAY)),
        Unanswered::OutputInvalid(flaw) => output_invalid(&flaw),
        Unanswered::Denied(Denied::Exhausted(exhausted)) => budget_exhausted(&exhausted),
        Unanswered::Denied(Denied::Cap(cap)) => cost_limit_reached(cap),
        Unanswered::TooLong { excluded } => Fault::new(Code::InvalidArgument, "REQUEST_REJECTED_BY_MODEL")
            .saying(
                "the request is too long for every model of the route that may see it; it was sent nowhere",
            )
            .violation("messages", details(&excluded))
            .with("excluded", left_out(&excluded)),
        Unanswered::Rejected => {
            let said = attempts.last().and_then(|attempt| attempt.failure.as_ref());
            let said = said.map_or("", |failure| failure.message.as_str());
            Fault::new(Code::InvalidArgument, "REQUEST_REJECTED_BY_MODEL")
                .saying(format!("the model's provider refused the request itself: {said}"))
                .violation("messages", said)
        }
        Unanswered::Exhausted { excluded, retry_after, flaw } => {
            let which = if local_only { "no local model of the route" } else { "no model of the route" };
            let fault = Fault::new(Code::Unavailable, "NO_MODEL_ANSWERED")
                .with("excluded", left_out(&excluded))
                .retry_after(retry_after);
            match flaw {
                Some(flaw) => with_flaw(fault, &flaw).saying(format!(
                    "{which} answered what was asked for, and another may later: {}",
                    summary(attempts)
                )),
                None => fault.saying(format!("{which} answered: {}", summary(attempts))),
            }
        }
        Unanswered::Deadline => Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
            .saying(format!("no model answered within the caller's time: {}", summary(attempts))),
    }
}

fn output_invalid(flaw: &Flaw) -> Fault {
    let fault = Fault::new(Code::FailedPrecondition, "OUTPUT_INVALID")
        .saying(format!("no answer was what was asked for; the last: {}", flaw.told));
    with_flaw(fault, flaw)
}

/// With what a model wrote, as much of it as fits into the trailers beside the rest.
fn with_flaw(fault: Fault, flaw: &Flaw) -> Fault {
    let raw = flaw.written();
    let shown = raw.floor_char_boundary(RAW_TEXT_BYTES_MAX);
    fault
        .with("flaw", flaw.told)
        .with("raw_text", raw.get(..shown).unwrap_or_default())
        .with("raw_text_bytes", raw.len())
}

fn limited(limit: &str, tokens: u64, retry_after: Option<Duration>) -> Fault {
    let fault = Fault::new(Code::ResourceExhausted, "CALLER_RATE_LIMITED")
        .with("limit", limit)
        .with("tokens", tokens);
    match retry_after {
        Some(delay) => fault
            .saying(format!("the limit {limit} has not enough left in this minute; no model was called"))
            .retry_after(delay),
        None => fault.saying(format!(
            "the call may take {tokens} tokens, more than the limit {limit} has in a whole minute; no model was called"
        )),
    }
}

fn budget_exhausted(exhausted: &Exhausted) -> Fault {
    let Exhausted { budget, refused, retry_after } = exhausted;
    let fault = Fault::new(Code::ResourceExhausted, "BUDGET_EXHAUSTED")
        .saying(format!("the budget {budget} does not pay for another call"))
        .with("budget", budget)
        .with("spent_usd_micros", refused.spent)
        .with("reserved_usd_micros", refused.reserved)
        .with("stop_usd_micros", refused.stop)
        .with("estimate_usd_micros", refused.wanted);
    match retry_after {
        Some(delay) => fault.retry_after(*delay),
        None => fault,
    }
}

fn cost_limit_reached(cap: Cap) -> Fault {
    let fault = Fault::new(Code::ResourceExhausted, "COST_LIMIT_REACHED");
    match cap {
        Cap::Cost { max_usd_micros, spent_usd_micros, next_usd_micros } => fault
            .saying("another attempt may cost more than the request allows")
            .with("cost_usd_micros_max", max_usd_micros)
            .with("cost_usd_micros", spent_usd_micros)
            .with("estimate_usd_micros", next_usd_micros),
        Cap::Attempts | Cap::Unpriced => {
            fault.saying("the request bounds its cost, and the models that are left have no price")
        }
    }
}

/// Names every field that keeps a model from being asked.
fn not_expressible(excluded: &[Excluded]) -> Fault {
    let mut fault = Fault::new(Code::InvalidArgument, "REQUEST_NOT_EXPRESSIBLE")
        .saying(format!("no model of the route can be told all that is asked for: {}", left_out(excluded)))
        .with("excluded", left_out(excluded));
    for excluded in excluded {
        let Reason::NotExpressible(fields) = &excluded.reason else { continue };
        for field in fields {
            fault = fault.violation(*field, format!("the provider of {} has no words for it", excluded.name));
        }
    }
    fault
}

fn record(error: RecordError) -> Fault {
    let fault = match &error {
        RecordError::Full { waiting } => Fault::new(Code::ResourceExhausted, "OUTBOX_FULL")
            .saying("too many events wait for the audit service; models are called again once it takes them")
            .with("waiting", waiting)
            .retry_after(ROOM_RETRY_DELAY),
        RecordError::Busy => Fault::new(Code::ResourceExhausted, "TOO_MANY_CALLS")
            .saying("too many model calls are open; try again shortly")
            .retry_after(STORE_RETRY_DELAY),
        RecordError::Troubled
        | RecordError::Outbox(_)
        | RecordError::Write(_)
        | RecordError::Read(_)
        | RecordError::Lost(_) => Fault::new(Code::Unavailable, "STORE_UNAVAILABLE")
            .saying("the call could not be recorded, so no model was called")
            .retry_after(STORE_RETRY_DELAY),
    };
    fault.because(error)
}

/// Each attempt in a few words.
fn summary(attempts: &[Attempt]) -> String {
    if attempts.is_empty() {
        return "none was tried".to_owned();
    }
    attempts.iter().map(Attempt::summary).collect::<Vec<_>>().join("; ")
}

fn left_out(excluded: &[Excluded]) -> String {
    let lines = excluded.iter().map(|excluded| format!("{}: {}", excluded.name, excluded.reason.as_str()));
    lines.collect::<Vec<_>>().join("; ")
}

/// Why each model was left out, for a person.
fn details(excluded: &[Excluded]) -> String {
    let lines = excluded.iter().map(|excluded| format!("{}: {}", excluded.name, excluded.detail));
    lines.collect::<Vec<_>>().join("; ")
}
