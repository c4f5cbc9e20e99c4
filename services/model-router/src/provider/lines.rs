//! Bytes into lines, whatever pieces they come in. Pure.
//!
//! A line ends with LF, CR or CRLF, as the WHATWG says of event streams; no JSON text holds either in a
//! place where that matters. Keeps one unfinished line and the piece that came last, and no more.

use std::ops::Range;
use std::str::Utf8Error;

/// What a stream may be long.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one event, or of one line.
    pub event_bytes_max: usize,
    /// Bytes of the whole stream, line ends and comments among them.
    pub total_bytes_max: usize,
}

/// Why bytes are no stream of events. Quotes nothing of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// One event is too long.
    #[error("an event of the stream is longer than {max} bytes")]
    EventTooLong {
        /// The limit.
        max: usize,
    },
    /// The stream is too long.
    #[error("the stream is longer than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// A line is not UTF-8.
    #[error("the stream is not UTF-8")]
    NotUtf8(#[from] Utf8Error),
}

/// Splits bytes into lines. After an error nothing that it gives means anything.
#[derive(Debug)]
pub(super) struct Lines {
    limits: Limits,
    buffer: Vec<u8>,
    /// Where the next line begins in the buffer.
    start: usize,
    /// Up to here the buffer holds no line end after `start`.
    searched: usize,
    /// The last line ended with CR: a LF that follows belongs to it.
    after_cr: bool,
    /// Bytes of all lines before `start`.
    consumed: usize,
}

impl Lines {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, buffer: Vec::new(), start: 0, searched: 0, after_cr: false, consumed: 0 }
    }

    /// Takes the next piece. Whoever keeps to the limits asks for lines until there are none before the next.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line without its end; none until more is pushed.
    ///
    /// # Errors
    /// [`DecodeError`], at the same place whatever the pieces were.
    pub(super) fn line(&mut self) -> Result<Option<&str>, DecodeError> {
        match self.complete()? {
            Some(line) => Ok(Some(str::from_utf8(&self.buffer[line])?)),
            None => Ok(None),
        }
    }

    /// What came after the last line end, once nothing more will come; none if it was nothing.
    ///
    /// # Errors
    /// [`DecodeError::NotUtf8`]; its length was looked at by [`Lines::line`].
    pub(super) fn rest(&mut self) -> Result<Option<&str>, DecodeError> {
        let rest = std::mem::replace(&mut self.start, self.buffer.len())..self.buffer.len();
        self.searched = self.start;
        let rest = str::from_utf8(&self.buffer[rest])?;
        Ok((!rest.is_empty()).then_some(rest))
    }

    /// Whether nothing came after the last line end.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.buffer.len()
    }

    fn complete(&mut self) -> Result<Option<Range<usize>>, DecodeError> {
        self.skip_lf();
        let found = memchr::memchr2(b'\r', b'\n', &self.buffer[self.searched..]);
        self.searched = found.map_or(self.buffer.len(), |at| self.searched + at);
        let line = self.start..self.searched;
        self.check(line.len())?;
        if found.is_none() {
            return Ok(None);
        }
        self.after_cr = self.buffer[line.end] == b'\r';
        self.consumed += line.len() + 1;
        self.start = line.end + 1;
        self.searched = self.start;
        Ok(Some(line))
    }

    fn skip_lf(&mut self) {
        let Some(next) = self.buffer.get(self.start) else { return };
        if self.after_cr && *next == b'\n' {
            self.start += 1;
            self.searched = self.start;
            self.consumed += 1;
        }
        self.after_cr = false;
    }

    fn check(&self, line_bytes: usize) -> Result<(), DecodeError> {
        let Limits { event_bytes_max, total_bytes_max } = self.limits;
        if line_bytes > event_bytes_max {
            return Err(DecodeError::EventTooLong { max: event_bytes_max });
        }
        if self.consumed + line_bytes > total_bytes_max {
            return Err(DecodeError::TooLong { max: total_bytes_max });
        }
        Ok(())
    }
}
