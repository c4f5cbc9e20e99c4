//! Whether a service can do its work, and why not.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

/// Named conditions, each met or not with a reason. The service is ready while all are met. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Readiness {
    unmet: Arc<watch::Sender<BTreeMap<&'static str, String>>>,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { unmet: Arc::new(watch::Sender::new(BTreeMap::new())) }
    }
}

impl Readiness {
    /// Ready, until told otherwise.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The condition holds.
    pub fn met(&self, condition: &'static str) {
        self.unmet.send_if_modified(|unmet| unmet.remove(condition).is_some());
    }

    /// The condition does not hold; `why` is for the operator.
    pub fn unmet(&self, condition: &'static str, why: impl Into<String>) {
        let why = why.into();
        self.unmet.send_if_modified(|unmet| unmet.insert(condition, why.clone()).as_ref() != Some(&why));
    }

    /// What does not hold now, by name.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        self.unmet.borrow().clone()
    }

    /// Follows changes.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<&'static str, String>> {
        self.unmet.subscribe()
    }
}
