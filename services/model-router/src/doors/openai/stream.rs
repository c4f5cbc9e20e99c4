//! A stream of the contract as chunks of the API.

use bulkhead_proto::router::v1 as pb;
use serde_json::{Value, json};

use super::answer;
use crate::doors::stream::Events;
use crate::doors::{Reply, dry_run};

/// After the last chunk of a stream that succeeded.
const DONE: &str = "data: [DONE]\n\n";

/// What is needed to write the next chunk.
pub(super) struct Chunks {
    reply: Reply,
    /// The caller wants a last chunk with the usage.
    usage: bool,
    has_begun: bool,
    calls: usize,
}

/// A stream for a request that asked for its usage or not.
pub(super) fn events(reply: Reply, usage: bool) -> Box<dyn Events> {
    Box::new(Chunks::new(reply, usage))
}

impl Chunks {
    fn new(reply: Reply, usage: bool) -> Self {
        Self { reply, usage, has_begun: false, calls: 0 }
    }

    fn delta(&mut self, delta: Value) -> String {
        let opening = self.opening();
        opening + &self.choice(delta, Value::Null)
    }

    /// The first chunk says who speaks.
    fn opening(&mut self) -> String {
        if std::mem::replace(&mut self.has_begun, true) {
            return String::new();
        }
        self.choice(json!({ "role": "assistant", "content": "", "refusal": null }), Value::Null)
    }

    fn choice(&self, delta: Value, finish_reason: Value) -> String {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        as_event(&self.chunk(json!([choice])))
    }

    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": answer::id(&self.reply),
            "object": "chat.completion.chunk",
            "created": self.reply.time.as_second(),
            "model": self.reply.route,
            "choices": choices,
        })
    }
}

fn as_event(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

impl Events for Chunks {
    fn text(&mut self, piece: &str) -> String {
        self.delta(json!({ "content": piece }))
    }

    /// Has no place in this API.
    fn thinking(&mut self, _piece: &pb::Thinking) -> String {
        String::new()
    }

    fn tool_use(&mut self, wanted: &pb::ToolUse) -> String {
        let mut call = answer::call(wanted);
        call["index"] = json!(self.calls);
        self.calls += 1;
        self.delta(json!({ "tool_calls": [call] }))
    }

    fn completed(&mut self, response: &pb::GenerateResponse) -> String {
        let mut told = self.opening();
        let finish_reason = answer::finish_reason(response.stop_reason());
        told += &self.choice(json!({}), json!(finish_reason));
        if let Some(plan) = dry_run(response) {
            let mut chunk = self.chunk(json!([]));
            chunk["bulkhead"] = plan;
            told += &as_event(&chunk);
        }
        if self.usage {
            let mut chunk = self.chunk(json!([]));
            chunk["usage"] = answer::usage(response);
            told += &as_event(&chunk);
        }
        told + DONE
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::doors::stream::samples::{call, completed, parsed, started, text, thinking, told};

    fn chunks(usage: bool) -> Chunks {
        let time = "2026-05-09T12:00:00Z".parse().expect("a time");
        Chunks::new(Reply { request_id: Uuid::from_u128(7), route: "default".into(), time }, usage)
    }

    /// What differs from chunk to chunk.
    fn parts(told: &str) -> Vec<Value> {
        let events = told.strip_suffix(DONE).expect("it is done").split_terminator("\n\n");
        events
            .map(|event| serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("JSON"))
            .collect()
    }

    #[test]
    fn a_text_comes_in_pieces_between_its_role_and_its_end() {
        let stream = [
            started(1, "primary"),
            thinking("hm", "s"),
            text("Two "),
            text("points."),
            completed(pb::StopReason::EndTurn),
        ];
        let told = told(chunks(false), &stream);
        let chunk = |delta: &str, finish_reason: &str| {
            format!(
                "data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":{finish_reason},\"index\":0,\"logprobs\":null}}],\
                 \"created\":1778328000,\"id\":\"chatcmpl-00000000000000000000000000000007\",\"model\":\"default\",\
                 \"object\":\"chat.completion.chunk\"}}\n\n"
            )
        };
        let expected = [
            chunk(r#"{"content":"","refusal":null,"role":"assistant"}"#, "null"),
            chunk(r#"{"content":"Two "}"#, "null"),
            chunk(r#"{"content":"points."}"#, "null"),
            chunk("{}", r#""stop""#),
            DONE.to_owned(),
        ];
        assert_eq!(parsed(&told), parsed(&expected.concat()));
    }

    #[test]
    fn tool_calls_come_whole_and_are_counted() {
        let stream = [text("I look."), call("t1"), call("t2"), completed(pb::StopReason::ToolUse)];
        let parts = parts(&told(chunks(false), &stream));
        let calls: Vec<&Value> =
            parts.iter().filter_map(|part| part.pointer("/choices/0/delta/tool_calls/0")).collect();
        let function = json!({ "name": "fs.read", "arguments": "{\"path\":\"a.md\"}" });
        let call = |index: usize, id: &str| json!({ "index": index, "id": id, "type": "function", "function": function });
        assert_eq!(calls, [&call(0, "t1"), &call(1, "t2")]);
        assert_eq!(parts[4]["choices"][0]["finish_reason"], "tool_calls");
    }

    #[test]
    fn the_usage_comes_last_where_it_is_asked_for() {
        let stream = [text("Hi."), completed(pb::StopReason::MaxTokens)];
        let with = parts(&told(chunks(true), &stream));
        let last = with.last().expect("a chunk");
        assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(17)));
        let without = parts(&told(chunks(false), &stream));
        assert_eq!(without.len() + 1, with.len());
        assert!(without.iter().all(|part| part.get("usage").is_none()));
    }

    #[test]
    fn an_answer_without_text_has_a_role_and_an_end() {
        let parts = parts(&told(chunks(false), &[completed(pb::StopReason::Refusal)]));
        assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
        assert_eq!(parts[1]["choices"][0]["finish_reason"], "content_filter");
    }
}
