//! What services that keep something have in common.

use tonic::Code;

use super::{Happened, Reason, Retry};

pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "OUTBOX_FULL",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "too many events wait for the audit service, so nothing is done that would need another",
        advice: "send the same request after the delay; operators see why audit does not take events",
        metadata: &["waiting"],
    },
    Reason {
        name: "OUTCOME_UNKNOWN",
        codes: &[Code::Unknown],
        happened: Happened::Unknown,
        retry: Retry::Same,
        meaning: "the store failed while committing, so the change may or may not be on disk",
        advice: "send the same request_id again; it acts once and tells the outcome",
        metadata: &[],
    },
    Reason {
        name: "REQUEST_ID_REUSED",
        codes: &[Code::AlreadyExists],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "the request_id was used with another payload by the same caller",
        advice: "make a new UUID for a new request",
        metadata: &["request_id"],
    },
    Reason {
        name: "REVISION_CONFLICT",
        codes: &[Code::Aborted],
        happened: Happened::No,
        retry: Retry::Same,
        meaning: "somebody else changed the same thing at the same moment",
        advice: "send the same request again",
        metadata: &["approval_id", "execution_id", "revision"],
    },
    Reason {
        name: "STORE_UNAVAILABLE",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "the service's store cannot be read or written now",
        advice: "send the same request after the delay; operators look at the disk and at /readyz",
        metadata: &[],
    },
];
