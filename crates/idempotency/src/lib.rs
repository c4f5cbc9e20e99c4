//! When two requests are one: the same answer, one effect.
//!
//! A [`Request`] is named by its [`Scope`] and known by its [`PayloadDigest`]. The first with a name acts; the
//! same again is answered as the first was and does nothing; another payload under the name is refused
//! (ALREADY_EXISTS, `REQUEST_ID_REUSED`). One that comes while the first is under way waits for it, within
//! its own deadline: there is nothing that the caller would have to try again.
//!
//! What was seen is kept in one of two places. Where a request changes a store, its name is a row of that
//! store, written in the transaction of the change (`bulkhead_sqlite::{claim, record, sweep}`), and stays for
//! [`WINDOW`]. Where it only costs money, the answer itself is kept in [`memory`].

pub mod memory;

use std::fmt::Display;
use std::time::Duration;

use bulkhead_canonical_json::sha256_hex;
use jiff::Timestamp;
use prost::Message;
use uuid::Uuid;

/// How long a store remembers a request: the 30 days that an approval may be open, and a day for retries. By
/// contract.
pub const WINDOW: Duration = Duration::from_secs(31 * 24 * 3_600);

/// Requests that came before this are forgotten now.
#[must_use]
pub fn forgotten_before(now: Timestamp) -> Timestamp {
    now.checked_sub(WINDOW).unwrap_or(Timestamp::MIN)
}

/// Whose request it is. Two callers, or two RPCs, may use the same id without meeting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The caller's tenant.
    pub tenant: String,
    /// The caller, as `kind:tenant/name`.
    pub principal: String,
    /// Name of the RPC.
    pub method: &'static str,
    /// The caller's id for the request.
    pub request_id: Uuid,
}

/// What a request says: SHA-256 over its message.
///
/// The bytes are the message written as protobuf again, every field that this version knows in the order of
/// its number, defaults left out. So the digest does not depend on how a client writes its messages, and stays
/// the same when a later version adds fields that the caller does not send. Left out before are the id itself
/// and what only says how long to wait for an answer: asking again with more patience is the same request.
/// Fields of an unknown version are no part of it, since they have no effect either. A message with a `map`
/// has no such order; no request may have one, which a test keeps so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadDigest(String);

impl PayloadDigest {
    /// Of a message whose `request_id` was taken out.
    #[must_use]
    pub fn of(message: &impl Message) -> Self {
        Self(sha256_hex(message.encode_to_vec()))
    }

    /// 64 lower-case hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name, and what was said under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub scope: Scope,
    /// What it says.
    pub payload: PayloadDigest,
}

impl Request {
    /// A request of `principal`, written as `kind:tenant/name`, in its tenant.
    #[must_use]
    pub fn new(
        tenant: &str,
        principal: &impl Display,
        method: &'static str,
        request_id: Uuid,
        payload: PayloadDigest,
    ) -> Self {
        let scope = Scope { tenant: tenant.to_owned(), principal: principal.to_string(), method, request_id };
        Self { scope, payload }
    }
}

/// What a name means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim<First, Seen> {
    /// Never seen, or forgotten, or its first request had no effect: act.
    New(First),
    /// Seen with this payload: answer with that, and do nothing.
    Seen(Seen),
    /// Seen with another payload.
    Reused,
}

#[cfg(test)]
mod tests {
    use bulkhead_proto::tools::v1::{ToolCall, UndoExecutionRequest};

    use super::*;

    #[test]
    fn payloads_that_would_run_together_differ() {
        let digest = |tool: &str, arguments: &str| {
            PayloadDigest::of(&ToolCall { tool: tool.into(), arguments_json: arguments.into() })
        };
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
        assert_ne!(digest("ab", ""), digest("", "ab"));
        assert_eq!(digest("a", "b"), digest("a", "b"));
    }

    #[test]
    fn a_digest_outlives_the_version_that_made_it() {
        let message = UndoExecutionRequest { execution_id: "x".into(), force: true, ..Default::default() };
        let expected = "812a6e94";
        assert!(
            PayloadDigest::of(&message).as_str().starts_with(expected),
            "{:?}",
            PayloadDigest::of(&message)
        );
    }

    #[test]
    fn the_window_is_counted_back_from_now() {
        let now: Timestamp = "2026-05-09T12:00:00Z".parse().expect("a time");
        assert_eq!(forgotten_before(now).to_string(), "2026-04-08T12:00:00Z");
        assert_eq!(forgotten_before(Timestamp::MIN), Timestamp::MIN);
    }
}
