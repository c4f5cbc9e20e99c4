//! The executor in process, over real gRPC, with a real journal; the approval and audit services are small
//! fakes that sign and record like the real ones.

#![expect(clippy::expect_used, reason = "a test that cannot set its scene fails by saying why")]
#![expect(clippy::panic, reason = "a condition that never comes ends the test")]

mod fakes;
mod note;
mod world;

#[cfg(feature = "failpoints")]
mod failpoints;
mod failure;
mod files;
mod gate;
mod input;
mod leaving;
mod once;
mod restart;
mod undo;
