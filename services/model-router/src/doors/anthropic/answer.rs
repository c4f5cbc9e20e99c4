//! An answer of the contract, in the API's terms.

use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use serde_json::{Value, json};

use crate::doors::{Reply, dry_run};
use crate::provider::REDACTED;

pub(super) fn message(response: &pb::GenerateResponse, reply: &Reply) -> Value {
    let blocks = response.message.iter().flat_map(|message| &message.content);
    let content: Vec<Value> = if response.structured_json.is_empty() {
        blocks.filter_map(|content| block(content.block.as_ref()?)).collect()
    } else {
        vec![json!({ "type": "text", "text": response.structured_json })]
    };
    let mut message = json!({
        "id": id(reply),
        "type": "message",
        "role": "assistant",
        "model": reply.route,
        "content": content,
        "stop_reason": stop_reason(response.stop_reason()),
        // The contract does not say which.
        "stop_sequence": null,
        "usage": usage(response.usage.as_ref()),
    });
    if let Some(plan) = dry_run(response) {
        message["bulkhead"] = plan;
    }
    message
}

/// The same for whoever asks again with the same request id.
pub(super) fn id(reply: &Reply) -> String {
    format!("msg_{}", reply.request_id.simple())
}

fn block(block: &Block) -> Option<Value> {
    match block {
        Block::Text(text) => Some(json!({ "type": "text", "text": text })),
        Block::ToolUse(wanted) => {
            let input = input(wanted);
            Some(json!({ "type": "tool_use", "id": wanted.tool_use_id, "name": wanted.name, "input": input }))
        }
        Block::Thinking(thinking) => Some(thought(thinking)),
        // They are in no answer.
        Block::ToolResult(_) | Block::Image(_) | Block::Document(_) => None,
    }
}

/// The contract has it as the model wrote it, and promises an object.
fn input(wanted: &pb::ToolUse) -> Value {
    serde_json::from_str(&wanted.input_json).unwrap_or_else(|_not_json| json!({}))
}

fn thought(thinking: &pb::Thinking) -> Value {
    match thinking.signature.strip_prefix(REDACTED) {
        Some(encrypted) => json!({ "type": "redacted_thinking", "data": encrypted }),
        None => json!({ "type": "thinking", "thinking": thinking.text, "signature": thinking.signature }),
    }
}

pub(super) fn stop_reason(reason: pb::StopReason) -> &'static str {
    match reason {
        pb::StopReason::Unspecified | pb::StopReason::EndTurn => "end_turn",
        pb::StopReason::StopSequence => "stop_sequence",
        pb::StopReason::ToolUse => "tool_use",
        pb::StopReason::MaxTokens => "max_tokens",
        pb::StopReason::Refusal => "refusal",
    }
}

/// The API counts what went through a cache apart, the contract as a part.
pub(super) fn usage(usage: Option<&pb::Usage>) -> Value {
    let usage = usage.copied().unwrap_or_default();
    let (read, created) = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens);
    json!({
        "input_tokens": usage.input_tokens.saturating_sub(read).saturating_sub(created),
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": created,
        "output_tokens": usage.output_tokens,
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::doors::media;

    fn reply() -> Reply {
        let request_id = Uuid::from_u128(7);
        Reply { request_id, route: "default".into(), time: "2026-05-09T12:00:00Z".parse().expect("a time") }
    }

    fn response(content: Vec<Block>, stop_reason: pb::StopReason) -> pb::GenerateResponse {
        let content = content.into_iter().map(media::block).collect();
        pb::GenerateResponse {
            message: Some(pb::Message { role: pb::Role::Assistant.into(), content }),
            stop_reason: stop_reason.into(),
            usage: Some(pb::Usage {
                input_tokens: 12,
                output_tokens: 5,
                cache_read_input_tokens: 8,
                cache_creation_input_tokens: 1,
                reasoning_output_tokens: 2,
            }),
            model: "primary".into(),
            ..pb::GenerateResponse::default()
        }
    }

    #[test]
    fn an_answer_is_written_as_clients_read_it() {
        let thinking = |text: &str, signature: &str| {
            Block::Thinking(pb::Thinking { text: text.into(), signature: signature.into() })
        };
        let wanted = pb::ToolUse {
            tool_use_id: "t1".into(),
            name: "fs.read".into(),
            input_json: r#"{"path":"a.md"}"#.into(),
        };
        let blocks = vec![
            thinking("hm", "s1"),
            thinking("", "redacted_thinking:s2"),
            Block::Text("I look.".into()),
            Block::ToolUse(wanted),
        ];
        let expected = json!({
            "id": "msg_00000000000000000000000000000007",
            "type": "message",
            "role": "assistant",
            "model": "default",
            "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s1" },
                { "type": "redacted_thinking", "data": "s2" },
                { "type": "text", "text": "I look." },
                { "type": "tool_use", "id": "t1", "name": "fs.read", "input": { "path": "a.md" } },
            ],
            "stop_reason": "tool_use",
            "stop_sequence": null,
            "usage": {
                "input_tokens": 3, "cache_read_input_tokens": 8, "cache_creation_input_tokens": 1,
                "output_tokens": 5,
            },
        });
        assert_eq!(message(&response(blocks, pb::StopReason::ToolUse), &reply()), expected);
    }

    #[test]
    fn each_stop_reason_has_its_word() {
        for (reason, word) in [
            (pb::StopReason::EndTurn, "end_turn"),
            (pb::StopReason::StopSequence, "stop_sequence"),
            (pb::StopReason::MaxTokens, "max_tokens"),
            (pb::StopReason::Refusal, "refusal"),
        ] {
            assert_eq!(
                message(&response(vec![Block::Text("No.".into())], reason), &reply())["stop_reason"],
                word
            );
        }
    }

    #[test]
    fn what_was_asked_for_as_json_is_given_as_it_was_validated() {
        let fenced = response(vec![Block::Text("```json\n{}\n```".into())], pb::StopReason::EndTurn);
        let answer = pb::GenerateResponse { structured_json: "{}".into(), ..fenced };
        assert_eq!(message(&answer, &reply())["content"], json!([{ "type": "text", "text": "{}" }]));
    }

    #[test]
    fn a_dry_run_tells_the_plan_and_no_content() {
        let attempt = pb::Attempt { model: "primary".into(), ..pb::Attempt::default() };
        let planned = pb::GenerateResponse { attempts: vec![attempt], ..pb::GenerateResponse::default() };
        let told = message(&planned, &reply());
        assert_eq!((&told["content"], &told["bulkhead"]["planned"]), (&json!([]), &json!(["primary"])));
    }
}
