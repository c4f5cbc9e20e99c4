//! What went wrong with a call to a peer, and whether it can have had an effect.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::connect::ConnectError;
use super::target::Target;
use crate::Fault;

/// How soon a call that lost its connection may be made again: another is made meanwhile.
const LOST_RETRY_DELAY: Duration = Duration::from_millis(100);

/// No address of a peer could be connected to.
#[derive(Debug)]
pub(super) struct Unreachable {
    pub(super) cause: Option<Arc<ConnectError>>,
    pub(super) retry_after: Duration,
}

/// Nothing was heard of the peer at all.
#[derive(Debug, thiserror::Error)]
#[error("no connection could be made")]
struct NoConnection(#[source] Option<Arc<ConnectError>>);

impl Unreachable {
    pub(super) fn into_status(self, target: &Target) -> Status {
        unreachable(target, self.retry_after, NoConnection(self.cause))
    }
}

fn unreachable(target: &Target, retry_after: Duration, cause: impl Error + Send + Sync + 'static) -> Status {
    Fault::new(Code::Unavailable, "PEER_UNREACHABLE")
        .saying(format!("{target} cannot be reached; the call was not sent and has had no effect"))
        .with("peer", target)
        .retry_after(retry_after)
        .because(cause)
        .into_status()
}

/// Every connection that the call was given to was gone before it took it.
pub(super) fn not_taken(target: &Target, cause: Option<hyper::Error>) -> Status {
    match cause {
        Some(cause) => unreachable(target, LOST_RETRY_DELAY, cause),
        None => unreachable(target, LOST_RETRY_DELAY, NoConnection(None)),
    }
}

/// The connection broke under a call. Where the peer says that it did not begin with it (RFC 9113, 8.7), that is
/// passed on.
pub(super) fn lost(target: &Target, cause: hyper::Error) -> Status {
    let reset = cause.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    if reset.is_some_and(|reset| reset.is_remote() && reset.reason() == Some(h2::Reason::REFUSED_STREAM)) {
        return unreachable(target, LOST_RETRY_DELAY, cause);
    }
    Fault::new(Code::Unavailable, "PEER_CONNECTION_LOST")
        .saying(format!("the connection to {target} broke under the call, which may have been acted on"))
        .with("peer", target)
        .retry_after(LOST_RETRY_DELAY)
        .because(cause)
        .into_status()
}

/// There was no whole answer by the deadline of the call.
pub(super) fn late(target: &Target) -> Status {
    Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
        .saying(format!(
            "{target} did not answer within the deadline of the call, which may have been acted on"
        ))
        .with("peer", target)
        .into_status()
}

/// What the answer of a peer means for whoever called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerFailure {
    /// The peer was not reached, is draining, or ran out of time or room: the same call may work later.
    Unavailable,
    /// The peer understood and refused: the same call will be refused again.
    Refused,
}

impl PeerFailure {
    /// Sorts a status by whether waiting may help.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        match status.code() {
            Code::Unavailable
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal => Self::Unavailable,
            Code::Ok
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => Self::Refused,
        }
    }
}

/// Whether a call that failed certainly had no effect: it was not sent, or the peer itself turned it away for
/// want of room or because it stops.
#[must_use]
pub fn did_nothing(status: &Status) -> bool {
    match reason(status).as_str() {
        "PEER_UNREACHABLE" => true,
        "PEER_CONNECTION_LOST" => false,
        _ => {
            status.source().is_none() && matches!(status.code(), Code::Unavailable | Code::ResourceExhausted)
        }
    }
}

/// The stable reason in a peer's answer; empty when it gave none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map_or_else(String::new, |info| info.reason)
}
