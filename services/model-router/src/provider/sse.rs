//! Server-sent events (WHATWG HTML, section 9.2, "Parsing an event stream"). Pure.
//!
//! Two departures, both to the strict side: bytes that are not UTF-8 are an error and not replaced, and
//! lengths are limited. `id` and `retry` are left out: a broken stream of a model cannot be resumed.

use super::lines::{DecodeError, Limits, Lines};

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// From the field `event`; empty where there is none.
    pub name: String,
    /// The lines of the field `data`, joined.
    pub data: String,
}

/// Reads events out of bytes that come in any pieces. After an error nothing that it gives means anything.
#[derive(Debug)]
pub struct Decoder {
    lines: Lines,
    event_bytes_max: usize,
    is_first_line: bool,
    name: String,
    /// None until the event has a field `data`.
    data: Option<String>,
}

impl Decoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            lines: Lines::new(limits),
            event_bytes_max: limits.event_bytes_max,
            is_first_line: true,
            name: String::new(),
            data: None,
        }
    }

    /// Takes the next piece. Ask for events until there are none before the next: that keeps memory within the limits.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next event; none until more is pushed. One that the stream's end cuts off is none.
    ///
    /// # Errors
    /// [`DecodeError`], after the same events whatever the pieces were.
    pub fn event(&mut self) -> Result<Option<Event>, DecodeError> {
        while let Some(line) = self.lines.line()? {
            let is_first = std::mem::replace(&mut self.is_first_line, false);
            let line = if is_first { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
            if line.is_empty() {
                let name = std::mem::take(&mut self.name);
                if let Some(data) = self.data.take() {
                    return Ok(Some(Event { name, data }));
                }
                continue;
            }
            // A line that begins with a colon is a comment: a field without a name.
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => add(&mut self.data, value, self.event_bytes_max)?,
                _ => {}
            }
        }
        Ok(None)
    }

    /// Whether the bytes so far end in the middle of an event.
    #[must_use]
    pub fn is_within_event(&self) -> bool {
        self.data.is_some() || !self.lines.is_empty()
    }
}

fn add(data: &mut Option<String>, value: &str, max: usize) -> Result<(), DecodeError> {
    let Some(data) = data else {
        *data = Some(value.to_owned());
        return Ok(());
    };
    if data.len() + 1 + value.len() > max {
        return Err(DecodeError::EventTooLong { max });
    }
    data.push('\n');
    data.push_str(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { event_bytes_max: 64, total_bytes_max: 4_096 };

    /// The events of a stream that comes in these pieces, and how it failed.
    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<Event>, Option<DecodeError>) {
        let mut decoder = Decoder::new(LIMITS);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => return (events, Some(error)),
                }
            }
        }
        (events, None)
    }

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.into(), data: data.into() }
    }

    #[test]
    fn streams_are_read_as_the_standard_says() {
        let cases: [(&str, &[(&str, &str)]); 16] = [
            // The standard's own examples.
            ("data: YHOO\ndata: +2\ndata: 10\n\n", &[("", "YHOO\n+2\n10")]),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n",
                &[("", "first event"), ("", "second event")],
            ),
            ("data:  third event\n\n", &[("", " third event")]),
            ("data\n\ndata\ndata\n\ndata:", &[("", ""), ("", "\n")]),
            ("data:test\n\ndata: test\n\n", &[("", "test"), ("", "test")]),
            // Names, and one that is forgotten with an event that has no data.
            ("event: a\ndata: 1\n\ndata: 2\n\n", &[("a", "1"), ("", "2")]),
            ("event: a\n\ndata: 2\n\n", &[("", "2")]),
            ("event: a\nevent: b\ndata: 1\n\n", &[("b", "1")]),
            // Every line end, mixed.
            ("data: 1\r\n\r\ndata: 2\r\rdata: 3\n\n", &[("", "1"), ("", "2"), ("", "3")]),
            ("data: 1\r\n\ndata: 2\n\r\n", &[("", "1"), ("", "2")]),
            // A byte order mark at the beginning and nowhere else.
            ("\u{feff}data: 1\n\n", &[("", "1")]),
            ("\n\u{feff}data: 1\n\n", &[]),
            ("\u{feff}\u{feff}data: 1\n\n", &[]),
            // Fields that are none of ours; an event that the end cuts off.
            ("retry: 5\nfoo: x\n Data: y\ndata: 1\n\n", &[("", "1")]),
            ("data: 1\n\ndata: 2\n", &[("", "1")]),
            ("data: {\"a\": \"b: c\"}\n\n", &[("", "{\"a\": \"b: c\"}")]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<Event> = expected.iter().map(|(name, data)| event(name, data)).collect();
            assert_eq!(read([stream.as_bytes()]), (expected, None), "{stream:?}");
        }
    }

    #[test]
    fn what_is_too_long_or_no_text_is_an_error_after_the_events_before_it() {
        let long = |bytes: usize| format!("data: 1\n\ndata: {}", "x".repeat(bytes));
        let lines = format!("data: 1\n\n{}", "data: 12345678\n".repeat(8));
        let comments = format!("data: 1\n\n{}", ": keep-alive\n\n".repeat(400));
        let too_long = Some(DecodeError::EventTooLong { max: 64 });
        let cases = [
            (long(58), None),
            (long(59), too_long.clone()),
            (lines, too_long),
            (comments, Some(DecodeError::TooLong { max: 4_096 })),
        ];
        for (stream, expected) in cases {
            assert_eq!(read([stream.as_bytes()]), (vec![event("", "1")], expected), "{stream:?}");
        }
        let (events, error) = read([b"data: 1\n\ndata: \xff\n\n".as_slice()]);
        assert_eq!(events, [event("", "1")]);
        assert!(matches!(error, Some(DecodeError::NotUtf8(_))), "{error:?}");
    }

    /// Streams that are full of what the decoder looks at.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let token = prop_oneof![
            Just("data".as_bytes().to_vec()),
            Just("event: delta".as_bytes().to_vec()),
            Just(b"data: ".to_vec()),
            Just(b": ".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\n\n".to_vec()),
            Just("\u{feff}".as_bytes().to_vec()),
            Just("gr\u{fc}n \u{1f33f}".as_bytes().to_vec()),
            Just("x".repeat(40).into_bytes()),
            proptest::collection::vec(any::<u8>(), 0..3),
        ];
        proptest::collection::vec(token, 0..60).prop_map(|tokens| tokens.concat())
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_events(bytes in stream(), cuts in proptest::collection::vec(0_usize..200, 0..12)) {
            let whole = read([bytes.as_slice()]);
            prop_assert_eq!(read(bytes.chunks(1)), whole.clone());
            let mut rest = bytes.as_slice();
            let mut pieces = Vec::new();
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(read(pieces), whole);
        }

        #[test]
        fn what_is_written_as_events_is_read_as_events(
            written in proptest::collection::vec(("[a-z_]{0,8}", "[^\r\n]{0,9}(\n[^\r\n]{0,9})?"), 0..9),
        ) {
            let mut bytes = String::new();
            for (name, data) in &written {
                bytes.push_str(&format!("event: {name}\n"));
                for line in data.split('\n') {
                    bytes.push_str(&format!("data: {line}\r\n"));
                }
                bytes.push('\n');
            }
            let expected: Vec<Event> = written.iter().map(|(name, data)| event(name, data)).collect();
            prop_assert_eq!(read([bytes.as_bytes()]), (expected, None));
        }
    }
}
