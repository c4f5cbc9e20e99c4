//! An answer of the contract, in the API's terms.

use bulkhead_proto::router::v1 as pb;
use pb::content_block::Block;
use serde_json::{Value, json};

use crate::doors::{Reply, dry_run};

pub(super) fn completion(response: &pb::GenerateResponse, reply: &Reply) -> Value {
    let blocks = response.message.iter().flat_map(|message| &message.content);
    let (mut text, mut calls) = (String::new(), Vec::new());
    for block in blocks.filter_map(|content| content.block.as_ref()) {
        match block {
            Block::Text(part) => text.push_str(part),
            Block::ToolUse(wanted) => calls.push(call(wanted)),
            // Thinking has no place in this API, and the others are in no answer.
            Block::Thinking(_) | Block::ToolResult(_) | Block::Image(_) | Block::Document(_) => {}
        }
    }
    if !response.structured_json.is_empty() {
        text.clone_from(&response.structured_json);
    }
    let content = if text.is_empty() { Value::Null } else { Value::String(text) };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
    if !calls.is_empty() {
        message["tool_calls"] = Value::Array(calls);
    }
    let finish_reason = finish_reason(response.stop_reason());
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason });
    let mut completion = json!({
        "id": id(reply),
        "object": "chat.completion",
        "created": reply.time.as_second(),
        "model": reply.route,
        "choices": [choice],
        "usage": usage(response),
    });
    if let Some(plan) = dry_run(response) {
        completion["bulkhead"] = plan;
    }
    completion
}

/// The same for whoever asks again with the same request id.
pub(super) fn id(reply: &Reply) -> String {
    format!("chatcmpl-{}", reply.request_id.simple())
}

pub(super) fn call(wanted: &pb::ToolUse) -> Value {
    let function = json!({ "name": wanted.name, "arguments": wanted.input_json });
    json!({ "id": wanted.tool_use_id, "type": "function", "function": function })
}

/// What was declined is told in the words for a filter: the model's own refusal and its provider's are one here.
pub(super) fn finish_reason(reason: pb::StopReason) -> &'static str {
    match reason {
        pb::StopReason::Unspecified | pb::StopReason::EndTurn | pb::StopReason::StopSequence => "stop",
        pb::StopReason::ToolUse => "tool_calls",
        pb::StopReason::MaxTokens => "length",
        pb::StopReason::Refusal => "content_filter",
    }
}

pub(super) fn usage(response: &pb::GenerateResponse) -> Value {
    let usage = response.usage.unwrap_or_default();
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read_input_tokens },
        "completion_tokens_details": { "reasoning_tokens": usage.reasoning_output_tokens },
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::doors::media::block;

    fn reply() -> Reply {
        let request_id = Uuid::from_u128(7);
        Reply { request_id, route: "default".into(), time: "2026-05-09T12:00:00Z".parse().expect("a time") }
    }

    fn response(content: Vec<Block>, stop_reason: pb::StopReason) -> pb::GenerateResponse {
        let content = content.into_iter().map(block).collect();
        pb::GenerateResponse {
            message: Some(pb::Message { role: pb::Role::Assistant.into(), content }),
            stop_reason: stop_reason.into(),
            usage: Some(pb::Usage {
                input_tokens: 12,
                output_tokens: 5,
                cache_read_input_tokens: 8,
                reasoning_output_tokens: 2,
                ..pb::Usage::default()
            }),
            model: "primary".into(),
            ..pb::GenerateResponse::default()
        }
    }

    #[test]
    fn an_answer_is_written_as_clients_read_it() {
        let wanted = pb::ToolUse {
            tool_use_id: "t1".into(),
            name: "fs.read".into(),
            input_json: r#"{"path":"a.md"}"#.into(),
        };
        let blocks = vec![
            Block::Thinking(pb::Thinking { text: "hm".into(), ..pb::Thinking::default() }),
            Block::Text("I ".into()),
            Block::Text("look.".into()),
            Block::ToolUse(wanted),
        ];
        let function = json!({ "name": "fs.read", "arguments": "{\"path\":\"a.md\"}" });
        let expected = json!({
            "id": "chatcmpl-00000000000000000000000000000007",
            "object": "chat.completion",
            "created": 1_778_328_000,
            "model": "default",
            "choices": [{ "index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "I look.", "refusal": null,
                "tool_calls": [{ "id": "t1", "type": "function", "function": function }],
            } }],
            "usage": {
                "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
                "prompt_tokens_details": { "cached_tokens": 8 },
                "completion_tokens_details": { "reasoning_tokens": 2 },
            },
        });
        assert_eq!(completion(&response(blocks, pb::StopReason::ToolUse), &reply()), expected);
    }

    #[test]
    fn each_stop_reason_has_its_word() {
        for (reason, word) in [
            (pb::StopReason::EndTurn, "stop"),
            (pb::StopReason::StopSequence, "stop"),
            (pb::StopReason::MaxTokens, "length"),
            (pb::StopReason::Refusal, "content_filter"),
        ] {
            let told = completion(&response(vec![Block::Text("No.".into())], reason), &reply());
            assert_eq!(told["choices"][0]["finish_reason"], word);
            assert_eq!(told["choices"][0]["message"]["content"], "No.");
        }
    }

    #[test]
    fn what_was_asked_for_as_json_is_given_as_it_was_validated() {
        let fenced = response(vec![Block::Text("```json\n{}\n```".into())], pb::StopReason::EndTurn);
        let answer = pb::GenerateResponse { structured_json: "{}".into(), ..fenced };
        assert_eq!(completion(&answer, &reply())["choices"][0]["message"]["content"], "{}");
    }

    #[test]
    fn a_dry_run_tells_the_plan_and_no_content() {
        let attempt = |model: &str| pb::Attempt { model: model.into(), ..pb::Attempt::default() };
        let attempts = vec![attempt("primary"), attempt("local")];
        let told =
            completion(&pb::GenerateResponse { attempts, ..pb::GenerateResponse::default() }, &reply());
        assert_eq!(told["choices"][0]["message"]["content"], Value::Null);
        assert_eq!(told["bulkhead"], json!({ "dry_run": true, "planned": ["primary", "local"] }));
    }
}
