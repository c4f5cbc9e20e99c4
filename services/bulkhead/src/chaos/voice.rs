//! How agents and people speak to services that may be down, and what they were answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bulkhead_edge::peer::reason;
use bulkhead_proto::reasons;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::{ContentBlock, GenerateRequest, Message, Role};
use bulkhead_proto::tools::v1::Execution;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::client::failure::code_name;

/// Time for one call. Longer than the services' own waits, shorter than most faults.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(3);
/// Before the same request is sent again.
pub(super) const AGAIN_PAUSE: Duration = Duration::from_millis(100);

/// Every error answer and how often it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Errors(Arc<Mutex<BTreeMap<String, u64>>>);

impl Errors {
    /// Counts an answer; true when the same request may be sent again.
    pub(super) fn take(&self, status: &Status) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(named(status)).or_default() += 1;
        matches!(
            status.code(),
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Unknown
                | Code::Aborted
                | Code::Cancelled
                | Code::ResourceExhausted
                | Code::Internal
        )
    }

    /// All of them.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Code and reason of an answer, as `UNAVAILABLE STORE_UNAVAILABLE`.
pub(super) fn named(status: &Status) -> String {
    format!("{} {}", code_name(status.code()), reason(status)).trim_end().to_owned()
}

/// State, and the kind of error if there is one: `FAILED AUDIT_UNAVAILABLE`.
pub(super) fn ending(execution: &Execution) -> String {
    let state = execution.state().as_str_name().trim_start_matches("EXECUTION_STATE_");
    let error = execution.result.as_ref().and_then(|result| result.error.as_ref());
    error.map_or_else(|| state.to_owned(), |error| format!("{state} {}", error.kind))
}

/// A question that any model answers.
pub(super) fn greeting() -> GenerateRequest {
    let content =
        vec![ContentBlock { block: Some(Block::Text("What next?".to_owned())), ..ContentBlock::default() }];
    GenerateRequest {
        request_id: Uuid::now_v7().to_string(),
        messages: vec![Message { role: Role::User.into(), content }],
        ..GenerateRequest::default()
    }
}

/// Whether an answer is one that the contract has a row for, with that code, and no accident.
pub(super) fn is_stated(answer: &str) -> bool {
    let (code, reason) = answer.split_once(' ').unwrap_or((answer, ""));
    let row =
        reasons::find(reason).filter(|(_, row)| row.codes.iter().any(|known| code_name(*known) == code));
    code != code_name(Code::Internal) && row.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_row_is_a_breach() {
        for (answer, stated) in [
            ("UNAVAILABLE STORE_UNAVAILABLE", true),
            ("UNAVAILABLE PEER_CONNECTION_LOST", true),
            ("INTERNAL INTERNAL", false),
            ("UNAVAILABLE", false),
            ("UNKNOWN SOMETHING_ELSE", false),
            ("NOT_FOUND STORE_UNAVAILABLE", false),
        ] {
            assert_eq!(is_stated(answer), stated, "{answer}");
        }
    }
}
