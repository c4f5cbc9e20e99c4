//! Deliberate faults, for proving that a test or a claim can fail.
//!
//! Without the feature `enabled` every failpoint is a constant `false` and the compiler drops the branch:
//! the shipped binaries contain none. With it, `BULKHEAD_FAILPOINTS` names the active ones, separated by
//! commas, and is read once.

/// Name of the environment variable with the active failpoints.
pub const VARIABLE: &str = "BULKHEAD_FAILPOINTS";

/// Whether the failpoint `name` is active in this process.
#[cfg(not(feature = "enabled"))]
#[must_use]
#[inline(always)]
pub const fn active(_name: &str) -> bool {
    false
}

/// Whether the failpoint `name` is active in this process.
#[cfg(feature = "enabled")]
#[must_use]
pub fn active(name: &str) -> bool {
    use std::sync::LazyLock;

    #[expect(clippy::disallowed_methods, reason = "the one place that reads failpoints, in test builds only")]
    static ACTIVE: LazyLock<Vec<String>> = LazyLock::new(|| {
        let value = std::env::var(VARIABLE).unwrap_or_default();
        value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
    });
    ACTIVE.iter().any(|active| active == name)
}

/// Ends the process on the spot, as a kill would, if the failpoint `name` is active.
#[inline]
pub fn die(name: &str) {
    if active(name) {
        std::process::abort();
    }
}
