//! What went wrong, for the person or the script that has to go on.

use bulkhead_edge::PeerError;
use bulkhead_edge::fault::chain;
use bulkhead_proto::reasons::{self, Happened, Reason, Retry};
use serde_json::json;
use tonic::{Code, ConnectError, Status};
use tonic_types::StatusExt as _;

use super::exit::Exit;
use super::target::TargetError;
use super::text::{block, harmless};

/// What our own dialler answers when no connection could be made.
const UNREACHABLE: &str = "PEER_UNREACHABLE";

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The service answered with an error, or did not answer.
    #[error("{}", .0.status.message())]
    Call(#[source] Box<CallError>),
    /// There is no address or no token.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The address is no address.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The command line asks for something that cannot be done.
    #[error("{0}")]
    Usage(String),
    /// It certainly did not happen, for a reason that no service gave.
    #[error("{0}")]
    Failed(String),
    /// The answer breaks the contract.
    #[error("the service answered {0}")]
    Contract(&'static str),
    /// The answer cannot be shown.
    #[error("cannot print the answer")]
    Output(#[from] std::io::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot write the answer as JSON")]
    Json(#[from] super::json::JsonError),
}

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempted}: {}", status.message())]
pub(crate) struct CallError {
    /// What was attempted, such as `read the approval`.
    pub(crate) attempted: &'static str,
    /// The answer.
    pub(crate) status: Status,
    /// The id that makes repeating it safe; none for a call that only reads.
    pub(crate) request_id: Option<String>,
}

impl ClientError {
    /// How the command ends because of it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Call(error) => error.exit(),
            Self::Target(_) | Self::Peer(_) | Self::Usage(_) => Exit::Usage,
            Self::Failed(_) | Self::Contract(_) | Self::Output(_) | Self::Json(_) => Exit::Failed,
        }
    }

    /// What is said on standard error, for people.
    pub(crate) fn explain(&self) -> String {
        match self {
            Self::Call(error) => error.explain(),
            other => harmless(&chain(other, ": ")),
        }
    }

    /// The same for programs.
    pub(crate) fn document(&self) -> serde_json::Value {
        let mut error = match self {
            Self::Call(error) => error.document(),
            other => json!({ "message": chain(other, ": ") }),
        };
        error["exit_code"] = self.exit().code().into();
        json!({ "error": error })
    }
}

impl CallError {
    fn reason(&self) -> String {
        bulkhead_edge::peer::reason(&self.status)
    }

    /// True when the request certainly did not leave this machine.
    fn never_sent(&self) -> bool {
        if self.reason() == UNREACHABLE {
            return true;
        }
        let mut cause = std::error::Error::source(&self.status);
        while let Some(error) = cause {
            if error.is::<ConnectError>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    fn row(&self) -> Option<&'static Reason> {
        reasons::find(&self.reason()).map(|(_, row)| row)
    }

    /// Whether the same request may find what was begun, or meet a better moment.
    pub(crate) fn retry_helps(&self) -> bool {
        match self.row() {
            Some(row) => matches!(row.retry, Retry::Same | Retry::AfterWaiting),
            None => matches!(
                self.status.code(),
                Code::Unavailable
                    | Code::ResourceExhausted
                    | Code::Aborted
                    | Code::DeadlineExceeded
                    | Code::Unknown
                    | Code::Cancelled
            ),
        }
    }

    /// Whether an effect may have taken place although there is no answer that tells. A service that gives a
    /// reason knows; a connection that broke does not.
    fn may_have_happened(&self) -> bool {
        let may = match self.row() {
            Some(row) => row.happened != Happened::No,
            None => {
                !self.never_sent()
                    && matches!(
                        self.status.code(),
                        Code::Unavailable
                            | Code::DeadlineExceeded
                            | Code::Unknown
                            | Code::Internal
                            | Code::Cancelled
                            | Code::DataLoss
                    )
            }
        };
        self.request_id.is_some() && may
    }

    pub(super) fn exit(&self) -> Exit {
        if self.may_have_happened() {
            return Exit::Unknown;
        }
        match self.status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Exit::Refused,
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::DeadlineExceeded
            | Code::Cancelled => Exit::Unavailable,
            Code::Ok
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss => Exit::Failed,
        }
    }

