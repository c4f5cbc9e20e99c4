//! What `--version` says: the version, the commit, and how it was built.
//!
//! A crate of its own, on which only programs depend, so that another commit builds nothing else anew.

/// Such as `0.1.0 (commit 6f1c…, release build for x86_64-unknown-linux-gnu)`. The commit is what the variable
/// `BULKHEAD_COMMIT` said during the build.
pub const VERSION: &str = env!("BULKHEAD_VERSION");
