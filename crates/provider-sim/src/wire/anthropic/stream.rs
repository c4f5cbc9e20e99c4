//! Answers as server-sent events.

use serde_json::{Value, json};

use super::{SIGNATURE, message, prompt_usage, stop_reason, tool_use};
use crate::wire::answer::pieces;
use crate::wire::frame::named_event;
use crate::wire::{Answer, Frame, Moment, Question, text};

/// A success in many pieces.
pub(crate) fn frames(question: &Question, answer: &Answer, moment: Moment) -> Vec<Frame> {
    let mut frames = vec![Frame::around(event(&start(question, answer, moment)))];
    for (at, block) in blocks(answer, moment).into_iter().enumerate() {
        let start = json!({ "type": "content_block_start", "index": at, "content_block": block.start });
        frames.push(Frame::around(event(&start)));
        if at == 0 {
            frames.push(Frame::around(event(&json!({ "type": "ping" }))));
        }
        let delta =
            |delta: Value| event(&json!({ "type": "content_block_delta", "index": at, "delta": delta }));
        frames.extend(block.opening.into_iter().map(delta).map(Frame::around));
        frames.extend(block.deltas.into_iter().map(delta).map(Frame::piece));
        frames.extend(block.closing.into_iter().map(delta).map(Frame::around));
        frames.push(Frame::around(event(&json!({ "type": "content_block_stop", "index": at }))));
    }
    frames.push(Frame::ending(event(&json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(answer.stop_reason), "stop_sequence": answer.stop_sequence },
        "usage": { "output_tokens": answer.usage.output_tokens },
    }))));
    frames.push(Frame::terminator(event(&json!({ "type": "message_stop" }))));
    frames
}

/// A content block: deltas of its content, and those around them that carry none.
struct Block {
    start: Value,
    opening: Option<Value>,
    deltas: Vec<Value>,
    closing: Option<Value>,
}

fn blocks(answer: &Answer, moment: Moment) -> Vec<Block> {
    let thought = answer.thinking.iter().map(|thinking| Block {
        start: json!({ "type": "thinking", "thinking": "", "signature": "" }),
        opening: None,
        deltas: deltas("thinking_delta", "thinking", pieces(thinking)),
        closing: Some(json!({ "type": "signature_delta", "signature": SIGNATURE })),
    });
    let said = answer.text.iter().map(|text| Block {
        start: json!({ "type": "text", "text": "" }),
        opening: None,
        deltas: deltas("text_delta", "text", text.clone()),
        closing: None,
    });
    let called = answer.calls.iter().map(|call| Block {
        start: tool_use(call, &json!({}), moment),
        // The provider's first piece of arguments is always empty.
        opening: Some(json!({ "type": "input_json_delta", "partial_json": "" })),
        deltas: deltas("input_json_delta", "partial_json", pieces(&call.arguments.text())),
        closing: None,
    });
    thought.chain(said).chain(called).collect()
}

fn deltas(kind: &str, field: &str, pieces: Vec<String>) -> Vec<Value> {
    pieces.into_iter().map(|piece| json!({ "type": kind, field: piece })).collect()
}

/// Of the answer, one token is counted at its start; `message_delta` has the sum.
fn start(question: &Question, answer: &Answer, moment: Moment) -> Value {
    let mut message = message(question, moment);
    message["usage"] = prompt_usage(answer.usage);
    message["usage"]["output_tokens"] = json!(1);
    json!({ "type": "message_start", "message": message })
}

/// Each event is named for its type.
fn event(body: &Value) -> Vec<u8> {
    named_event(text(body, "type").unwrap_or("message"), body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Reply, ToolCall, Usage};
    use crate::wire::question::samples::question;
    use jiff::Timestamp;

    /// The name and the data of each event.
    fn streamed(reply: Reply) -> Vec<(String, Value)> {
        let question = question();
        let moment = Moment { sequence: 7, now: Timestamp::UNIX_EPOCH };
        let frames = frames(&question, &question.answer(reply), moment);
        frames.into_iter().map(|frame| read(&frame.bytes)).collect()
    }

    fn read(event: &[u8]) -> (String, Value) {
        let event = std::str::from_utf8(event).expect("text");
        let (name, data) =
            event.strip_prefix("event: ").expect("a name").split_once("\ndata: ").expect("data");
        let data = data.strip_suffix("\n\n").expect("an end");
        (name.to_owned(), serde_json::from_str(data).expect("json"))
    }

    #[test]
    fn text_comes_between_the_events_that_the_provider_documents() {
        let usage = Usage {
            input_tokens: 30,
            output_tokens: 4,
            cache_read_tokens: 20,
            cache_creation_tokens: 3,
            reasoning_tokens: 0,
        };
        let reply = Reply { text: Some("Hello!".into()), usage: Some(usage), ..Reply::default() };
        let message = json!({
            "id": "msg_sim_000007", "type": "message", "role": "assistant", "model": "m", "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": {
                "input_tokens": 7, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 20,
                "output_tokens": 1,
            },
        });
        let text = |text: &str| {
            let delta = json!({ "type": "text_delta", "text": text });
            json!({ "type": "content_block_delta", "index": 0, "delta": delta })
        };
        let expected = [
            json!({ "type": "message_start", "message": message }),
            json!({
                "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" },
            }),
            json!({ "type": "ping" }),
            text("Hel"),
            text("lo!"),
            json!({ "type": "content_block_stop", "index": 0 }),
            json!({
                "type": "message_delta", "delta": { "stop_reason": "end_turn", "stop_sequence": null },
                "usage": { "output_tokens": 4 },
            }),
            json!({ "type": "message_stop" }),
        ];
        let streamed = streamed(reply);
        assert!(streamed.iter().all(|(name, data)| data["type"] == name.as_str()), "{streamed:?}");
        assert_eq!(streamed.into_iter().map(|(_, data)| data).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn thinking_is_signed_and_tool_arguments_come_in_pieces() {
        let tool_calls = vec![ToolCall { name: "fs.read".into(), input: json!({ "path": "a" }) }];
        let reply = Reply { thinking: Some("Hm.".into()), tool_calls, ..Reply::default() };
        let bodies: Vec<Value> = streamed(reply).into_iter().map(|(_, data)| data).collect();
        let deltas: Vec<&Value> = bodies.iter().filter_map(|body| body.get("delta")).collect();
        assert_eq!(deltas[0], &json!({ "type": "thinking_delta", "thinking": "Hm" }));
        assert_eq!(deltas[2], &json!({ "type": "signature_delta", "signature": SIGNATURE }));
        let arguments: Vec<&str> = deltas.iter().filter_map(|delta| text(delta, "partial_json")).collect();
        assert_eq!((arguments.len(), arguments.concat().as_str()), (3, r#"{"path":"a"}"#));
        let starts = bodies.iter().filter_map(|body| body.pointer("/content_block/name"));
        assert_eq!(starts.collect::<Vec<_>>(), ["fs_read"]);
    }
}
