//! The approval service through its public contract: real gRPC, a real store, a small audit service.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod asking;
mod audit;
mod deciding;
mod failing;
#[cfg(feature = "failpoints")]
mod failpoints;
mod people;
mod process;
mod sandbox;
mod seeing;
mod watching;
