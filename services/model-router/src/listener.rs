//! Who listens to an answer as it is produced: what was given out, what of it still holds, and what may follow when a
//! model fails.
//!
//! Promises that a tool call is given only with the end of an answer that is whole; that an answer which is checked as a
//! whole is not shown before where it could not be taken back; and that whoever keeps the text, and discards what it is
//! told to discard, has the answer's.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::attempt::Attempt;
use crate::chat::{Block, Delta, Role, Thinking, ToolUse, Turn};
use crate::output;

/// Events that may wait for a slow reader. The model is read no faster than they are taken.
const EVENTS_AHEAD_MAX: usize = 16;

/// Asks a model to go on from what another one wrote.
const GO_ON: &str =
    "Your answer was cut off where it ends above. Go on from there, without repeating any of it.";

/// What becomes of a stream whose model fails after its first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// The next model begins anew, and what was given is void.
    Restart,
    /// The next model is given what there is and goes on.
    Continue,
    /// The stream fails.
    Fail,
}

/// What happens on the way to an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// A model is asked, after another attempt failed if it is not the first.
    Started { attempt: u32, model: String, continues: bool, after: Option<Attempt>, waited: Duration },
    /// What was given is void from this offset on, because this attempt failed.
    Reset { text_bytes_kept: u64, failed: Attempt },
    /// The next piece of the text.
    Text(String),
    /// The next piece of what the model thinks.
    Thinking(Thinking),
    /// A whole call.
    ToolUse(ToolUse),
}

/// What may follow a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sequel {
    /// Another attempt, as if this one had not been.
    Anew,
    /// Another attempt that is given what there is.
    GoOn,
    /// Nothing: what was given can be neither taken back nor added to.
    Nothing,
}

/// The one who listens to a stream.
#[derive(Debug)]
pub(crate) struct Listener {
    events: mpsc::Sender<Event>,
    recovery: Recovery,
    /// The text is checked as a whole and cannot be taken back.
    holds_text: bool,
    /// Thinking is of no interest, and so cannot be what was given.
    is_deaf_to_thinking: bool,
    attempts: u32,
    /// What was given and still holds.
    given: Vec<Block>,
    /// Bytes of text that earlier models gave and this one goes on from.
    kept: usize,
    /// The attempt that failed last.
    failed: Option<Attempt>,
    /// What was given is void as soon as another attempt begins.
    is_void: bool,
}

impl Listener {
    /// And where the events come out. `is_structured`: the text is checked as a whole.
    pub(crate) fn new(recovery: Recovery, is_structured: bool) -> (Self, mpsc::Receiver<Event>) {
        let (events, listens) = mpsc::channel(EVENTS_AHEAD_MAX);
        let holds_text = is_structured && recovery == Recovery::Fail;
        let (given, failed) = (Vec::new(), None);
        let is_deaf_to_thinking = false;
        let listener = Self {
            events,
            recovery,
            holds_text,
            is_deaf_to_thinking,
            attempts: 0,
            given,
            kept: 0,
            failed,
            is_void: false,
        };
        (listener, listens)
    }

    /// The same for one who does not want to hear what models think.
    pub(crate) fn deaf_to_thinking(self, is_deaf_to_thinking: bool) -> Self {
        Self { is_deaf_to_thinking, ..self }
    }

    /// A model is asked, after a wait.
    pub(crate) async fn begin(&mut self, model: &str, waited: Duration) {
        let after = self.failed.take();
        if let Some(failed) = after.clone().filter(|_| self.is_void) {
            self.is_void = false;
            self.given.clear();
            self.kept = 0;
            self.tell(Event::Reset { text_bytes_kept: 0, failed }).await;
        }
        self.attempts += 1;
        let (attempt, model, continues) = (self.attempts, model.to_owned(), self.kept > 0);
        self.tell(Event::Started { attempt, model, continues, after, waited }).await;
    }

    /// The next piece of the answer.
    pub(crate) async fn hear(&mut self, delta: Delta) {
        let event = match &delta {
            Delta::Text(_) if self.holds_text => return,
            Delta::ToolUse(_) => return,
            Delta::Thinking(_) if self.is_deaf_to_thinking || self.holds_text => return,
            Delta::Text(text) => Event::Text(text.clone()),
            Delta::Thinking(thinking) => Event::Thinking(thinking.clone()),
        };
        crate::chat::append(&mut self.given, delta);
        self.tell(event).await;
    }

    /// The answer is whole and was checked: what was held back is given.
    pub(crate) async fn whole(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Text(text) if self.holds_text => self.tell(Event::Text(text.clone())).await,
                Block::Thinking(thinking) if self.holds_text && !self.is_deaf_to_thinking => {
                    self.tell(Event::Thinking(thinking.clone())).await;
                }
                Block::ToolUse(call) => self.tell(Event::ToolUse(call.clone())).await,
                Block::Text(_) | Block::Thinking(_) | Block::ToolResult(_) | Block::Media(_) => {}
            }
        }
    }

    /// Gives an answer that was heard before, whole: of a model that declined, when nobody gave a better one.
    pub(crate) async fn again(&mut self, model: &str, blocks: &[Block]) {
        self.is_void = !self.given.is_empty();
        self.begin(model, Duration::ZERO).await;
        for delta in blocks.iter().cloned().filter_map(Delta::of) {
            self.hear(delta).await;
        }
        self.whole(blocks).await;
    }

    /// Whether another model may still begin anew.
    pub(crate) fn may_begin_anew(&self) -> bool {
        sequel(self.recovery, &self.given, true) == Sequel::Anew
    }

    /// An attempt failed. `is_whole`: it came to its end, and its answer will not do.
    pub(crate) fn broke(&mut self, failed: Attempt, is_whole: bool) -> Sequel {
        let sequel = sequel(self.recovery, &self.given, is_whole);
        self.failed = Some(failed);
        match sequel {
            Sequel::Anew if !self.given.is_empty() => self.is_void = true,
            Sequel::GoOn => self.kept = output::text_of(&self.given).len(),
            Sequel::Anew | Sequel::Nothing => {}
        }
        sequel
    }

    /// What was given and still holds.
    pub(crate) fn given(&self) -> &[Block] {
        &self.given
    }

    /// Whether the attempt that runs goes on from what an earlier one gave.
    pub(crate) fn continues(&self) -> bool {
        self.kept > 0
    }

    /// The text that earlier models gave and the next one goes on from; empty in general.
    pub(crate) fn kept(&self) -> String {
        let mut text = output::text_of(&self.given);
        text.truncate(self.kept);
        text
    }

    async fn tell(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            // Whoever listened left, and takes the call with it.
            tracing::debug!("nobody listens to the stream any more");
        }
    }
}

