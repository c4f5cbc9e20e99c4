//! The file tools through their public face, on real folders.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "fs_tools/sandbox.rs"]
mod sandbox;
#[path = "fs_tools/writing.rs"]
mod writing;
