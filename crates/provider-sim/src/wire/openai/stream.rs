//! Answers as server-sent events.

use serde_json::{Value, json};

use super::{THINKING, call_id, envelope, finish_reason, usage};
use crate::control::StopReason;
use crate::wire::answer::pieces;
use crate::wire::frame::event;
use crate::wire::{Answer, Delivery, Frame, Moment, Question};

/// A success in many pieces.
pub(crate) fn frames(question: &Question, answer: &Answer, moment: Moment) -> Vec<Frame> {
    let has_usage = question.delivery == Delivery::Stream { has_usage: true };
    let chunk = |choices: Value| {
        let mut body = envelope("chat.completion.chunk", question, moment);
        body["choices"] = choices;
        // Null in every chunk but the last, once it was asked for.
        if has_usage {
            body["usage"] = Value::Null;
        }
        body
    };
    let choice = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        event(&chunk(json!([choice])))
    };
    let mut frames = vec![Frame::around(choice(role(answer), None))];
    frames.extend(words(answer).into_iter().map(|delta| Frame::piece(choice(delta, None))));
    for (at, call) in answer.calls.iter().enumerate() {
        let function = json!({ "name": call.name, "arguments": "" });
        let opening =
            json!({ "index": at, "id": call_id(call, moment), "type": "function", "function": function });
        frames.push(Frame::around(choice(json!({ "tool_calls": [opening] }), None)));
        frames.extend(pieces(&call.arguments.text()).into_iter().map(|piece| {
            let delta = json!({ "index": at, "function": { "arguments": piece } });
            Frame::piece(choice(json!({ "tool_calls": [delta] }), None))
        }));
    }
    frames.push(Frame::ending(choice(json!({}), Some(finish_reason(question, answer)))));
    if has_usage {
        let mut body = chunk(json!([]));
        body["usage"] = usage(answer.usage);
        frames.push(Frame::ending(event(&body)));
    }
    frames.push(Frame::terminator(b"data: [DONE]\n\n".to_vec()));
    frames
}

/// The first chunk says who speaks.
fn role(answer: &Answer) -> Value {
    let content = if answer.text.is_some() { json!("") } else { Value::Null };
    json!({ "role": "assistant", "content": content, "refusal": null })
}

fn words(answer: &Answer) -> Vec<Value> {
    let field = if answer.stop_reason == StopReason::Refusal { "refusal" } else { "content" };
    let thought = answer.thinking.iter().flat_map(|thinking| pieces(thinking));
    let thought = thought.map(|piece| json!({ THINKING: piece }));
    let said = answer.text.iter().flatten().map(|piece| json!({ field: piece }));
    thought.chain(said).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Reply, ToolCall, Usage};
    use crate::wire::question::samples::question;
    use jiff::Timestamp;

    fn streamed(delivery: Delivery, reply: Reply) -> Vec<Value> {
        let question = Question { delivery, ..question() };
        let moment = Moment { sequence: 7, now: Timestamp::UNIX_EPOCH };
        let frames = frames(&question, &question.answer(reply), moment);
        let (last, chunks) = frames.split_last().expect("frames");
        assert_eq!(last.bytes, b"data: [DONE]\n\n");
        chunks.iter().map(|frame| read(&frame.bytes)).collect()
    }

    fn read(event: &[u8]) -> Value {
        let event = std::str::from_utf8(event).expect("text");
        let data = event.strip_prefix("data: ").and_then(|event| event.strip_suffix("\n\n"));
        serde_json::from_str(data.expect("data")).expect("json")
    }

    #[test]
    fn text_comes_between_the_role_and_the_reason_to_stop() {
        let reply = Reply { text: Some("Hello!".into()), ..Reply::default() };
        let chunks = streamed(Delivery::Stream { has_usage: false }, reply);
        let choice = |delta: Value, finish_reason: Value| {
            let choice =
                json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
            json!({
                "id": "chatcmpl-sim-000007", "object": "chat.completion.chunk", "created": 0, "model": "m",
                "system_fingerprint": "fp_simulated", "choices": [choice],
            })
        };
        let expected = [
            choice(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null),
            choice(json!({ "content": "Hel" }), Value::Null),
            choice(json!({ "content": "lo!" }), Value::Null),
            choice(json!({}), json!("stop")),
        ];
        assert_eq!(chunks, expected);
    }

    #[test]
    fn usage_comes_last_and_alone_once_it_was_asked_for() {
        let usage = Usage {
            input_tokens: 30,
            output_tokens: 9,
            cache_read_tokens: 20,
            reasoning_tokens: 5,
            ..Usage::default()
        };
        let reply = Reply { usage: Some(usage), ..Reply::default() };
        let chunks = streamed(Delivery::Stream { has_usage: true }, reply);
        let (last, others) = chunks.split_last().expect("chunks");
        assert!(others.iter().all(|chunk| chunk.get("usage") == Some(&Value::Null)));
        assert_eq!(last["choices"], json!([]));
        let expected = json!({
            "prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39,
            "prompt_tokens_details": { "cached_tokens": 20 },
            "completion_tokens_details": { "reasoning_tokens": 5 },
        });
        assert_eq!(last["usage"], expected);
    }

    #[test]
    fn tool_arguments_come_in_pieces_by_index() {
        let call = |name: &str| ToolCall { name: name.into(), input: json!({ "path": "a" }) };
        let reply = Reply { tool_calls: vec![call("fs.read"), call("web.get")], ..Reply::default() };
        let chunks = streamed(Delivery::Stream { has_usage: false }, reply);
        assert_eq!(chunks[0]["choices"][0]["delta"]["content"], Value::Null);
        let calls = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta/tool_calls/0"));
        let calls: Vec<&Value> = calls.collect();
        let function = json!({ "name": "fs_read", "arguments": "" });
        let opening =
            json!({ "index": 0, "id": "call_sim_000007_0", "type": "function", "function": function });
        assert_eq!(calls[0], &opening);
        for at in [0, 1] {
            let of_call = calls.iter().filter(|call| call["index"] == at);
            let arguments: String =
                of_call.filter_map(|call| call.pointer("/function/arguments")?.as_str()).collect();
            assert_eq!(arguments, r#"{"path":"a"}"#);
        }
        let last = chunks.last().expect("a chunk");
        assert_eq!(last["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn a_refusal_is_said_in_its_own_field_and_a_filter_stops() {
        for (stop_reason, field, finish_reason) in [
            (StopReason::Refusal, "refusal", "stop"),
            (StopReason::ContentFilter, "content", "content_filter"),
        ] {
            let reply =
                Reply { text: Some("No.".into()), stop_reason: Some(stop_reason), ..Reply::default() };
            let chunks = streamed(Delivery::Stream { has_usage: false }, reply);
            assert_eq!(chunks[1]["choices"][0]["delta"][field], "No");
            assert_eq!(chunks[3]["choices"][0]["finish_reason"], finish_reason);
        }
    }
}
