//! What the edge found out about a call, for its handler.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Extensions;
use tonic::{Code, Request};

use crate::stack::{Deadline, RequestId};
use crate::{Fault, Identity, Principal};

/// Kept back from a caller's deadline when calling on, so that the answer still reaches the caller: a tenth of
/// the time it gave, within these bounds.
const MARGIN_MIN: Duration = Duration::from_millis(50);
const MARGIN_MAX: Duration = Duration::from_secs(1);

/// An identified and authorised call. Only the stack makes one.
#[derive(Debug, Clone)]
pub struct Call {
    identity: Arc<Identity>,
    request_id: RequestId,
    deadline: Instant,
    margin: Duration,
}

/// What is kept back of a timeout.
fn margin(timeout: Duration) -> Duration {
    (timeout / 10).clamp(MARGIN_MIN, MARGIN_MAX)
}

impl Call {
    pub(crate) fn new(identity: Arc<Identity>, request_id: RequestId, deadline: &Deadline) -> Self {
        Self { identity, request_id, deadline: deadline.at, margin: margin(deadline.timeout) }
    }

    /// The call that a request belongs to.
    ///
    /// # Errors
    /// INTERNAL (`EDGE_MISSING`) when the service was mounted without the stack, which no shipped one is.
    pub fn of<T>(request: &Request<T>) -> Result<Self, Fault> {
        Self::within(request.extensions())
    }

    /// The same for a request that came as plain HTTP.
    ///
    /// # Errors
    /// As of [`Call::of`].
    pub fn within(extensions: &Extensions) -> Result<Self, Fault> {
        extensions.get::<Self>().cloned().ok_or_else(|| Fault::new(Code::Internal, "EDGE_MISSING"))
    }

    /// Who calls.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.identity.principal
    }

    /// The caller's tenant.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.identity.principal.tenant
    }

    /// The caller's roles.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.identity.roles
    }

    /// Whether the caller holds a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.identity.roles.iter().any(|held| held == role)
    }

    /// The id under which this call is logged.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.request_id.as_str()
    }

    /// When the caller stops listening.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time left for calls to others: what is left for the caller, less a margin.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).saturating_sub(self.margin)
    }
}
