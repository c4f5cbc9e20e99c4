//! A streamed message (<https://docs.anthropic.com/en/docs/build-with-claude/streaming>).

use super::{Counted, cuts_off, read_stop_reason, redacted};
use crate::chat::{Answer, Delta, Object, Prompt, StopReason, Usage};
use crate::provider::draft::{Draft, Input};
use crate::provider::json::Json;
use crate::provider::sse::Event;
use crate::provider::stream::{Broken, Heard, Reader};
use crate::provider::{Malformed, Parameters, text};

pub(super) fn reader(prompt: &Prompt, parameters: &Parameters<'_>) -> Box<dyn Reader> {
    Box::new(Message {
        draft: Draft::new(prompt, parameters),
        model: None,
        counted: Counted::default(),
        open: None,
        held: None,
        stop_reason: None,
        is_over: false,
    })
}

#[derive(Debug)]
struct Message {
    draft: Draft,
    /// Known once the message began.
    model: Option<String>,
    counted: Counted,
    /// The block that is being written, by its index.
    open: Option<(u64, Open)>,
    /// A call whose block is over and whose arguments are not whole: it may have been cut off, which is said later.
    held: Option<Call>,
    stop_reason: Option<StopReason>,
    is_over: bool,
}

#[derive(Debug)]
enum Open {
    Text,
    Thinking,
    Call(Call),
    /// No part of our answers.
    Other,
}

#[derive(Debug)]
struct Call {
    id: String,
    name: String,
    /// The pieces so far.
    json: String,
    /// What the block began with: in this format nothing, of some servers the whole.
    input: Input,
}

impl Call {
    /// None: not whole.
    fn whole(&self) -> Option<Input> {
        match &self.input {
            _ if !self.json.is_empty() => serde_json::from_str(&self.json).ok().map(Input::Object),
            Input::Object(input) if input.is_empty() => None,
            input => Some(input.clone()),
        }
    }
}

impl Reader for Message {
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken> {
        let body = event.json()?;
        if let Some(status) = told(&body) {
            return Err(Broken::Told { status, body: body.to_value() });
        }
        match text(&body, "type")? {
            "message_start" => self.begin(part(&body, "message")?)?,
            "content_block_start" => return Ok(self.open(&body)?),
            "content_block_delta" => return Ok(self.go_on(&body)?),
            "content_block_stop" => self.close(index(&body)?)?,
            "message_delta" => self.end(&body)?,
            "message_stop" => {
                self.is_over = true;
                return Ok(Heard::End);
            }
            // `ping`, and what the provider may add.
            _ => {}
        }
        Ok(Heard::Nothing)
    }

    fn take(&mut self) -> Vec<Delta> {
        self.draft.take()
    }

    fn usage_so_far(&self) -> Option<Usage> {
        self.model.as_ref().and_then(|_began| self.counted.usage().ok())
    }

    fn finish(self: Box<Self>) -> Result<Answer, Malformed> {
        if !self.is_over {
            return Err(Malformed::cut());
        }
        let model = self.model.ok_or_else(|| Malformed::new("the stream has no `message_start`"))?;
        let stop_reason =
            self.stop_reason.ok_or_else(|| Malformed::new("the stream ends without a stop reason"))?;
        self.draft.finish(stop_reason, self.counted.usage()?, &model)
    }
}

impl Message {
    fn begin(&mut self, message: &Json<'_>) -> Result<(), Malformed> {
        if self.model.is_some() {
            return Err(Malformed::new("the stream has a second `message_start`"));
        }
        self.model = Some(text(message, "model")?.to_owned());
        self.counted.add(part(message, "usage")?)
    }

    fn open(&mut self, body: &Json<'_>) -> Result<Heard, Malformed> {
        if self.model.is_none() || self.open.is_some() || self.stop_reason.is_some() {
            return Err(Malformed::new("a block of the stream begins out of turn"));
        }
        self.settle()?;
        let block = part(body, "content_block")?;
        let open = match text(block, "type")? {
            "text" => {
                self.draft.text(text(block, "text")?)?;
                Open::Text
            }
            "thinking" => {
                self.draft.thinking(text(block, "thinking")?, "")?;
                Open::Thinking
            }
            "redacted_thinking" => {
                self.draft.thinking("", &redacted(text(block, "data")?))?;
                Open::Other
            }
            "tool_use" => Open::Call(Call {
                id: text(block, "id")?.to_owned(),
                name: text(block, "name")?.to_owned(),
                json: String::new(),
                input: Input::of(block.get("input")),
            }),
            _ => Open::Other,
        };
        self.open = Some((index(body)?, open));
        Ok(Heard::Content)
    }

