//! Streams of the contract, as server-sent events of an API.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use bulkhead_proto::router::v1 as pb;
use bytes::Bytes;
use futures::stream::{self, StreamExt as _};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::StreamBody;
use pb::content_block::Block;
use pb::stream_generate_response::Event;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::grpc::status;
use crate::service::Messages;

/// How long a stream may be silent before a sign of life is sent. Proxies on the way give up after half a minute or a
/// minute without a byte; ten seconds is well below, and costs nothing.
pub(super) const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(10);

/// The words of an API for what a stream can say. Each gives the events to send, with the blank line after each;
/// nothing where the API has no word for it.
pub(super) trait Events: Send {
    /// The next piece of the text.
    fn text(&mut self, piece: &str) -> String;
    /// The next piece of what the model shows of its thinking.
    fn thinking(&mut self, piece: &pb::Thinking) -> String;
    /// A whole tool call.
    fn tool_use(&mut self, wanted: &pb::ToolUse) -> String;
    /// The end of an answer.
    fn completed(&mut self, response: &pb::GenerateResponse) -> String;
}

/// Something that was sent is void, which these APIs cannot say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a model failed in the middle of its answer, and what it gave cannot be taken back")]
pub(super) struct Voided;

/// Tells a stream, message by message.
pub(super) struct Teller {
    events: Box<dyn Events>,
    /// Of the text, sent so far.
    text_bytes: u64,
    /// Of the attempt, sent and not text.
    has_more: bool,
    /// The text is JSON that is checked as a whole: what was validated is told in its place, in the end.
    is_structured: bool,
    /// The end of an answer was told.
    is_over: bool,
    /// Who was asked last.
    pub(super) model: String,
    /// How often anybody was.
    pub(super) attempts: usize,
}

impl Teller {
    pub(super) fn new(events: Box<dyn Events>, is_structured: bool) -> Self {
        Self {
            events,
            text_bytes: 0,
            has_more: false,
            is_structured,
            is_over: false,
            model: String::new(),
            attempts: 0,
        }
    }

    /// What is sent for a message. A failure is told by the status that follows it.
    pub(super) fn tell(&mut self, message: &pb::StreamGenerateResponse) -> Result<String, Voided> {
        let mut told = match message.text.as_str() {
            "" => String::new(),
            _held if self.is_structured => String::new(),
            piece => self.text(piece),
        };
        match &message.event {
            None | Some(Event::Failed(_)) => {}
            Some(Event::AttemptStarted(started)) => {
                self.model.clone_from(&started.model);
                self.attempts = usize::try_from(started.attempt).unwrap_or(usize::MAX);
                self.has_more = false;
            }
            Some(Event::AttemptReset(reset)) => self.reset(reset)?,
            Some(Event::Thinking(piece)) => told += &self.more().thinking(piece),
            Some(Event::ToolUse(wanted)) => told += &self.more().tool_use(wanted),
            Some(Event::Completed(completed)) => {
                told += &self.completed(&completed.response.clone().unwrap_or_default());
            }
        }
        Ok(told)
    }

    fn text(&mut self, piece: &str) -> String {
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.text_bytes = self.text_bytes.saturating_add(bytes);
        self.events.text(piece)
    }

    fn completed(&mut self, response: &pb::GenerateResponse) -> String {
        self.is_over = true;
        let json = if self.is_structured { output(response) } else { String::new() };
        let told = if json.is_empty() { String::new() } else { self.events.text(&json) };
        told + &self.events.completed(response)
    }

    fn more(&mut self) -> &mut dyn Events {
        self.has_more = true;
        &mut *self.events
    }

    fn reset(&self, reset: &pb::AttemptReset) -> Result<(), Voided> {
        if self.has_more || reset.text_bytes_kept < self.text_bytes { Err(Voided) } else { Ok(()) }
    }
}

