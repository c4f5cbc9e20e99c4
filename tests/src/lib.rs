//! The sandbox: real binaries, real processes, on free ports and folders of their own.
//!
//! A test gets a [`Sandbox`] with the whole stack, as the people and programs would that use it: addresses
//! from the configuration, tokens from their files. Nothing is shared between tests, and nothing is left
//! behind.

mod binaries;
mod collector;
pub mod command;
mod http;
pub mod probe;
mod sandbox;
mod waiting;

pub use binaries::{Binary, binary};
pub use collector::{Collector, Kept, Logged, hex};
pub use http::get;
pub use sandbox::{Options, Sandbox, processes, send};
pub use waiting::{eventually, within};