    fn advice(&self) -> String {
        if let (true, Some(id)) = (self.may_have_happened(), &self.request_id) {
            return format!("repeat the command with --request-id {id}: it acts once and tells the outcome");
        }
        let here = match self.exit() {
            Exit::Refused => {
                "use the token of somebody who may: --token-file FILE, or --as NAME with --data DIR"
            }
            Exit::Unavailable if self.never_sent() => {
                "see whether the service runs (`bulkhead up`), whether --endpoint or --data is right, https or http \
                 included, and for https whether --ca names the authority that signed the service's certificate, and \
                 --cert one that the service trusts"
            }
            Exit::Unavailable if self.row().is_none() => "try again later",
            _ => "",
        };
        let table = self.row().map_or("", |row| row.advice);
        [table, here].into_iter().filter(|advice| !advice.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn explain(&self) -> String {
        let mut text = format!("cannot {}: {}", self.attempted, harmless(self.status.message()));
        let details = self.status.get_error_details();
        for violation in details.bad_request().into_iter().flat_map(|bad| &bad.field_violations) {
            let line = format!("{}: {}", violation.field, violation.description);
            text += &format!("\n  field   {}", harmless(&line));
        }
        if let Some(info) = details.error_info() {
            let mut metadata: Vec<_> = info.metadata.iter().collect();
            metadata.sort();
            text += &format!("\n  reason  {}", harmless(&info.reason));
            for (key, value) in metadata {
                text += &format!("\n          {} = {}", harmless(key), block(value, "").trim_end());
            }
        }
        // Only what happened on this side has one: of a service's own error it is kept from callers.
        if let Some(cause) = std::error::Error::source(&self.status) {
            text += &format!("\n  cause   {}", harmless(&chain(cause, ": ")));
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            text += &format!("\n  wait    {:.1} s", delay.as_secs_f64());
        }
        let advice = self.advice();
        if !advice.is_empty() {
            text += &format!("\n  do      {advice}");
        }
        text
    }

    fn document(&self) -> serde_json::Value {
        let details = self.status.get_error_details();
        let delay = details.retry_info().and_then(|info| info.retry_delay);
        let violations = details.bad_request().map(|bad| &bad.field_violations);
        let fields: Vec<_> = violations
            .into_iter()
            .flatten()
            .map(|v| json!({ "field": v.field, "description": v.description }))
            .collect();
        json!({
            "attempted": self.attempted,
            "code": code_name(self.status.code()),
            "reason": self.reason(),
            "message": self.status.message(),
            "metadata": details.error_info().map(|info| &info.metadata),
            "field_violations": fields,
            "retry_after_ms": delay.map(|delay| delay.as_millis().to_string()),
            "advice": self.advice(),
            "request_id": self.request_id,
        })
    }
}

/// `FAILED_PRECONDITION`.
pub(crate) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for character in format!("{code:?}").chars() {
        if character.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(character.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn failed(code: Code, reason: &str, acts: bool) -> CallError {
        let details = match reason {
            "" => ErrorDetails::new(),
            reason => {
                ErrorDetails::with_error_info(reason, "bulkhead", [("a\u{1b}".into(), "b\u{9b}".into())])
            }
        };
        CallError {
            attempted: "vote",
            status: Status::with_error_details(code, "it \u{1b}[2J failed", details),
            request_id: acts.then(|| "01a2".to_owned()),
        }
    }

    #[test]
    fn the_exit_code_tells_what_happened() {
        let table = [
            (Code::Unauthenticated, "CREDENTIAL_REQUIRED", true, Exit::Refused),
            (Code::PermissionDenied, "SELF_APPROVAL", true, Exit::Refused),
            (Code::InvalidArgument, "INVALID_REQUEST", true, Exit::Usage),
            (Code::NotFound, "APPROVAL_NOT_FOUND", false, Exit::Failed),
            (Code::FailedPrecondition, "APPROVAL_SETTLED", true, Exit::Failed),
            (Code::Unavailable, "STORE_UNAVAILABLE", true, Exit::Unavailable),
            (Code::Unavailable, "APPEND_UNCONFIRMED", true, Exit::Unknown),
            (Code::Unknown, "OUTCOME_UNKNOWN", true, Exit::Unknown),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", true, Exit::Unknown),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", false, Exit::Unavailable),
            // A connection that broke gives no reason: a vote may be counted, a list was only not read.
            (Code::Unavailable, "", true, Exit::Unknown),
            (Code::Unavailable, "", false, Exit::Unavailable),
        ];
        for (code, reason, acts, exit) in table {
            assert_eq!(failed(code, reason, acts).exit(), exit, "{code:?} {reason} {acts}");
        }
    }

    #[test]
    fn an_unknown_outcome_names_the_id_that_tells_it() {
        let lost = failed(Code::Unavailable, "", true);
        assert!(lost.explain().contains("--request-id 01a2"), "{}", lost.explain());
        assert_eq!(lost.document()["request_id"], "01a2");
    }

    #[test]
    fn a_refusal_says_what_to_do_and_cannot_write_to_the_terminal() {
        let text = failed(Code::PermissionDenied, "SELF_APPROVAL", true).explain();
        let row = reasons::find("SELF_APPROVAL").unwrap().1;
        assert!(text.contains(row.advice), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
