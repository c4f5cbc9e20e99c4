//! The control protocol, as JSON in both directions.

mod action;
mod record;
mod reply;
mod steps;

pub use action::{Action, Malformed, RetryAfter, StatusFault, StreamBreak, StreamFault, ToolFault};
pub use record::{Answered, RecordedRequest, Requests};
pub use reply::{Reply, StopReason, ToolCall, Usage};
pub use steps::{Script, Step};
