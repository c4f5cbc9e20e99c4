//! Where answers go: text for people, JSON for programs, on standard output; everything else on standard
//! error.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write as _};

use serde_json::Value;
use terminal_size::{Width, terminal_size_of};

use super::failure::ClientError;
use super::text::harmless_json;

/// The form of the answers, and whether anybody still reads them.
#[derive(Debug)]
pub(crate) struct Output {
    /// Programs read it.
    pub(crate) json: bool,
    closed: Cell<bool>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, closed: Cell::new(false) }
    }

    /// Columns of the terminal; none when it is not one, where lines are as long as they are.
    pub(crate) fn columns(&self) -> Option<u16> {
        terminal_size_of(io::stdout()).map(|(Width(columns), _)| columns)
    }

    /// True once nobody reads any more, as after `| head`. What loops stops then; what acted has acted, and
    /// its exit code stays what it is.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Text for people, colours in it. They are left out where standard output is no terminal or `NO_COLOR`
    /// is set.
    pub(crate) fn text(&self, text: &str) -> Result<(), ClientError> {
        let mut out = anstream::stdout().lock();
        self.settle(writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()))
    }

    /// A piece of a text for people that goes on, as it is.
    pub(crate) fn piece(&self, piece: &str) -> Result<(), ClientError> {
        let mut out = anstream::stdout().lock();
        self.settle(write!(out, "{piece}").and_then(|()| out.flush()))
    }

    /// One JSON document.
    pub(crate) fn document(&self, value: &Value) -> Result<(), ClientError> {
        self.raw(&format!("{value:#}"))
    }

    /// One JSON document on a line of its own, of many.
    pub(crate) fn json_line(&self, value: &Value) -> Result<(), ClientError> {
        self.raw(&value.to_string())
    }

    fn raw(&self, json: &str) -> Result<(), ClientError> {
        let mut out = io::stdout().lock();
        self.settle(writeln!(out, "{}", harmless_json(json)).and_then(|()| out.flush()))
    }

    fn settle(&self, written: io::Result<()>) -> Result<(), ClientError> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed.set(true);
                Ok(())
            }
            other => Ok(other?),
        }
    }

    /// A piece of what is said beside the answer and goes on.
    pub(crate) fn aside(&self, piece: &str) {
        // Nobody is left to tell when standard error is closed.
        drop(write!(anstream::stderr(), "{piece}"));
    }

    /// A remark beside the answer, for people: progress, questions, what to do next.
    pub(crate) fn remark(&self, text: &str) {
        // Nobody is left to tell when standard error is closed.
        drop(writeln!(anstream::stderr(), "{text}"));
    }
}
