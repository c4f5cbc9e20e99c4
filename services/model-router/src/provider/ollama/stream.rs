//! Streamed lines (<https://docs.ollama.com/api/streaming>): each is an answer of its own, whose content goes on from
//! the line before, and the last one says that it is the last.

use super::{Said, counted, read_stop_reason, told};
use crate::chat::{Answer, Delta, Prompt, StopReason, Usage};
use crate::provider::draft::Draft;
use crate::provider::json::Json;
use crate::provider::sse::Event;
use crate::provider::stream::{Broken, Heard, Reader};
use crate::provider::{Malformed, Parameters, text};

pub(super) fn reader(prompt: &Prompt, parameters: &Parameters<'_>) -> Box<dyn Reader> {
    Box::new(Lines { draft: Draft::new(prompt, parameters), end: None })
}

#[derive(Debug)]
struct Lines {
    draft: Draft,
    /// Known from the last line.
    end: Option<End>,
}

#[derive(Debug)]
struct End {
    model: String,
    usage: Usage,
    stop_reason: StopReason,
}

impl Reader for Lines {
    fn hear(&mut self, event: &Event) -> Result<Heard, Broken> {
        let body = event.json()?;
        if let Some(status) = told(&body) {
            return Err(Broken::Told { status, body: body.to_value() });
        }
        Ok(self.line(&body)?)
    }

    fn take(&mut self) -> Vec<Delta> {
        self.draft.take()
    }

    fn usage_so_far(&self) -> Option<Usage> {
        self.end.as_ref().map(|end| end.usage)
    }

    fn finish(self: Box<Self>) -> Result<Answer, Malformed> {
        let End { model, usage, stop_reason } = self.end.ok_or_else(Malformed::cut)?;
        self.draft.finish(stop_reason, usage, &model)
    }
}

impl Lines {
    fn line(&mut self, body: &Json<'_>) -> Result<Heard, Malformed> {
        let said = Said::read(body)?;
        said.add_to(&mut self.draft)?;
        if body.get("done").and_then(Json::as_bool) == Some(true) {
            let word = body.get("done_reason").and_then(Json::as_str);
            self.end = Some(End {
                model: text(body, "model")?.to_owned(),
                usage: counted(body)?,
                stop_reason: read_stop_reason(word, self.draft.has_calls())?,
            });
            return Ok(Heard::End);
        }
        Ok(if said.is_empty() { Heard::Nothing } else { Heard::Content })
    }
}

#[cfg(test)]
mod tests;
