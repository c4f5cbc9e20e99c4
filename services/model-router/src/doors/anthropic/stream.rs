//! A stream of the contract as events of the API.

use bulkhead_proto::router::v1 as pb;
use serde_json::{Value, json};

use super::answer;
use crate::doors::stream::Events;
use crate::doors::{Reply, dry_run};
use crate::provider::REDACTED;

/// A block whose pieces are coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
}

/// What is needed to write the next event.
pub(super) struct Blocks {
    reply: Reply,
    has_begun: bool,
    open: Option<Open>,
    /// Of the block that is open, or comes next.
    index: usize,
}

/// A stream; this API always tells the usage.
pub(super) fn events(reply: Reply, _usage: bool) -> Box<dyn Events> {
    Box::new(Blocks::new(reply))
}

fn event(name: &str, mut data: Value) -> String {
    data["type"] = json!(name);
    format!("event: {name}\ndata: {data}\n\n")
}

impl Blocks {
    fn new(reply: Reply) -> Self {
        Self { reply, has_begun: false, open: None, index: 0 }
    }

    /// The first event says who speaks. The tokens of the prompt are known at the end, which says them again.
    fn opening(&mut self) -> String {
        if std::mem::replace(&mut self.has_begun, true) {
            return String::new();
        }
        let message = json!({
            "id": answer::id(&self.reply),
            "type": "message",
            "role": "assistant",
            "model": self.reply.route,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": answer::usage(None),
        });
        event("message_start", json!({ "message": message }))
    }

    /// Opens a block unless the one that is open is of that kind.
    fn within(&mut self, kind: Open) -> String {
        let mut told = self.opening();
        if self.open == Some(kind) {
            return told;
        }
        told += &self.close();
        let block = match kind {
            Open::Text => json!({ "type": "text", "text": "" }),
            Open::Thinking => json!({ "type": "thinking", "thinking": "", "signature": "" }),
        };
        self.open = Some(kind);
        told + &self.start(&block)
    }

    fn start(&self, block: &Value) -> String {
        event("content_block_start", json!({ "index": self.index, "content_block": block }))
    }

    fn delta(&self, delta: &Value) -> String {
        event("content_block_delta", json!({ "index": self.index, "delta": delta }))
    }

    fn stop(&mut self) -> String {
        let told = event("content_block_stop", json!({ "index": self.index }));
        self.index += 1;
        told
    }

    fn close(&mut self) -> String {
        if self.open.take().is_some() { self.stop() } else { String::new() }
    }
}

impl Events for Blocks {
    fn text(&mut self, piece: &str) -> String {
        self.within(Open::Text) + &self.delta(&json!({ "type": "text_delta", "text": piece }))
    }

    /// A signature ends its block. What is encrypted is all in one piece.
    fn thinking(&mut self, piece: &pb::Thinking) -> String {
        let pb::Thinking { text, signature } = piece;
        if let Some(encrypted) = signature.strip_prefix(REDACTED) {
            let told = self.opening() + &self.close();
            let block = json!({ "type": "redacted_thinking", "data": encrypted });
            return told + &self.start(&block) + &self.stop();
        }
        let mut told = self.within(Open::Thinking);
        if !text.is_empty() {
            told += &self.delta(&json!({ "type": "thinking_delta", "thinking": text }));
        }
        if !signature.is_empty() {
            told += &self.delta(&json!({ "type": "signature_delta", "signature": signature }));
            told += &self.close();
        }
        told
    }

    fn tool_use(&mut self, wanted: &pb::ToolUse) -> String {
        let told = self.opening() + &self.close();
        let block = json!({ "type": "tool_use", "id": wanted.tool_use_id, "name": wanted.name, "input": {} });
        let input = json!({ "type": "input_json_delta", "partial_json": wanted.input_json });
        told + &self.start(&block) + &self.delta(&input) + &self.stop()
    }

