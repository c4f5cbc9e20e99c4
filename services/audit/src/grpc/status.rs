//! From errors to the statuses of the contract. The only place that names gRPC codes.

use std::time::Duration;

use bulkhead_edge::Fault;
use tonic::{Code, Status};

use crate::log::{AppendError, SignError};
use crate::query::QueryError;

/// A full disk takes a while; senders keep their events meanwhile.
const RETRY_DELAY: Duration = Duration::from_secs(1);

pub(super) fn append(error: AppendError) -> Status {
    let fault = match &error {
        AppendError::NotWritten(_) => {
            unavailable("the log cannot be written; keep the events and send them again")
        }
        AppendError::Broken => unconfirmed("the log needs a restart; keep the events and send them again"),
        AppendError::Index(_) => {
            unconfirmed("the log's index does not follow; keep the events and send them again")
        }
        AppendError::Reused { event_id } => Fault::new(Code::AlreadyExists, "EVENT_ID_REUSED")
            .saying(format!(
                "event {event_id} was sent before and said something else; nothing of the request is recorded"
            ))
            .with("event_id", event_id),
        AppendError::ReadBack(_) => {
            unavailable("the log cannot be read now; keep the events and send them again")
        }
        AppendError::Closed => unconfirmed("the service is stopping; send the events again"),
        AppendError::Line(_) => Fault::new(Code::Internal, "LINE_NOT_WRITTEN")
            .saying("an event could not be written as a line; nothing of the request is recorded"),
    };
    fault.because(error).into_status()
}

pub(super) fn query(error: QueryError) -> Status {
    let fault = match &error {
        QueryError::Index(_) => unavailable("the index of the log cannot be read now"),
        QueryError::Read { .. } | QueryError::Panicked(_) => unavailable("the log cannot be read now"),
        QueryError::Misplaced { sequence, .. } => Fault::new(Code::DataLoss, "LOG_DAMAGED")
            .saying(format!("line {sequence} of the log is not readable; run `bulkhead audit verify`"))
            .with("sequence", sequence),
    };
    fault.because(error).into_status()
}

pub(super) fn sign(error: SignError) -> Status {
    let fault = match &error {
        SignError::Store(_) => unavailable("the checkpoint cannot be stored now"),
        SignError::Closed => unavailable("the service is stopping; ask again"),
        SignError::Sign(_) => Fault::new(Code::Internal, "CHECKPOINT_NOT_SIGNED")
            .saying("the checkpoint could not be signed; the log of the service has the cause"),
    };
    fault.because(error).into_status()
}

/// Some of the events may be in the log.
fn unconfirmed(message: &str) -> Fault {
    Fault::new(Code::Unavailable, "APPEND_UNCONFIRMED").saying(message).retry_after(RETRY_DELAY)
}

/// Nothing of the request is recorded.
fn unavailable(message: &str) -> Fault {
    Fault::new(Code::Unavailable, "LOG_UNAVAILABLE").saying(message).retry_after(RETRY_DELAY)
}
