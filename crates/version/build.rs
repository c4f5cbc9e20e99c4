//! Tells the crate which commit is built, and how.
//!
//! Only what is stated decides: no clock, no working copy. The same sources, stated the same way, give the same
//! text, so that it is no reason for two builds to differ.

use std::env;

/// States the commit. Whoever builds from a checkout knows it; a build context without `.git` does not.
const COMMIT: &str = "BULKHEAD_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={COMMIT}");
    let commit = stated(COMMIT).unwrap_or_else(|| "not stated".to_owned());
    let [version, profile, target] = ["CARGO_PKG_VERSION", "PROFILE", "TARGET"].map(|name| {
        // cargo sets all three.
        stated(name).unwrap_or_default()
    });
    println!("cargo:rustc-env=BULKHEAD_VERSION={version} (commit {commit}, {profile} build for {target})");
}

#[expect(clippy::disallowed_methods, reason = "this is how cargo and who builds speak to a build script")]
fn stated(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}
