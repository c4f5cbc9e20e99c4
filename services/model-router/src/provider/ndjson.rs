//! Newline-delimited JSON (<https://github.com/ndjson/ndjson-spec>): one text a line. Pure.

use super::lines::{DecodeError, Limits, Lines};

/// Reads lines out of bytes that come in any pieces; empty ones are passed over. After an error nothing that it
/// gives means anything.
#[derive(Debug)]
pub struct Decoder {
    lines: Lines,
}

impl Decoder {
    /// At the beginning of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { lines: Lines::new(limits) }
    }

    /// Takes the next piece. Ask for lines until there are none before the next: that keeps memory within the limits.
    pub fn push(&mut self, bytes: &[u8]) {
        self.lines.push(bytes);
    }

    /// The next line; none until more is pushed.
    ///
    /// # Errors
    /// [`DecodeError`], after the same lines whatever the pieces were.
    pub fn line(&mut self) -> Result<Option<String>, DecodeError> {
        while let Some(line) = self.lines.line()? {
            if !line.trim().is_empty() {
                return Ok(Some(line.to_owned()));
            }
        }
        Ok(None)
    }

    /// The last line, where the stream ends without a line end.
    ///
    /// # Errors
    /// [`DecodeError::NotUtf8`].
    pub fn rest(&mut self) -> Result<Option<String>, DecodeError> {
        let rest = self.lines.rest()?;
        Ok(rest.filter(|line| !line.trim().is_empty()).map(str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { event_bytes_max: 16, total_bytes_max: 64 };

    fn read<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<String>, Option<DecodeError>) {
        let mut decoder = Decoder::new(LIMITS);
        let mut lines = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.line() {
                    Ok(Some(line)) => lines.push(line),
                    Ok(None) => break,
                    Err(error) => return (lines, Some(error)),
                }
            }
        }
        match decoder.rest() {
            Ok(rest) => lines.extend(rest),
            Err(error) => return (lines, Some(error)),
        }
        (lines, None)
    }

    #[test]
    fn lines_are_found_whatever_ends_them() {
        let cases: [(&str, &[&str]); 5] = [
            ("{\"a\":1}\n{\"b\":2}\n", &["{\"a\":1}", "{\"b\":2}"]),
            ("{\"a\":1}\r\n\r\n \n{\"b\":2}", &["{\"a\":1}", "{\"b\":2}"]),
            ("{}\r{}\n\n", &["{}", "{}"]),
            ("", &[]),
            ("\n\n", &[]),
        ];
        for (stream, expected) in cases {
            let expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(read([stream.as_bytes()]), (expected, None), "{stream:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_an_error_after_the_lines_before_it() {
        let cases = [
            (format!("{{}}\n{}", "x".repeat(17)), 1, Some(DecodeError::EventTooLong { max: 16 })),
            ("{\"a\":1}\n".repeat(9), 8, Some(DecodeError::TooLong { max: 64 })),
            (format!("{{}}\n{}", "x".repeat(16)), 2, None),
        ];
        for (stream, lines, expected) in cases {
            let (read, error) = read([stream.as_bytes()]);
            assert_eq!((read.len(), error), (lines, expected), "{stream:?}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_same_lines(
            tokens in proptest::collection::vec(
                prop_oneof![
                    Just("{}".as_bytes().to_vec()),
                    Just(b"\n".to_vec()),
                    Just(b"\r".to_vec()),
                    Just("\u{1f33f}".as_bytes().to_vec()),
                    proptest::collection::vec(any::<u8>(), 0..4),
                ],
                0..30,
            ),
            size in 1_usize..9,
        ) {
            let bytes = tokens.concat();
            prop_assert_eq!(read(bytes.chunks(size)), read([bytes.as_slice()]));
        }
    }
}
