//! What is shown of a stream, message by message. Pure: time is an argument.

use std::time::Duration;

use anstyle::Style;
use bulkhead_proto::router::v1::content_block::Block;
use bulkhead_proto::router::v1::stream_generate_response::Event;
use bulkhead_proto::router::v1::{
    Attempt, AttemptReset, AttemptStarted, GenerateResponse, Message, StopReason, StreamCompleted,
    StreamFailed, StreamGenerateResponse,
};

use crate::client::{ClientError, money, text, time};

/// A shorter wait is none for a person.
const WAIT_SHOWN_MIN: Duration = Duration::from_millis(1);

/// A piece to show, line ends and all.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Of the answer.
    Answer(String),
    /// Beside it.
    Aside(String),
}

/// Where the last piece ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    LineStart,
    InAnswer,
    InThought,
}

/// A reader of one stream.
#[derive(Debug)]
pub(super) struct Screen {
    /// Text is shown as it comes; otherwise once it is whole.
    is_live: bool,
    place: Place,
    /// What was said and still holds.
    said: String,
    first: Option<Duration>,
    answer: Option<GenerateResponse>,
}

impl Screen {
    /// `is_live`: a person looks on.
    pub(super) fn new(is_live: bool) -> Self {
        Self { is_live, place: Place::LineStart, said: String::new(), first: None, answer: None }
    }

    /// The answer, once the stream has completed.
    pub(super) fn answer(self) -> Option<GenerateResponse> {
        self.answer
    }

    /// What to show of the next message, which came so long after the request.
    ///
    /// # Errors
    /// [`ClientError::Contract`] when it cannot follow what came before.
    pub(super) fn takes(
        &mut self,
        message: StreamGenerateResponse,
        at: Duration,
    ) -> Result<Vec<Shown>, ClientError> {
        let mut shown = Vec::new();
        if !message.text.is_empty() {
            self.first.get_or_insert(at);
            self.said.push_str(&message.text);
            self.flow(Place::InAnswer, &message.text, &mut shown);
        }
        match message.event {
            None => {}
            Some(Event::AttemptStarted(begun)) => self.aside(&started(&begun), &mut shown),
            Some(Event::AttemptReset(reset)) => self.reset(&reset, &mut shown)?,
            Some(Event::Thinking(thinking)) => {
                self.first.get_or_insert(at);
                self.flow(Place::InThought, &thinking.text, &mut shown);
            }
            Some(Event::ToolUse(call)) => {
                let line =
                    format!("calls {} {}", text::harmless(&call.name), text::harmless(&call.input_json));
                self.aside(&line, &mut shown);
            }
            Some(Event::Completed(completed)) => self.complete(completed, at, &mut shown),
            Some(Event::Failed(failed)) => self.fail(&failed, &mut shown),
        }
        Ok(shown)
    }

    /// The next piece of the answer, or of a thought, where a person looks on.
    fn flow(&mut self, place: Place, piece: &str, shown: &mut Vec<Shown>) {
        if !self.is_live || piece.is_empty() {
            return;
        }
        if self.place != place {
            self.end_line(shown);
        }
        let flowing = text::flowing(piece);
        self.place = if piece.ends_with('\n') { Place::LineStart } else { place };
        shown.push(if place == Place::InThought {
            Shown::Aside(dim(&flowing))
        } else {
            Shown::Answer(flowing)
        });
    }

    fn end_line(&mut self, shown: &mut Vec<Shown>) {
        match self.place {
            Place::LineStart => {}
            Place::InAnswer => shown.push(Shown::Answer("\n".to_owned())),
            Place::InThought => shown.push(Shown::Aside("\n".to_owned())),
        }
        self.place = Place::LineStart;
    }

    fn aside(&mut self, line: &str, shown: &mut Vec<Shown>) {
        self.end_line(shown);
        shown.push(Shown::Aside(format!("{}\n", dim(line))));
    }

    fn reset(&mut self, reset: &AttemptReset, shown: &mut Vec<Shown>) -> Result<(), ClientError> {
        let kept = usize::try_from(reset.text_bytes_kept).ok().and_then(|bytes| self.said.get(..bytes));
        let kept = kept.ok_or(ClientError::Contract("with an offset that is no place in the text"))?;
        self.said = kept.to_owned();
        let failed = reset.failed.as_ref().map(story).unwrap_or_default();
        self.aside(&format!("{failed}; what came is void, it starts again"), shown);
        // What was shown cannot be taken back, so what holds of it is shown once more.
        self.flow(Place::InAnswer, &self.said.clone(), shown);
        Ok(())
    }

