//! The messages of a stream.

use bulkhead_edge::wire;
use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block as Wire;
use pb::stream_generate_response::Event as Told;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{attempt, message, tool_use};
use crate::attempt::Attempt;
use crate::chat::Block;
use crate::listener::Event;

/// What happens on the way.
pub(crate) fn event(event: Event) -> pb::StreamGenerateResponse {
    match event {
        Event::Text(text) => pb::StreamGenerateResponse { text, event: None },
        Event::Started { attempt: number, model, continues, after, waited } => {
            let (after, waited) = (after.as_ref().map(attempt), Some(wire::duration(waited)));
            told(Told::AttemptStarted(pb::AttemptStarted {
                attempt: number,
                model,
                continues,
                after,
                waited,
            }))
        }
        Event::Reset { text_bytes_kept, failed } => {
            let failed = Some(attempt(&failed));
            told(Told::AttemptReset(pb::AttemptReset { text_bytes_kept, failed }))
        }
        Event::Thinking(thinking) => told(Told::Thinking(super::thinking(thinking))),
        Event::ToolUse(call) => told(Told::ToolUse(tool_use(call))),
    }
}

/// The end of a stream that succeeded.
pub(crate) fn completed(completed: pb::StreamCompleted) -> pb::StreamGenerateResponse {
    told(Told::Completed(completed))
}

/// The end of one that failed: what the status says, and what had been given.
pub(crate) fn failed(status: &Status, given: Vec<Block>, attempts: &[Attempt]) -> pb::StreamGenerateResponse {
    let details = status.get_error_details();
    let reason = details.error_info().map_or_else(String::new, |info| info.reason.clone());
    let retry_delay = details.retry_info().and_then(|retry| retry.retry_delay);
    told(Told::Failed(pb::StreamFailed {
        reason,
        message: status.message().to_owned(),
        partial: (!given.is_empty()).then(|| message(given)),
        attempts: attempts.iter().map(attempt).collect(),
        retry_after: retry_delay.map(wire::duration),
    }))
}

/// A finished stream once more: its text in one piece, as if the model that answered had been the only one.
pub(crate) fn replay(completed: pb::StreamCompleted) -> Vec<pb::StreamGenerateResponse> {
    let response = completed.response.clone().unwrap_or_default();
    let attempt = u32::try_from(response.attempts.len()).unwrap_or(u32::MAX);
    let started = pb::AttemptStarted { attempt, model: response.model, ..pb::AttemptStarted::default() };
    let blocks = response.message.unwrap_or_default().content.into_iter().filter_map(|content| content.block);
    let mut messages = vec![told(Told::AttemptStarted(started))];
    messages.extend(blocks.filter_map(|block| match block {
        Wire::Text(text) => Some(pb::StreamGenerateResponse { text, event: None }),
        Wire::Thinking(thinking) => Some(told(Told::Thinking(thinking))),
        Wire::ToolUse(call) => Some(told(Told::ToolUse(call))),
        // No answer holds one.
        Wire::ToolResult(_) | Wire::Image(_) | Wire::Document(_) => None,
    }));
    messages.push(self::completed(completed));
    messages
}

fn told(event: Told) -> pb::StreamGenerateResponse {
    pb::StreamGenerateResponse { text: String::new(), event: Some(event) }
}
