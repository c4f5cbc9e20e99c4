//! Streamed chunks (<https://platform.openai.com/docs/api-reference/chat-streaming>), with what compatible servers do
//! differently: no ids of calls, no usage, no index, reasoning beside the content.

use super::{arguments, breaks_off, counted, is_whole, read_stop_reason, said, thought};
use crate::chat::{Answer, Delta, Prompt, StopReason, Usage};
use crate::provider::draft::Draft;
use crate::provider::json::Json;
use crate::provider::sse::Event;
use crate::provider::stream::{Broken, Heard, Reader};
use crate::provider::{ANSWER_BYTES_MAX, Malformed, Parameters, list};

/// The last event.
const DONE: &str = "[DONE]";

pub(super) fn reader(prompt: &Prompt, parameters: &Parameters<'_>) -> Box<dyn Reader> {
    Box::new(Completion {
        draft: Draft::new(prompt, parameters),
        model: None,
        usage: None,
        calls: Vec::new(),
        has_refused: false,
        stop_reason: None,
        ends_at_finish_reason: parameters.abilities.ends_at_finish_reason,
        is_over: false,
    })
}

#[derive(Debug)]
struct Completion {
    draft: Draft,
    model: Option<String>,
    usage: Option<Usage>,
    /// Calls that are being written: pieces of several may come by turns, so that none is whole before all are.
    calls: Vec<Call>,
    has_refused: bool,
    stop_reason: Option<StopReason>,
    ends_at_finish_reason: bool,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    name: String,
    arguments: String,
}

impl Reader for Completion {
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken> {
        if event.data.trim() == DONE {
            self.is_over = true;
            return Ok(Heard::End);
        }
        let body = event.json()?;
        if let Some(status) = told(&body) {
            return Err(Broken::Told { status, body: body.to_value() });
        }
        Ok(self.chunk(&body)?)
    }

    fn is_over_at_end(&mut self) -> bool {
        self.is_over = self.ends_at_finish_reason && self.stop_reason.is_some();
        self.is_over
    }

    fn take(&mut self) -> Vec<Delta> {
        self.draft.take()
    }

    fn usage_so_far(&self) -> Option<Usage> {
        self.usage
    }

    fn finish(self: Box<Self>) -> Result<Answer, Malformed> {
        if !self.is_over {
            return Err(Malformed::cut());
        }
        let stop_reason =
            self.stop_reason.ok_or_else(|| Malformed::new("the stream ends without a finish reason"))?;
        let model = self.model.ok_or_else(|| Malformed::new("the stream has no text field `model`"))?;
        // Some servers do not count; that is told as zero.
        self.draft.finish(stop_reason, self.usage.unwrap_or_default(), &model)
    }
}

impl Completion {
    fn chunk(&mut self, body: &Json<'_>) -> Result<Heard, Malformed> {
        if !body.is_object() {
            return Err(Malformed::new("an event of the stream is no object"));
        }
        if let Some(model) = said(body, "model")?
            && self.model.is_none()
        {
            self.model = Some(model.to_owned());
        }
        if let Some(usage) = body.get("usage").filter(|usage| !usage.is_null()) {
            self.usage = Some(counted(usage)?);
        }
        // The chunk with the usage has no choice, and no other choice than the first was asked for.
        let Some(choice) = list(body, "choices")?.first() else { return Ok(Heard::Nothing) };
        let heard = match choice.get("delta").filter(|delta| !delta.is_null()) {
            Some(delta) => self.delta(delta)?,
            None => Heard::Nothing,
        };
        if let Some(word) = said(choice, "finish_reason")? {
            self.finished(word)?;
        }
        Ok(heard)
    }

    fn delta(&mut self, delta: &Json<'_>) -> Result<Heard, Malformed> {
        let (thought, content, refusal) = (thought(delta), said(delta, "content")?, said(delta, "refusal")?);
        let calls = list(delta, "tool_calls")?;
        if thought.is_none() && content.is_none() && refusal.is_none() && calls.is_empty() {
            return Ok(Heard::Nothing);
        }
        if self.stop_reason.is_some() {
            return Err(Malformed::new("the stream goes on after its finish reason"));
        }
        self.draft.thinking(thought.unwrap_or_default(), "")?;
        self.draft.text(content.unwrap_or_default())?;
        self.draft.text(refusal.unwrap_or_default())?;
        self.has_refused |= refusal.is_some();
        for call in calls {
            self.piece(call)?;
        }
        Ok(Heard::Content)
    }