    fn complete(&mut self, completed: StreamCompleted, at: Duration, shown: &mut Vec<Shown>) {
        let response = completed.response.unwrap_or_default();
        self.end_line(shown);
        if response.message.is_none() {
            shown.push(Shown::Answer(planned(&response.attempts)));
        } else if !self.is_live {
            shown.push(Shown::Answer(text::block(&said(response.message.as_ref()), "")));
        }
        for remark in remarks(&response, completed.continued) {
            shown.push(Shown::Aside(format!("{remark}\n")));
        }
        if response.message.is_some() {
            self.aside(&took(&response, self.first, at), shown);
        }
        self.answer = Some(response);
    }

    fn fail(&mut self, failed: &StreamFailed, shown: &mut Vec<Shown>) {
        if let Some(last) = failed.attempts.last() {
            self.aside(&story(last), shown);
        }
        let partial = said(failed.partial.as_ref());
        if self.is_live && !partial.is_empty() {
            self.aside("what came is not to be taken for an answer", shown);
        } else if !partial.is_empty() {
            self.aside("what came, not to be taken for an answer:", shown);
            shown.push(Shown::Aside(text::block(&partial, "  ")));
        }
    }
}

fn dim(line: &str) -> String {
    let dim = Style::new().dimmed();
    format!("{dim}{line}{dim:#}")
}

/// `primary: RATE_LIMITED (429), waited 1.0 s → fallback`.
fn started(begun: &AttemptStarted) -> String {
    let model = text::harmless(&begun.model);
    let before = begun.after.as_ref().map(|failed| format!("{} ", story(failed)));
    let waited = begun.waited.and_then(|waited| Duration::try_from(waited).ok()).unwrap_or_default();
    let wait =
        if waited < WAIT_SHOWN_MIN { String::new() } else { format!("waited {} ", time::lasted(waited)) };
    let before = match before {
        Some(before) if wait.is_empty() => before,
        Some(before) => format!("{}, {wait}", before.trim_end()),
        None => wait,
    };
    let goes_on = if begun.continues { ", which goes on from there" } else { "" };
    format!("{before}→ {model}{goes_on}")
}

/// `primary: RATE_LIMITED (429)`.
fn story(failed: &Attempt) -> String {
    let (model, kind) = (text::harmless(&failed.model), text::harmless(&failed.error_kind));
    match failed.http_status {
        0 => format!("{model}: {kind}"),
        status => format!("{model}: {kind} ({status})"),
    }
}

/// The text of a message.
fn said(message: Option<&Message>) -> String {
    let blocks = message.into_iter().flat_map(|message| &message.content);
    let texts = blocks.filter_map(|content| match &content.block {
        Some(Block::Text(text)) => Some(text.as_str()),
        Some(
            Block::ToolUse(_)
            | Block::ToolResult(_)
            | Block::Image(_)
            | Block::Document(_)
            | Block::Thinking(_),
        )
        | None => None,
    });
    texts.collect()
}

/// What a dry run says.
fn planned(attempts: &[Attempt]) -> String {
    let mut lines = "Would be asked, in order:\n".to_owned();
    for (index, attempt) in attempts.iter().enumerate() {
        lines += &format!("  {}. {}\n", index + 1, text::harmless(&attempt.model));
    }
    lines
}

/// What a person has to know before they trust an answer.
fn remarks(response: &GenerateResponse, continued: bool) -> Vec<&'static str> {
    let end = match response.stop_reason() {
        StopReason::Refusal => Some("The model declined."),
        StopReason::MaxTokens => Some("The answer is cut: the model had no more room for it."),
        StopReason::Unspecified | StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence => {
            None
        }
    };
    let two = continued.then_some("Two models wrote it: one went on where another broke off.");
    two.into_iter().chain(end).collect()
}

/// Model, tokens, cost and times, in one line.
fn took(response: &GenerateResponse, first: Option<Duration>, whole: Duration) -> String {
    let usage = response.usage.unwrap_or_default();
    let attempts = response.attempts.len();
    let parts = [
        Some(text::harmless(&response.model)),
        (attempts > 1).then(|| format!("{attempts} attempts")),
        Some(format!("{} tokens in, {} out", usage.input_tokens, usage.output_tokens)),
        response.cost_usd_micros.map(money::dollars),
        first.map(|first| format!("first token after {}", time::lasted(first))),
        Some(time::lasted(whole)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests;