    fn completed(&mut self, response: &pb::GenerateResponse) -> String {
        let told = self.opening() + &self.close();
        let delta =
            json!({ "stop_reason": answer::stop_reason(response.stop_reason()), "stop_sequence": null });
        let mut last = json!({ "delta": delta, "usage": answer::usage(response.usage.as_ref()) });
        if let Some(plan) = dry_run(response) {
            last["bulkhead"] = plan;
        }
        told + &event("message_delta", last) + &event("message_stop", json!({}))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::doors::stream::samples::{call, completed, parsed, started, text, thinking, told};

    fn blocks() -> Blocks {
        let time = "2026-05-09T12:00:00Z".parse().expect("a time");
        Blocks::new(Reply { request_id: Uuid::from_u128(7), route: "default".into(), time })
    }

    /// The names and the data of all events but the first, which is always the same.
    fn parts(told: &str) -> Vec<(String, Value)> {
        let events = told.split_terminator("\n\n").map(|event| {
            let (name, data) = event.split_once('\n').expect("two lines");
            let data = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            (name.strip_prefix("event: ").expect("a name").to_owned(), data)
        });
        let all: Vec<(String, Value)> = events.collect();
        assert!(all.iter().all(|(name, data)| data["type"] == name.as_str()), "{all:?}");
        assert_eq!(all[0].0, "message_start");
        all[1..].to_vec()
    }

    #[test]
    fn a_text_is_a_block_of_a_message() {
        let stream =
            [started(1, "primary"), text("Two "), text("points."), completed(pb::StopReason::EndTurn)];
        let usage = "{\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\"input_tokens\":0,\"output_tokens\":0}";
        let expected = [
            format!(
                "event: message_start\ndata: {{\"message\":{{\"content\":[],\"id\":\"msg_00000000000000000000000000000007\",\
                 \"model\":\"default\",\"role\":\"assistant\",\"stop_reason\":null,\"stop_sequence\":null,\
                 \"type\":\"message\",\"usage\":{usage}}},\"type\":\"message_start\"}}\n\n"
            ),
            "event: content_block_start\ndata: {\"content_block\":{\"text\":\"\",\"type\":\"text\"},\"index\":0,\
             \"type\":\"content_block_start\"}\n\n".to_owned(),
            "event: content_block_delta\ndata: {\"delta\":{\"text\":\"Two \",\"type\":\"text_delta\"},\"index\":0,\
             \"type\":\"content_block_delta\"}\n\n".to_owned(),
            "event: content_block_delta\ndata: {\"delta\":{\"text\":\"points.\",\"type\":\"text_delta\"},\"index\":0,\
             \"type\":\"content_block_delta\"}\n\n".to_owned(),
            "event: content_block_stop\ndata: {\"index\":0,\"type\":\"content_block_stop\"}\n\n".to_owned(),
            "event: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\
             \"type\":\"message_delta\",\"usage\":{\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,\
             \"input_tokens\":12,\"output_tokens\":5}}\n\n".to_owned(),
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n".to_owned(),
        ];
        assert_eq!(parsed(&told(blocks(), &stream)), parsed(&expected.concat()));
    }

    #[test]
    fn blocks_follow_one_another_and_each_is_closed() {
        let stream = [
            thinking("h", ""),
            thinking("m", ""),
            thinking("", "s1"),
            thinking("", "redacted_thinking:s2"),
            text("I look."),
            call("t1"),
            text("And."),
            completed(pb::StopReason::ToolUse),
        ];
        let parts = parts(&told(blocks(), &stream));
        let of = |wanted: &str, field: &str| -> Vec<(u64, Value)> {
            let events = parts.iter().filter(|(name, _)| name == wanted);
            events.map(|(_, data)| (data["index"].as_u64().expect("an index"), data[field].clone())).collect()
        };
        let started = [
            (0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
            (1, json!({ "type": "redacted_thinking", "data": "s2" })),
            (2, json!({ "type": "text", "text": "" })),
            (3, json!({ "type": "tool_use", "id": "t1", "name": "fs.read", "input": {} })),
            (4, json!({ "type": "text", "text": "" })),
        ];
        assert_eq!(of("content_block_start", "content_block"), started);
        let given = [
            (0, json!({ "type": "thinking_delta", "thinking": "h" })),
            (0, json!({ "type": "thinking_delta", "thinking": "m" })),
            (0, json!({ "type": "signature_delta", "signature": "s1" })),
            (2, json!({ "type": "text_delta", "text": "I look." })),
            (3, json!({ "type": "input_json_delta", "partial_json": "{\"path\":\"a.md\"}" })),
            (4, json!({ "type": "text_delta", "text": "And." })),
        ];
        assert_eq!(of("content_block_delta", "delta"), given);
        let stopped: Vec<u64> = of("content_block_stop", "").into_iter().map(|(index, _)| index).collect();
        assert_eq!(stopped, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_answer_without_text_has_a_beginning_and_an_end() {
        let parts = parts(&told(blocks(), &[completed(pb::StopReason::Refusal)]));
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["message_delta", "message_stop"]);
        assert_eq!(parts[0].1["delta"]["stop_reason"], "refusal");
    }
}
