//! Between messages and our own types; a request's every violation is told at once.

mod choices;
mod media;
mod read;
pub(crate) mod stream;

use bulkhead_edge::wire;
use bulkhead_proto::router::v1 as pb;

use crate::attempt::Attempt;
use crate::chat::{Answer, Block, Media, StopReason, Thinking, ToolUse, Usage};
use crate::failure::{Failure, Persistence};
use crate::generate::Answered;
use crate::plan::Plan;
use crate::price;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use read::prompt;
pub(crate) use read::{Question, command, question, stream_command};

/// The answer of a model, with what it took.
pub(crate) fn response(answered: Answered, attempts: &[Attempt]) -> pb::GenerateResponse {
    let Answered { model, answer, structured_json, continued: _told_in_streams } = answered;
    let Answer { blocks, stop_reason, usage, .. } = answer;
    let stop_reason = match stop_reason {
        StopReason::EndTurn => pb::StopReason::EndTurn,
        StopReason::ToolUse => pb::StopReason::ToolUse,
        StopReason::MaxTokens => pb::StopReason::MaxTokens,
        StopReason::Refusal => pb::StopReason::Refusal,
        StopReason::StopSequence => pb::StopReason::StopSequence,
    };
    pb::GenerateResponse {
        message: Some(message(blocks)),
        stop_reason: stop_reason.into(),
        usage: Some(counted(usage)),
        model,
        attempts: attempts.iter().map(attempt).collect(),
        structured_json,
        cost_usd_micros: price::total(attempts.iter().map(|attempt| attempt.cost_usd_micros)),
    }
}

fn message(blocks: Vec<Block>) -> pb::Message {
    pb::Message { role: pb::Role::Assistant.into(), content: blocks.into_iter().map(block).collect() }
}

fn counted(usage: Usage) -> pb::Usage {
    pb::Usage {
        input_tokens: usage.input_tokens,
        output_tokens: usage.output_tokens,
        cache_read_input_tokens: usage.cache_read_input_tokens,
        cache_creation_input_tokens: usage.cache_creation_input_tokens,
        reasoning_output_tokens: usage.reasoning_output_tokens,
    }
}

/// The answer to a dry run: who would be asked, and nothing that happened.
pub(crate) fn planned_response(plan: &Plan) -> pb::GenerateResponse {
    let planned = |planned: &crate::plan::Planned| pb::Attempt {
        model: planned.name.clone(),
        waited: Some(wire::duration(planned.wait)),
        ..pb::Attempt::default()
    };
    pb::GenerateResponse {
        attempts: plan.planned.iter().map(planned).collect(),
        ..pb::GenerateResponse::default()
    }
}

fn block(block: Block) -> pb::ContentBlock {
    use pb::content_block::Block as Wire;
    let block = match block {
        Block::Text(text) => Wire::Text(text),
        Block::ToolUse(call) => Wire::ToolUse(tool_use(call)),
        Block::ToolResult(result) => Wire::ToolResult(pb::ToolResultBlock {
            tool_use_id: result.id,
            content: result.content,
            is_error: result.is_error,
            parts: result.parts.into_iter().map(self::block).collect(),
        }),
        Block::Thinking(thinking) => Wire::Thinking(self::thinking(thinking)),
        Block::Media(media) => self::media(media),
    };
    pb::ContentBlock { block: Some(block), ..pb::ContentBlock::default() }
}

fn tool_use(call: ToolUse) -> pb::ToolUse {
    let input_json = serde_json::Value::Object(call.input).to_string();
    pb::ToolUse { tool_use_id: call.id, name: call.name, input_json }
}

fn media(media: Media) -> pb::content_block::Block {
    use pb::content_block::Block as Wire;
    match media {
        Media::Image { media_type, content } => {
            Wire::Image(pb::Image { media_type: media_type.to_owned(), content: content.into() })
        }
        Media::Pdf { title, content } => Wire::Document(pb::Document {
            media_type: "application/pdf".to_owned(),
            content: content.into(),
            title,
        }),
        Media::PlainText { title, text } => Wire::Document(pb::Document {
            media_type: "text/plain".to_owned(),
            content: text.into_bytes(),
            title,
        }),
    }
}

fn thinking(thinking: Thinking) -> pb::Thinking {
    pb::Thinking { text: thinking.text, signature: thinking.signature }
}

fn attempt(attempt: &Attempt) -> pb::Attempt {
    let failure = attempt.failure.as_ref();
    pb::Attempt {
        model: attempt.model.clone(),
        outcome: outcome(failure).into(),
        http_status: failure.map_or(200, |failure| failure.http_status.into()),
        error_kind: failure.map_or("", |failure| failure.kind.as_str()).to_owned(),
        error_message: failure.map_or_else(String::new, |failure| failure.message.clone()),
        server_delay: failure.and_then(|failure| failure.server_delay).map(wire::duration),
        waited: Some(wire::duration(attempt.waited)),
        start_time: Some(wire::timestamp(attempt.start)),
        latency: Some(wire::duration(attempt.latency)),
        time_to_first_token: attempt.first_token.map(wire::duration),
        repair: attempt.repair,
        usage: attempt.usage.map(counted),
        cost_usd_micros: attempt.cost_usd_micros,
        ..pb::Attempt::default()
    }
}

fn outcome(failure: Option<&Failure>) -> pb::AttemptOutcome {
    match failure.map(|failure| failure.kind.persistence()) {
        None => pb::AttemptOutcome::Answered,
        Some(Persistence::Transient) => pb::AttemptOutcome::Transient,
        Some(Persistence::Permanent) => pb::AttemptOutcome::Permanent,
        Some(Persistence::Unknown) => pb::AttemptOutcome::Unknown,
    }
}
