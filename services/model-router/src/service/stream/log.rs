//! What was said on a stream, from its beginning, for any number of readers who each read at their own pace. Pure.
//!
//! Promises that a reader gets everything from the beginning, in order and once, but for text and thinking that became
//! void before it got there. Pieces that nobody waits for grow together, so that the log is as large as the answer, however
//! small its pieces are; and what is void is let go, so that it is never larger than what still holds.

use crate::chat::Thinking;
use crate::listener::Event;

/// Everything so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    parts: Vec<Part>,
}

/// How far somebody has read. The default is the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    part: usize,
    /// Of a part that grows.
    bytes: usize,
}

#[derive(Debug)]
enum Part {
    Text(String),
    /// Unsigned: a piece with a signature is whole.
    Thinking(String),
    Whole(Box<Event>),
}

impl Log {
    /// Something more was said.
    pub(super) fn push(&mut self, event: Event) {
        match (self.parts.last_mut(), event) {
            (Some(Part::Text(text)), Event::Text(piece)) => text.push_str(&piece),
            (Some(Part::Thinking(text)), Event::Thinking(piece)) if piece.signature.is_empty() => {
                text.push_str(&piece.text);
            }
            (_, Event::Text(piece)) => self.parts.push(Part::Text(piece)),
            (_, Event::Thinking(piece)) if piece.signature.is_empty() => {
                self.parts.push(Part::Thinking(piece.text));
            }
            (_, Event::Reset { text_bytes_kept, failed }) => {
                if text_bytes_kept == 0 {
                    self.forget_pieces();
                }
                self.parts.push(Part::Whole(Box::new(Event::Reset { text_bytes_kept, failed })));
            }
            (_, event) => self.parts.push(Part::Whole(Box::new(event))),
        }
    }

    /// What comes next for a reader, if anything does: of a text, all that there is.
    pub(super) fn next(&self, cursor: &mut Cursor) -> Option<Event> {
        loop {
            let part = self.parts.get(cursor.part)?;
            let event = match part {
                Part::Text(text) => unread(text, cursor).map(Event::Text),
                Part::Thinking(text) => unread(text, cursor)
                    .map(|text| Event::Thinking(Thinking { text, signature: String::new() })),
                Part::Whole(event) => Some(Event::clone(event)),
            };
            let may_grow = matches!(part, Part::Text(_) | Part::Thinking(_));
            if event.is_some() && may_grow {
                return event;
            }
            if may_grow && cursor.part + 1 == self.parts.len() {
                return None;
            }
            *cursor = Cursor { part: cursor.part + 1, bytes: 0 };
            if event.is_some() {
                return event;
            }
        }
    }

    fn forget_pieces(&mut self) {
        for part in &mut self.parts {
            match part {
                Part::Text(text) | Part::Thinking(text) => *text = String::new(),
                Part::Whole(_) => {}
            }
        }
    }
}

/// The rest of a part from where a reader stands; none where that is its end, or void by now.
fn unread(text: &str, cursor: &mut Cursor) -> Option<String> {
    let rest = text.get(cursor.bytes..).filter(|rest| !rest.is_empty())?;
    cursor.bytes = text.len();
    Some(rest.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::attempt::Attempt;

    fn text(piece: &str) -> Event {
        Event::Text(piece.into())
    }

    fn thinking(text: &str, signature: &str) -> Event {
        Event::Thinking(Thinking { text: text.into(), signature: signature.into() })
    }

    fn started(attempt: u32) -> Event {
        let (model, waited) = ("primary".into(), Duration::ZERO);
        Event::Started { attempt, model, continues: false, after: None, waited }
    }

    fn reset() -> Event {
        Event::Reset { text_bytes_kept: 0, failed: Attempt::default() }
    }

    fn rest(log: &Log, cursor: &mut Cursor) -> Vec<Event> {
        std::iter::from_fn(|| log.next(cursor)).collect()
    }

    #[test]
    fn who_keeps_up_gets_each_piece_and_who_comes_late_gets_them_in_one() {
        let mut log = Log::default();
        let mut early = Cursor::default();
        for event in
            [started(1), thinking("H", ""), thinking("m", ""), thinking("", "s"), text("On"), text("ce")]
        {
            log.push(event.clone());
            assert_eq!(rest(&log, &mut early), [event]);
            assert_eq!(rest(&log, &mut early), []);
        }
        let all = [started(1), thinking("Hm", ""), thinking("", "s"), text("Once")];
        assert_eq!(rest(&log, &mut Cursor::default()), all);
    }

    #[test]
    fn what_is_void_is_let_go_and_said_to_be_void() {
        let mut log = Log::default();
        let (mut ahead, mut behind) = (Cursor::default(), Cursor::default());
        for event in [started(1), text("On")] {
            log.push(event);
        }
        assert_eq!(rest(&log, &mut behind), [started(1), text("On")]);
        log.push(text("ce"));
        assert_eq!(rest(&log, &mut ahead), [started(1), text("Once")]);
        for event in [reset(), started(2), text("A")] {
            log.push(event);
        }
        for mut reader in [ahead, behind] {
            assert_eq!(rest(&log, &mut reader), [reset(), started(2), text("A")]);
        }
        assert_eq!(rest(&log, &mut Cursor::default()), [started(1), reset(), started(2), text("A")]);
    }

    /// What somebody has who keeps the text and discards what is void; and all else.
    fn kept(events: &[Event]) -> (String, String, Vec<Event>) {
        let (mut said, mut thought, mut others) = (String::new(), String::new(), Vec::new());
        for event in events {
            match event {
                Event::Text(piece) => said.push_str(piece),
                Event::Thinking(piece) if piece.signature.is_empty() => thought.push_str(&piece.text),
                Event::Reset { .. } => {
                    said.clear();
                    thought.clear();
                    others.push(event.clone());
                }
                _ => others.push(event.clone()),
            }
        }
        (said, thought, others)
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => "[a-zé]{1,3}".prop_map(Event::Text),
            2 => "[a-zé]{1,3}".prop_map(|text| thinking(&text, "")),
            1 => Just(thinking("", "s")),
            1 => (1_u32..9).prop_map(started),
            1 => Just(reset()),
        ]
    }

    proptest! {
        #[test]
        fn every_reader_has_the_same_in_the_end(
            events in prop::collection::vec((any_event(), prop::collection::vec(any::<bool>(), 3)), 0..40),
        ) {
            let mut log = Log::default();
            let mut readers = vec![(Cursor::default(), Vec::new()); 3];
            for (event, reads) in &events {
                log.push(event.clone());
                for ((cursor, read), reads) in readers.iter_mut().zip(reads) {
                    if *reads {
                        read.extend(log.next(cursor));
                    }
                }
            }
            let said: Vec<Event> = events.into_iter().map(|(event, _)| event).collect();
            for (cursor, read) in &mut readers {
                read.extend(rest(&log, cursor));
                prop_assert_eq!(kept(read), kept(&said));
            }
        }
    }
}
