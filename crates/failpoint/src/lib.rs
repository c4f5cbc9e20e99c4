//! Deliberate faults, for proving that a test or a claim can fail.
//!
//! Without the feature `enabled` every failpoint is a constant `false` and the compiler drops the branch:
//! the shipped binaries contain none. With it, `BULKHEAD_FAILPOINTS` names the active ones, separated by
//! commas, and is read once. `name` alone is active at every pass, `name@3` at the third pass of the process
//! and at no other, so that a crash can be put where the same place was passed before. A name that is not
//! listed ([`CRASHES`], [`FAULTS`]) ends the process: a misspelt failpoint must not look like a service
//! that withstood it.

#[cfg(any(test, feature = "enabled"))]
mod told;

mod names;

pub use names::{CRASHES, FAULTS, Failpoint};

/// Name of the environment variable with the active failpoints.
pub const VARIABLE: &str = "BULKHEAD_FAILPOINTS";

/// Whether the failpoint `name` is active in this process, at this pass.
#[cfg(not(feature = "enabled"))]
#[must_use]
#[inline(always)]
pub const fn active(_name: &str) -> bool {
    false
}

/// Whether the failpoint `name` is active in this process, at this pass.
#[cfg(feature = "enabled")]
#[must_use]
pub fn active(name: &str) -> bool {
    use std::sync::LazyLock;

    static TOLD: LazyLock<told::Told> = LazyLock::new(told::by_environment);
    TOLD.pass(name)
}

/// Ends the process on the spot, as a kill would, if the failpoint `name` is active at this pass.
#[inline]
pub fn die(name: &str) {
    if active(name) {
        std::process::abort();
    }
}