/// A failure before anything was given is nobody's business. Thinking alone is not gone on from: no model can be given
/// another's.
fn sequel(recovery: Recovery, given: &[Block], is_whole: bool) -> Sequel {
    if given.is_empty() {
        return Sequel::Anew;
    }
    // Providers refuse turns of white space.
    let has_text = !output::text_of(given).trim().is_empty();
    match recovery {
        Recovery::Fail => Sequel::Nothing,
        // What is wrong does not get right by going on.
        Recovery::Continue if has_text && !is_whole => Sequel::GoOn,
        Recovery::Restart | Recovery::Continue => Sequel::Anew,
    }
}

/// What a model is given to go on from a text.
pub(crate) fn go_on(text: String) -> Vec<Turn> {
    vec![
        Turn::new(Role::Assistant, vec![Block::Text(text)]),
        Turn::new(Role::User, vec![Block::Text(GO_ON.to_owned())]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn text() -> Vec<Block> {
        vec![Block::Text("Once".into())]
    }

    fn thought() -> Vec<Block> {
        vec![Block::Thinking(Thinking { text: "Hm".into(), signature: String::new() })]
    }

    #[test]
    fn what_follows_a_failure_depends_on_what_was_given() {
        use {Recovery as R, Sequel as S};
        let cases = [
            (R::Fail, vec![], false, S::Anew),
            (R::Restart, vec![], true, S::Anew),
            (R::Continue, vec![], false, S::Anew),
            (R::Fail, text(), false, S::Nothing),
            (R::Fail, thought(), false, S::Nothing),
            (R::Restart, text(), false, S::Anew),
            (R::Continue, text(), false, S::GoOn),
            (R::Continue, text(), true, S::Anew),
            (R::Continue, thought(), false, S::Anew),
            (R::Continue, vec![Block::Text("\n\n".into())], false, S::Anew),
        ];
        for (recovery, given, is_whole, expected) in cases {
            assert_eq!(sequel(recovery, &given, is_whole), expected, "{recovery:?} {given:?} {is_whole}");
        }
    }

    fn failed() -> Attempt {
        Attempt { model: "primary".into(), ..Attempt::default() }
    }

    fn call() -> ToolUse {
        ToolUse { id: "t1".into(), name: "fs.read".into(), input: Map::new() }
    }

    /// What comes out when a model says a word and fails, and the next one says another and ends with a call.
    async fn played(recovery: Recovery, is_structured: bool) -> Vec<String> {
        let (mut listener, mut listens) = Listener::new(recovery, is_structured);
        listener.begin("primary", Duration::ZERO).await;
        listener.hear(Delta::Text("Once".into())).await;
        listener.hear(Delta::ToolUse(call())).await;
        if listener.broke(failed(), false) != Sequel::Nothing {
            listener.begin("fallback", Duration::from_secs(1)).await;
            listener.hear(Delta::Text(" more".into())).await;
            listener.whole(&[Block::Text("Once more".into()), Block::ToolUse(call())]).await;
        }
        drop(listener);
        let mut told = Vec::new();
        while let Some(event) = listens.recv().await {
            told.push(match event {
                Event::Started { attempt, model, continues, after, waited } => {
                    let after = after
                        .map_or_else(String::new, |after| format!(" after {} and {waited:?}", after.model));
                    format!("{attempt} {model} {continues}{after}")
                }
                Event::Reset { text_bytes_kept, failed } => {
                    format!("reset {text_bytes_kept} {}", failed.model)
                }
                Event::Text(text) => text,
                Event::Thinking(thinking) => thinking.text,
                Event::ToolUse(call) => call.name,
            });
        }
        told
    }

    #[tokio::test]
    async fn whoever_keeps_what_holds_has_the_answer() {
        let restart = played(Recovery::Restart, false).await;
        assert_eq!(
            restart,
            [
                "1 primary false",
                "Once",
                "reset 0 primary",
                "2 fallback false after primary and 1s",
                " more",
                "fs.read"
            ]
        );
        let go_on = played(Recovery::Continue, false).await;
        assert_eq!(
            go_on,
            ["1 primary false", "Once", "2 fallback true after primary and 1s", " more", "fs.read"]
        );
        assert_eq!(played(Recovery::Fail, false).await, ["1 primary false", "Once"]);
    }

    #[tokio::test]
    async fn what_cannot_be_taken_back_is_checked_before_it_is_shown() {
        let held = played(Recovery::Fail, true).await;
        assert_eq!(
            held,
            ["1 primary false", "2 fallback false after primary and 1s", "Once more", "fs.read"]
        );
    }
}
