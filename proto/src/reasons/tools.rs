//! What the tool-executor answers beyond what all do. A tool that fails is none of these: it is a ToolResult.

use tonic::Code;

use super::{Happened, Reason, Retry};

pub(super) const REASONS: &[Reason] = &[
    Reason {
        name: "APPROVAL_REFUSED",
        codes: &[Code::Internal],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "the approval service refuses this executor: its credential or the configuration is wrong",
        advice: "tell the operator; the call is recorded, and put to people if that is mended before its time is over",
        metadata: &["execution_id"],
    },
    Reason {
        name: "APPROVAL_UNAVAILABLE",
        codes: &[Code::Unavailable],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "people could not be asked, or are not known to have been; the call is recorded, and put to them \
                  when they can be asked, until its time is over",
        advice: "send the same request_id after the delay to learn how it stands; giving up needs nothing",
        metadata: &["execution_id"],
    },
    Reason {
        name: "CALL_LOST",
        codes: &[Code::Internal],
        happened: Happened::Unknown,
        retry: Retry::Same,
        meaning: "a bug: the work ended without an answer",
        advice: "send the same request_id again to learn the outcome, and tell the operator",
        metadata: &[],
    },
    Reason {
        name: "EXECUTION_NOT_FOUND",
        codes: &[Code::NotFound],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "there is no such execution, or none that the caller may see",
        advice: "use an execution_id from an answer to the same caller",
        metadata: &["execution_id"],
    },
    Reason {
        name: "GRANT_USED",
        codes: &[Code::FailedPrecondition],
        happened: Happened::No,
        retry: Retry::AfterChange,
        meaning: "the approval was used by an equal call already",
        advice: "call again with a new request_id, so that people are asked again",
        metadata: &["approval_id"],
    },
    Reason {
        name: "ILLEGAL_TRANSITION",
        codes: &[Code::Internal],
        happened: Happened::Unknown,
        retry: Retry::Same,
        meaning: "a bug: the execution's states do not allow what was about to be recorded",
        advice: "look at the execution with GetExecution, and tell the operator",
        metadata: &[],
    },
    Reason {
        name: "JOURNAL_CORRUPT",
        codes: &[Code::DataLoss],
        happened: Happened::Unknown,
        retry: Retry::No,
        meaning: "the journal holds a record that does not decode",
        advice: "stop, and have the operator restore the journal or look for what was done in the audit log",
        metadata: &[],
    },
    Reason {
        name: "NOT_UNDOABLE",
        codes: &[Code::FailedPrecondition],
        happened: Happened::No,
        retry: Retry::No,
        meaning: "there is nothing to take back: it did not succeed, changed nothing, or was taken back already",
        advice: "make the change that is wanted as a call of its own",
        metadata: &["execution_id"],
    },
    Reason {
        name: "TOO_MANY_PENDING",
        codes: &[Code::ResourceExhausted],
        happened: Happened::No,
        retry: Retry::AfterWaiting,
        meaning: "as many of the caller's calls wait for people as one caller may have; this one was not recorded",
        advice: "send the same request_id once some are decided",
        metadata: &["principal", "pending"],
    },
];
