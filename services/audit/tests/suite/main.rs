//! The audit service on real files, over real gRPC, and as a process that is killed.
#![expect(clippy::expect_used, reason = "a broken fixture ends the test")]

mod damage;
#[cfg(feature = "failpoints")]
mod failpoints;
mod files;
mod open;
mod process;
mod rpc;
mod support;
