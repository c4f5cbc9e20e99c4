//! One error as the contract wants it: a code, one `ErrorInfo`, and what helps the caller.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bulkhead_proto::ERROR_DOMAIN;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// Builds a `tonic::Status`. The reason is stable and for programs; the message is for people; every
/// variable part also stands in the metadata. The cause is kept for the log of the edge and never sent.
#[derive(Debug, Clone)]
pub struct Fault(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    violations: Vec<FieldViolation>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Fault {
    /// A fault whose message is its reason in words, until [`Fault::saying`] gives a better one.
    #[must_use]
    pub fn new(code: Code, reason: &'static str) -> Self {
        Self(Box::new(Parts {
            code,
            reason,
            message: reason.to_lowercase().replace('_', " "),
            metadata: HashMap::new(),
            retry_after: None,
            violations: Vec::new(),
            cause: None,
        }))
    }

    /// What a person reads. Never put the text of an internal error here.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds a variable part to the `ErrorInfo`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.0.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// Adds a `RetryInfo`: waiting this long may help.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds a field violation to the `BadRequest`.
    #[must_use]
    pub fn violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.violations.push(FieldViolation::new(field, description));
        self
    }

    /// Keeps the internal cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.0.cause = Some(Arc::new(cause));
        self
    }

    /// The stable reason.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The status that goes over the wire; the edge logs the cause when the answer passes it.
    #[must_use]
    pub fn into_status(self) -> Status {
        let parts = *self.0;
        let mut details = ErrorDetails::with_error_info(parts.reason, ERROR_DOMAIN, parts.metadata);
        if parts.retry_after.is_some() {
            details.set_retry_info(parts.retry_after);
        }
        if !parts.violations.is_empty() {
            details.set_bad_request(parts.violations);
        }
        let mut status = Status::with_error_details(parts.code, parts.message, details);
        if let Some(cause) = parts.cause {
            status.set_source(cause);
        }
        status
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        fault.into_status()
    }
}

/// An error and what caused it, outermost first. For logs and for people at a terminal, never for callers.
#[must_use]
pub fn chain(error: &(dyn Error + 'static), separator: &str) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(separator);
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