    fn go_on(&mut self, body: &Json<'_>) -> Result<Heard, Malformed> {
        let at = index(body)?;
        let open = self.open.as_mut().filter(|(index, _)| *index == at);
        let (_, open) = open.ok_or_else(|| Malformed::new("a piece of the stream belongs to no block"))?;
        let delta = part(body, "delta")?;
        match (text(delta, "type")?, open) {
            ("text_delta", Open::Text) => self.draft.text(text(delta, "text")?)?,
            ("thinking_delta", Open::Thinking) => self.draft.thinking(text(delta, "thinking")?, "")?,
            ("signature_delta", Open::Thinking) => self.draft.thinking("", text(delta, "signature")?)?,
            ("input_json_delta", Open::Call(call)) => {
                call.json.push_str(text(delta, "partial_json")?);
                if call.json.len() > crate::provider::ANSWER_BYTES_MAX {
                    return Err(Malformed::new("the input of a tool call is too long"));
                }
            }
            ("text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta", Open::Other) => {}
            ("text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta", _) => {
                return Err(Malformed::new("a piece of the stream is of another sort than its block"));
            }
            // Citations, and what the provider may add.
            _ => {}
        }
        Ok(Heard::Content)
    }

    fn close(&mut self, at: u64) -> Result<(), Malformed> {
        let closed = self.open.take().filter(|(index, _)| *index == at);
        let (_, open) =
            closed.ok_or_else(|| Malformed::new("a block of the stream ends that did not begin"))?;
        if let Open::Call(call) = open {
            match call.whole() {
                Some(input) => self.draft.call(Some(&call.id), &call.name, input)?,
                None => self.held = Some(call),
            }
        }
        Ok(())
    }

    /// Something comes after the call, so it was not cut off.
    fn settle(&mut self) -> Result<(), Malformed> {
        let Some(call) = self.held.take() else { return Ok(()) };
        let input = if call.json.is_empty() { Input::Object(Object::new()) } else { Input::Other(call.json) };
        self.draft.call(Some(&call.id), &call.name, input)
    }

    fn end(&mut self, body: &Json<'_>) -> Result<(), Malformed> {
        if self.open.is_some() {
            return Err(Malformed::new("the stream ends within a block"));
        }
        if let Some(usage) = body.get("usage") {
            self.counted.add(usage)?;
        }
        let delta = part(body, "delta")?;
        if delta.get("stop_reason").is_none_or(Json::is_null) {
            return Ok(());
        }
        let stop_reason = read_stop_reason(text(delta, "stop_reason")?)?;
        // A call that was cut off is no call; what cut it off is told.
        if cuts_off(stop_reason) {
            self.held = None;
        }
        self.settle()?;
        self.stop_reason = Some(stop_reason);
        Ok(())
    }
}

fn part<'v>(body: &'v Json<'v>, field: &str) -> Result<&'v Json<'v>, Malformed> {
    let part = body.get(field).filter(|part| part.is_object());
    part.ok_or_else(|| Malformed::new(format!("an event of the stream has no object `{field}`")))
}

fn index(body: &Json<'_>) -> Result<u64, Malformed> {
    let index = body.get("index").and_then(Json::as_u64);
    index.ok_or_else(|| Malformed::new("an event of the stream has no `index`"))
}

/// See [`crate::provider::Adapter::told`].
pub(super) fn told(body: &Json<'_>) -> Option<u16> {
    let is_error = body.get("type").and_then(Json::as_str) == Some("error");
    is_error.then(|| status(body))
}

/// The status that goes with an error's type (<https://docs.anthropic.com/en/api/errors>). What is not listed there is
/// the provider's failure.
fn status(body: &Json<'_>) -> u16 {
    match body.get("error").and_then(|error| error.get("type")).and_then(Json::as_str) {
        Some("invalid_request_error") => 400,
        Some("authentication_error") => 401,
        Some("billing_error") => 402,
        Some("permission_error") => 403,
        Some("not_found_error") => 404,
        Some("request_too_large") => 413,
        Some("rate_limit_error") => 429,
        Some("timeout_error") => 504,
        Some("overloaded_error") => 529,
        _ => 500,
    }
}

#[cfg(test)]
mod tests;
