//! What went wrong with an attempt, and what follows from it. Pure tables.

pub mod delay;
pub mod message;

use std::time::Duration;

use crate::circuit::FailureClass;

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What sort.
    pub kind: Kind,
    /// HTTP status, or 0 where no response came.
    pub http_status: u16,
    /// For a person: our own words, never the provider's (see [`message`]).
    pub message: String,
    /// What the server asked to wait.
    pub server_delay: Option<Duration>,
}

/// Sorts of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 429.
    RateLimited,
    /// 503, 529.
    Overloaded,
    /// Any other 5xx, and the 4xx that say "again" (409, 425).
    ServerError,
    /// 408 or 504: the server itself gave up waiting.
    ServerTimeout,
    /// Nothing, or not enough, came within the limit.
    Silence,
    /// No connection: refused, unreachable, unresolved, TLS.
    Connect,
    /// A model marked local has an address that is not.
    NotLocal,
    /// The connection ended before the answer did.
    Reset,
    /// The answer breaks the provider's format.
    Malformed,
    /// The answer keeps the format and cannot be used: what a model writes after a prompt that leads it there.
    Unfit,
    /// The model declined, and the route lets another one be asked.
    Refusal,
    /// 401.
    Unauthenticated,
    /// 402, or credit that ran out.
    Quota,
    /// 403.
    Forbidden,
    /// The request's clearance does not cover this model; nothing was sent.
    NotCleared,
    /// 404, or an endpoint that is none.
    ModelNotFound,
    /// 400, 413, 422: the request itself is wrong.
    InvalidRequest,
    /// The conversation does not fit this model.
    ContextLength,
}

/// Whether the same may happen again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It may pass.
    Transient,
    /// The same model will fail again.
    Permanent,
    /// No answer came; the provider may have done the work.
    Unknown,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    /// The same model may be tried again, so many times.
    Retry {
        /// At most; none: as the model's configuration allows.
        retries_max: Option<u32>,
    },
    /// This model will not do; nothing is wrong with it.
    NextModel,
    /// This model will not do, for anybody, for a while.
    MarkAndNext,
    /// No model will do.
    EndRequest,
}