/// The JSON that was asked for; of an answer that has none, as a refusal, its text.
fn output(response: &pb::GenerateResponse) -> String {
    if !response.structured_json.is_empty() {
        return response.structured_json.clone();
    }
    let blocks = response.message.iter().flat_map(|message| &message.content);
    let texts = blocks.filter_map(|content| match &content.block {
        Some(Block::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// A sign of life, with the blank line after it, and the silence after which it is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepAlive {
    pub(super) words: &'static str,
    pub(super) after: Duration,
}

/// A stream on its way to its reader.
pub(super) struct Telling {
    messages: Messages,
    teller: Teller,
    keep_alive: KeepAlive,
}

impl Telling {
    pub(super) fn new(messages: Messages, teller: Teller, keep_alive: KeepAlive) -> Self {
        Self { messages, teller, keep_alive }
    }

    /// Waits for something to tell, so that whatever fails before is no stream yet; or for so long that its reader has to
    /// hear that somebody is there.
    pub(super) async fn begin(mut self) -> Result<Begun, Status> {
        let first = self.next().await?;
        Ok(Begun { first, telling: self })
    }

    /// What is sent next.
    async fn next(&mut self) -> Result<String, Status> {
        let due = Instant::now() + self.keep_alive.after;
        loop {
            let Ok(message) = timeout_at(due, self.messages.next()).await else {
                return Ok(self.keep_alive.words.to_owned());
            };
            let message = message.unwrap_or_else(|| Err(status::stream_broken().into()))?;
            let told = self.teller.tell(&message);
            let told = told.map_err(|Voided| Status::from(status::stream_broken()))?;
            if !told.is_empty() || self.teller.is_over {
                return Ok(told);
            }
        }
    }
}

/// A stream whose first events are there.
pub(super) struct Begun {
    first: String,
    telling: Telling,
}

impl Begun {
    /// What is known of it by now.
    pub(super) fn teller(&self) -> &Teller {
        &self.telling.teller
    }

    /// The body. It ends with trailers where it fails, which the edge puts into words.
    pub(super) fn into_body(self) -> Body {
        let Self { first, telling } = self;
        let rest = stream::unfold(Some(telling), |telling| async {
            let mut telling = telling.filter(|telling| !telling.teller.is_over)?;
            match telling.next().await {
                Ok(told) => Some((Frame::data(Bytes::from(told)), Some(telling))),
                Err(status) => Some((trailers(&status), None)),
            }
        });
        let first = stream::once(async move { Frame::data(Bytes::from(first)) });
        Body::new(StreamBody::new(first.chain(rest).map(Ok::<_, Infallible>)))
    }
}

fn trailers(status: &Status) -> Frame<Bytes> {
    let mut trailers = HeaderMap::new();
    // A status that does not fit into headers is told without its details.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(i32::from(status.code())));
    }
    Frame::trailers(trailers)
}

#[cfg(test)]
pub(super) mod samples {
    //! Streams that both APIs are tested with.

    use serde_json::Value;

    use super::*;

    pub(crate) fn text(piece: &str) -> pb::StreamGenerateResponse {
        pb::StreamGenerateResponse { text: piece.into(), event: None }
    }

    pub(crate) fn event(event: Event) -> pb::StreamGenerateResponse {
        pb::StreamGenerateResponse { text: String::new(), event: Some(event) }
    }

    pub(crate) fn started(attempt: u32, model: &str) -> pb::StreamGenerateResponse {
        event(Event::AttemptStarted(pb::AttemptStarted {
            attempt,
            model: model.into(),
            ..pb::AttemptStarted::default()
        }))
    }

    pub(crate) fn thinking(text: &str, signature: &str) -> pb::StreamGenerateResponse {
        event(Event::Thinking(pb::Thinking { text: text.into(), signature: signature.into() }))
    }

    pub(crate) fn call(id: &str) -> pb::StreamGenerateResponse {
        event(Event::ToolUse(pb::ToolUse {
            tool_use_id: id.into(),
            name: "fs.read".into(),
            input_json: r#"{"path":"a.md"}"#.into(),
        }))
    }

    pub(crate) fn reset(text_bytes_kept: u64) -> pb::StreamGenerateResponse {
        event(Event::AttemptReset(pb::AttemptReset { text_bytes_kept, failed: None }))
    }

    pub(crate) fn completed(stop_reason: pb::StopReason) -> pb::StreamGenerateResponse {
        let usage = pb::Usage { input_tokens: 12, output_tokens: 5, ..pb::Usage::default() };
        let response = pb::GenerateResponse {
            message: Some(pb::Message::default()),
            stop_reason: stop_reason.into(),
            usage: Some(usage),
            ..pb::GenerateResponse::default()
        };
        event(Event::Completed(pb::StreamCompleted { response: Some(response), continued: false }))
    }

    /// Events with their names and data, so that the order of keys does not count.
    pub(crate) fn parsed(told: &str) -> Vec<(String, Value)> {
        let read = |event: &str| {
            let line =
                |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            let data = line("data: ");
            let data = serde_json::from_str(data).unwrap_or_else(|_no_json| Value::from(data));
            (line("event: ").to_owned(), data)
        };
        told.split_terminator("\n\n").map(read).collect()
    }

    /// Everything that is sent for a stream.
    pub(crate) fn told(events: impl Events + 'static, stream: &[pb::StreamGenerateResponse]) -> String {
        let mut teller = Teller::new(Box::new(events), false);
        stream.iter().map(|message| teller.tell(message).expect("nothing is void")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{call, completed, event, reset, started, text, thinking};
    use super::*;
    use crate::doors::media;

    /// Says the kinds of what it is told.
    struct Kinds;

    impl Events for Kinds {
        fn text(&mut self, piece: &str) -> String {
            piece.to_owned()
        }
        fn thinking(&mut self, _piece: &pb::Thinking) -> String {
            "?".into()
        }
        fn tool_use(&mut self, _wanted: &pb::ToolUse) -> String {
            "!".into()
        }
        fn completed(&mut self, _response: &pb::GenerateResponse) -> String {
            ".".into()
        }
    }

    #[test]
    fn a_stream_is_told_in_its_order_and_says_who_was_asked() {
        let mut teller = Teller::new(Box::new(Kinds), false);
        let stream = [
            started(1, "primary"),
            reset(0),
            started(2, "fallback"),
            thinking("hm", ""),
            text("Two "),
            text("points"),
            call("t1"),
            completed(pb::StopReason::ToolUse),
        ];
        let told: Result<String, Voided> = stream.iter().map(|message| teller.tell(message)).collect();
        assert_eq!(told.as_deref(), Ok("?Two points!."));
        assert_eq!((teller.model.as_str(), teller.attempts), ("fallback", 2));
    }

    #[test]
    fn what_was_given_cannot_be_taken_back() {
        let fails = |before: &[pb::StreamGenerateResponse], kept: u64| {
            let mut teller = Teller::new(Box::new(Kinds), false);
            for message in before {
                teller.tell(message).expect("nothing is void yet");
            }
            teller.tell(&reset(kept)) == Err(Voided)
        };
        assert!(fails(&[text("Two ")], 0));
        assert!(fails(&[text("Two ")], 3));
        assert!(fails(&[call("t1")], 0));
        assert!(fails(&[thinking("hm", "")], 0));
        assert!(!fails(&[text("Two ")], 4));
        assert!(!fails(&[text("Two "), call("t1"), started(2, "fallback")], 4));
        assert!(!fails(&[], 0));
    }

    #[test]
    fn json_is_told_as_it_was_validated() {
        let content = vec![media::block(Block::Text("```json\n{}\n```".into()))];
        let answer = |structured_json: &str| {
            let message = Some(pb::Message { role: pb::Role::Assistant.into(), content: content.clone() });
            let structured_json = structured_json.into();
            let response =
                pb::GenerateResponse { message, structured_json, ..pb::GenerateResponse::default() };
            event(Event::Completed(pb::StreamCompleted { response: Some(response), continued: false }))
        };
        for (validated, told) in [("{}", "{}."), ("", "```json\n{}\n```.")] {
            let mut teller = Teller::new(Box::new(Kinds), true);
            let stream = [text("```json\n{}\n```"), answer(validated)];
            let all: Result<String, Voided> = stream.iter().map(|message| teller.tell(message)).collect();
            assert_eq!(all.as_deref(), Ok(told));
        }
    }

    #[tokio::test]
    async fn a_silent_stream_gives_signs_of_life_and_loses_nothing() {
        const KEEP_ALIVE: KeepAlive = KeepAlive { words: "~", after: Duration::from_millis(5) };
        let (say, said) = tokio::sync::mpsc::channel(9);
        let messages =
            stream::unfold(said, |mut said| async { Some((Ok(said.recv().await?), said)) }).boxed();
        let telling = Telling::new(messages, Teller::new(Box::new(Kinds), false), KEEP_ALIVE);
        say.send(started(1, "primary")).await.expect("heard");
        let begun = telling.begin().await.expect("begins");
        assert_eq!((begun.first.as_str(), begun.teller().model.as_str()), ("~", "primary"));
        let mut body = begun.into_body().into_data_stream();
        let mut next =
            async || String::from_utf8_lossy(&body.next().await.expect("more").expect("data")).into_owned();
        assert_eq!((next().await.as_str(), next().await.as_str()), ("~", "~"));
        for message in [text("Hi"), started(2, "fallback"), completed(pb::StopReason::EndTurn)] {
            say.send(message).await.expect("heard");
        }
        let mut told = String::new();
        while !told.ends_with('.') {
            told += &next().await;
        }
        assert_eq!(told.replace('~', ""), "Hi.");
        assert!(body.next().await.is_none(), "nothing comes after the end");
    }

    #[test]
    fn a_failure_is_left_to_the_status() {
        let failed = event(Event::Failed(pb::StreamFailed::default()));
        assert_eq!(samples::told(Kinds, &[failed]), "");
    }
}
