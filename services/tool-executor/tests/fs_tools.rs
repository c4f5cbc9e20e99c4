//! The file tools through their public face, on real folders.
#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]
#![expect(clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "fs_tools/appending.rs"]
mod appending;
#[path = "fs_tools/escapes.rs"]
mod escapes;
#[path = "fs_tools/moving.rs"]
mod moving;
#[path = "fs_tools/races.rs"]
mod races;
#[path = "fs_tools/reading.rs"]
mod reading;
#[path = "fs_tools/restore.rs"]
mod restore;
#[path = "fs_tools/sandbox.rs"]
mod sandbox;
#[path = "fs_tools/writing.rs"]
mod writing;