    fn piece(&mut self, piece: &Json<'_>) -> Result<(), Malformed> {
        let index = match piece.get("index") {
            None | Some(Json::Null) => None,
            Some(index) => {
                let index = index.as_u64();
                Some(index.ok_or_else(|| Malformed::new("the index of a tool call is no count"))?)
            }
        };
        let id = said(piece, "id")?;
        let function = piece.get("function").unwrap_or(&Json::Null);
        let name = said(function, "name")?;
        let call = self.call_of(index, id, name);
        if let Some(name) = name
            && call.name.is_empty()
        {
            name.clone_into(&mut call.name);
        }
        match function.get("arguments") {
            None | Some(Json::Null) => {}
            Some(Json::Text(piece)) => call.arguments.push_str(piece),
            Some(whole @ Json::Object(_)) => call.arguments.push_str(&whole.to_value().to_string()),
            Some(_) => return Err(Malformed::new("the arguments of a tool call are no text")),
        }
        let bytes: usize = self.calls.iter().map(|call| call.arguments.len()).sum();
        if bytes > ANSWER_BYTES_MAX {
            return Err(Malformed::new("the arguments of the tool calls are too long"));
        }
        Ok(())
    }

    /// The call that a piece belongs to. Where servers leave the index out, a name that comes with another id, or
    /// with none, begins a new one.
    fn call_of(&mut self, index: Option<u64>, id: Option<&str>, name: Option<&str>) -> &mut Call {
        let at = match index {
            Some(_) => self.calls.iter().position(|call| call.index == index),
            None if name.is_some() => {
                id.and_then(|id| self.calls.iter().position(|call| call.id.as_deref() == Some(id)))
            }
            None => self.calls.len().checked_sub(1),
        };
        let at = at.unwrap_or_else(|| {
            self.calls.push(Call { index, id: id.map(str::to_owned), ..Call::default() });
            self.calls.len() - 1
        });
        &mut self.calls[at]
    }

    fn finished(&mut self, word: &str) -> Result<(), Malformed> {
        let calls = std::mem::take(&mut self.calls);
        let (count, breaks_off) = (calls.len(), breaks_off(word, self.has_refused));
        for (at, call) in calls.into_iter().enumerate() {
            let said_arguments = Json::Text(call.arguments.into());
            if breaks_off && at + 1 == count && !is_whole(Some(&said_arguments)) {
                break;
            }
            self.draft.call(call.id.as_deref(), &call.name, arguments(Some(&said_arguments)))?;
        }
        self.stop_reason = Some(match self.has_refused {
            true => StopReason::Refusal,
            false => read_stop_reason(word, self.draft.has_calls())?,
        });
        Ok(())
    }
}

/// See [`crate::provider::Adapter::told`].
pub(super) fn told(body: &Json<'_>) -> Option<u16> {
    is_error(body).then(|| status(body))
}

/// An error instead of a chunk; some servers leave out the `error` around it, as in their answers.
fn is_error(body: &Json<'_>) -> bool {
    let named = body.get("error").is_some_and(|error| !error.is_null());
    named || body.get("object").and_then(Json::as_str) == Some("error")
}

/// The status that the error has as an answer of its own: a code that is one, else what the documented words stand for
/// (<https://platform.openai.com/docs/guides/error-codes>). Any other is the server's failure.
fn status(body: &Json<'_>) -> u16 {
    let error = body.get("error");
    let found = |field| error.and_then(|error| error.get(field)).or_else(|| body.get(field));
    let words = ["code", "type"].into_iter().filter_map(found);
    words.into_iter().find_map(|word| status_of(word)).unwrap_or(500)
}

fn status_of(word: &Json<'_>) -> Option<u16> {
    // Some servers write the number as text.
    let number = word.as_u64().or_else(|| word.as_str()?.parse().ok());
    if let Some(number) = number {
        return u16::try_from(number).ok().filter(|status| (400..600).contains(status));
    }
    match word.as_str()? {
        "context_length_exceeded" | "exceed_context_size_error" => Some(400),
        "invalid_api_key" | "authentication_error" => Some(401),
        "insufficient_quota" | "rate_limit_exceeded" | "rate_limit_error" => Some(429),
        "permission_error" => Some(403),
        "model_not_found" | "not_found_error" => Some(404),
        "invalid_request_error" => Some(400),
        "service_unavailable" | "overloaded_error" | "unavailable_error" => Some(503),
        "server_error" | "api_error" => Some(500),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
