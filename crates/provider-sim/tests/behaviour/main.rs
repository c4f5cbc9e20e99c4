//! The simulator over real connections.
#![expect(clippy::expect_used, reason = "helpers of tests fail by panicking")]

mod asked;
mod bench;
mod plain;
mod stream;
mod tools;
