//! A stack as no generated client would ask it: any message of any RPC, as bytes, and what it left behind.

mod callers;
mod footprint;
mod methods;
mod samples;
mod secured;
mod wire;

pub use callers::Callers;
pub use footprint::Footprint;
pub use methods::{Method, implemented, methods};
pub use samples::{World, settle};
pub use secured::Secured;
pub use wire::{Answer, Ask, Wire};
