//! Answers as lines of JSON.

use serde_json::{Value, json};

use super::{done, line, message, tool_call};
use crate::wire::answer::pieces;
use crate::wire::{Answer, Frame, Moment, Question, frame};

/// A success in many pieces. Tool calls come whole, each in a line of its own.
pub(crate) fn frames(question: &Question, answer: &Answer, moment: Moment) -> Vec<Frame> {
    let thought = answer.thinking.iter().flat_map(|thinking| pieces(thinking));
    let thought = thought.map(|piece| with("thinking", json!(piece)));
    let said = answer.text.iter().flatten().map(|piece| message(piece));
    let called = answer.calls.iter().map(|call| with("tool_calls", json!([tool_call(call)])));
    let pieces = thought.chain(said).chain(called);
    let pieces = pieces.map(|message| Frame::piece(frame::line(&line(question, message, moment))));
    let last = Frame::terminator(frame::line(&done(question, answer, message(""), moment)));
    pieces.chain([last]).collect()
}

fn with(field: &str, value: Value) -> Value {
    let mut message = message("");
    message[field] = value;
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Reply, ToolCall};
    use crate::wire::question::samples::question;
    use jiff::Timestamp;

    fn streamed(reply: Reply) -> Vec<Value> {
        let question = question();
        let moment = Moment { sequence: 7, now: Timestamp::UNIX_EPOCH };
        let frames = frames(&question, &question.answer(reply), moment);
        let read = |frame: Frame| {
            let line = frame.bytes.strip_suffix(b"\n").expect("a line").to_vec();
            assert!(!line.contains(&b'\n'));
            serde_json::from_slice(&line).expect("json")
        };
        frames.into_iter().map(read).collect()
    }

    #[test]
    fn thinking_text_and_calls_come_in_lines_and_the_last_one_counts() {
        let reply = Reply {
            thinking: Some("Hm".into()),
            text: Some("Hello!".into()),
            tool_calls: vec![ToolCall { name: "fs.read".into(), input: json!({ "path": "a" }) }],
            ..Reply::default()
        };
        let lines = streamed(reply);
        let call = json!({ "function": { "name": "fs_read", "arguments": { "path": "a" } } });
        let expected = [
            json!({ "role": "assistant", "content": "", "thinking": "H" }),
            json!({ "role": "assistant", "content": "", "thinking": "m" }),
            json!({ "role": "assistant", "content": "Hel" }),
            json!({ "role": "assistant", "content": "lo!" }),
            json!({ "role": "assistant", "content": "", "tool_calls": [call] }),
            json!({ "role": "assistant", "content": "" }),
        ];
        let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
        assert_eq!(messages, expected.iter().collect::<Vec<_>>());
        let done: Vec<bool> = lines.iter().map(|line| line["done"] == true).collect();
        assert_eq!(done, [false, false, false, false, false, true]);
        assert_eq!((&lines[5]["done_reason"], &lines[5]["prompt_eval_count"]), (&json!("stop"), &json!(10)));
    }
}