impl Kind {
    /// What an HTTP status means before a provider's own rules.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            402 => Self::Quota,
            403 => Self::Forbidden,
            400 | 413 | 422 => Self::InvalidRequest,
            408 | 504 => Self::ServerTimeout,
            409 | 425 => Self::ServerError,
            429 => Self::RateLimited,
            503 | 529 => Self::Overloaded,
            500..=599 => Self::ServerError,
            // 404, other 4xx and redirects, which are not followed: the endpoint is not what it should be.
            _ => Self::ModelNotFound,
        }
    }

    /// The stable word of the contract.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "RATE_LIMITED",
            Self::Overloaded => "OVERLOADED",
            Self::ServerError => "SERVER_ERROR",
            Self::ServerTimeout | Self::Silence => "TIMEOUT",
            Self::Connect | Self::NotLocal => "CONNECT",
            Self::Reset => "RESET",
            Self::Malformed | Self::Unfit => "MALFORMED",
            Self::Refusal => "REFUSAL",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Quota => "QUOTA",
            Self::Forbidden | Self::NotCleared => "FORBIDDEN",
            Self::ModelNotFound => "MODEL_NOT_FOUND",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::ContextLength => "CONTEXT_LENGTH",
        }
    }

    /// What follows from it.
    #[must_use]
    pub fn course(self) -> Course {
        match self {
            Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::ServerTimeout
            | Self::Connect
            | Self::Reset => Course::Retry { retries_max: None },
            // A model that talks nonsense twice in a row will do so a third time.
            Self::Malformed | Self::Unfit => Course::Retry { retries_max: Some(1) },
            // Silence has cost the whole limit already; another model is the better use of what is left.
            Self::Silence | Self::ContextLength | Self::NotCleared | Self::Refusal => Course::NextModel,
            Self::NotLocal | Self::Unauthenticated | Self::Quota | Self::Forbidden | Self::ModelNotFound => {
                Course::MarkAndNext
            }
            Self::InvalidRequest => Course::EndRequest,
        }
    }

    /// Whether it may pass.
    #[must_use]
    pub fn persistence(self) -> Persistence {
        match self {
            Self::Silence | Self::Reset => Persistence::Unknown,
            Self::RateLimited
            | Self::Overloaded
            | Self::ServerError
            | Self::ServerTimeout
            | Self::Connect
            | Self::Malformed
            | Self::Unfit => Persistence::Transient,
            Self::NotLocal
            | Self::Refusal
            | Self::Unauthenticated
            | Self::Quota
            | Self::Forbidden
            | Self::NotCleared
            | Self::ModelNotFound
            | Self::InvalidRequest
            | Self::ContextLength => Persistence::Permanent,
        }
    }

    /// Whether the same request may be answered later. What a prompt led the model to write, it leads it to again.
    #[must_use]
    pub fn may_pass(self) -> bool {
        self != Self::Unfit && self.persistence() != Persistence::Permanent
    }

    /// The circuit of the model that it counts towards. A rate limit is no sign of ill health, a bad request is not the
    /// model's fault, and an unfit answer may be the prompt's, which shall not take the model from all others.
    #[must_use]
    pub fn class(self) -> Option<FailureClass> {
        match self {
            Self::Connect => Some(FailureClass::Unreachable),
            Self::ServerError | Self::Reset | Self::Malformed => Some(FailureClass::Failing),
            Self::Overloaded => Some(FailureClass::Overloaded),
            Self::ServerTimeout | Self::Silence => Some(FailureClass::Silent),
            Self::RateLimited
            | Self::NotLocal
            | Self::Unfit
            | Self::Refusal
            | Self::Unauthenticated
            | Self::Quota
            | Self::Forbidden
            | Self::NotCleared
            | Self::ModelNotFound
            | Self::InvalidRequest
            | Self::ContextLength => None,
        }
    }
}

impl Failure {
    /// A failure without a response.
    #[must_use]
    pub fn without_response(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, http_status: 0, message: message.into(), server_delay: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_follow_the_table_of_the_contract() {
        use Course as C;
        let retry = C::Retry { retries_max: None };
        let cases = [
            (400, "INVALID_REQUEST", C::EndRequest),
            (413, "INVALID_REQUEST", C::EndRequest),
            (422, "INVALID_REQUEST", C::EndRequest),
            (401, "UNAUTHENTICATED", C::MarkAndNext),
            (402, "QUOTA", C::MarkAndNext),
            (403, "FORBIDDEN", C::MarkAndNext),
            (404, "MODEL_NOT_FOUND", C::MarkAndNext),
            (405, "MODEL_NOT_FOUND", C::MarkAndNext),
            (302, "MODEL_NOT_FOUND", C::MarkAndNext),
            (408, "TIMEOUT", retry),
            (429, "RATE_LIMITED", retry),
            (500, "SERVER_ERROR", retry),
            (502, "SERVER_ERROR", retry),
            (503, "OVERLOADED", retry),
            (504, "TIMEOUT", retry),
            (529, "OVERLOADED", retry),
        ];
        for (status, word, course) in cases {
            let kind = Kind::of_status(status);
            assert_eq!((kind.as_str(), kind.course()), (word, course), "{status}");
        }
    }

    #[test]
    fn a_rate_limit_or_a_bad_request_opens_no_circuit() {
        for status in [400, 401, 402, 403, 404, 422, 429] {
            assert!(Kind::of_status(status).class().is_none(), "{status}");
        }
        assert!(Kind::Unfit.class().is_none(), "a prompt can bring it about");
        for status in [408, 500, 503, 504, 529] {
            assert!(Kind::of_status(status).class().is_some(), "{status}");
        }
    }
}
