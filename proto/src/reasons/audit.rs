//! What the audit service answers beyond what all do.

use tonic::Code;

use super::{Happened, Reason, Retry};

pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "APPEND_UNCONFIRMED",
        codes: &[Code::Unavailable],
        happened: Happened::Unknown,
        retry: Retry::AfterWaiting,
        meaning: "the events may or may not be in the log: it failed while writing, or stopped before it answered",
        advice: "keep the events and send them again after the delay; those that are there are recognised by their ids",
        metadata: &[],
    },
    Reason {
        name: "CHECKPOINT_NOT_SIGNED",
        codes: &[Code::Internal],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "the checkpoint could not be signed with the log's key",
        advice: "tell the operator; the service's log has the cause",
        metadata: &[],
    },
    Reason {
        name: "EVENT_ID_REUSED",
        codes: &[Code::AlreadyExists],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "an event_id stands for another event, recorded or earlier in the batch; none of the batch is recorded",
        advice: "give each event an id of its own",
        metadata: &["event_id"],
    },
    Reason {
        name: "INVALID_EVENT",
        codes: &[Code::InvalidArgument],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "an event of the batch breaks the contract; the BadRequest names the fields; none is recorded",
        advice: "correct the named fields, or send the batch without the event",
        metadata: &["violations_left_out"],
    },
    Reason {
        name: "LINE_NOT_WRITTEN",
        codes: &[Code::Internal],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "a bug: an event that passed every check cannot be written as a line; none of the batch is recorded",
        advice: "tell the operator",
        metadata: &[],
    },
    Reason {
        name: "LOG_DAMAGED",
        codes: &[Code::DataLoss],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "a line of the log is not what the index says stands there",
        advice: "run `bulkhead audit verify`",
        metadata: &["sequence"],
    },
    Reason {
        name: "LOG_UNAVAILABLE",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "the log cannot be written or read now, as when the disk is full; nothing of the request is recorded",
        advice: "keep the events, and send the same request after the delay",
        metadata: &[],
    },
];
