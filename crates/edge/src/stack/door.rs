//! The door: how many calls may be on their way to an identity at once. Strangers cannot queue work: there is room
//! now, or the call is refused.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::shed::{RETRY_DELAY_MIN, overloaded};
use crate::Fault;

/// Calls that are identified at once. Known tokens take a microsecond; what is in the way is at most as many
/// signatures, or callers who wait for an issuer's keys.
const STRANGERS_MAX: usize = 1_024;

/// Cheap to clone; all clones share the room.
#[derive(Debug, Clone)]
pub struct Door(Arc<Semaphore>);

impl Default for Door {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STRANGERS_MAX)))
    }
}

impl Door {
    /// Room for who is not known yet, given back when dropped.
    pub(super) fn enter(&self) -> Result<SemaphorePermit<'_>, Fault> {
        self.0.try_acquire().map_err(|_full| overloaded(STRANGERS_MAX, RETRY_DELAY_MIN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_taken_is_refused_and_comes_back() {
        let door = Door::default();
        let mut inside: Vec<_> = (0..STRANGERS_MAX).map(|_| door.enter().expect("there is room")).collect();
        let refused = door.enter().expect_err("there is none");
        assert_eq!(refused.into_status().code(), tonic::Code::Unavailable);
        inside.pop();
        assert!(door.enter().is_ok(), "somebody left");
    }
}
