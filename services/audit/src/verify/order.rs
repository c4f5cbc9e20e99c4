//! Each line by itself and beside the one before it.

use std::collections::HashSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::report::{FindingCode as Code, Findings, Where};
use crate::event::Entry;
use crate::log::lines::{RawLine, file_name};

/// What the lines before have said.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// What the next line's sequence has to be; follows what is found, so that one gap is one finding.
    expected: u64,
    last_time: Option<Timestamp>,
    /// 16 bytes an event: the only memory that grows with every line.
    ids: HashSet<Uuid>,
}

impl Order {
    /// Reads a line; the entry, if it is one.
    pub(super) fn check(&mut self, line: &RawLine, at: &Where, findings: &mut Findings) -> Option<Entry> {
        let entry = match Entry::parse(&line.bytes) {
            Ok(entry) => entry,
            Err(error) => {
                let text = bulkhead_edge::fault::chain(&error, ": ");
                findings.add(Code::MalformedLine, Some(at), text);
                self.expected += 1;
                return None;
            }
        };
        self.check_sequence(entry.sequence, at, findings);
        self.check_time(&entry, line, at, findings);
        if !self.ids.insert(entry.event.event_id) {
            let text = format!("event {} stands in the log already", entry.event.event_id);
            findings.add(Code::DuplicateEvent, Some(at), text);
        }
        Some(entry)
    }

    /// When the last line was logged.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.last_time
    }

    fn check_sequence(&mut self, found: u64, at: &Where, findings: &mut Findings) {
        let expected = self.expected;
        if found > expected {
            let text = format!("sequence {expected} is missing here; the line says {found}");
            findings.add(Code::LineMissing, Some(at), text);
        } else if found < expected {
            let text = format!("sequence {found} stands where {expected} belongs");
            findings.add(Code::LineMisplaced, Some(at), text);
        }
        self.expected = found.saturating_add(1);
    }

    fn check_time(&mut self, entry: &Entry, line: &RawLine, at: &Where, findings: &mut Findings) {
        if entry.day() != line.day {
            let text = format!("the line belongs into {}", file_name(entry.day()));
            findings.add(Code::WrongDay, Some(at), text);
        }
        if let Some(last) = self.last_time.filter(|last| *last > entry.logged_time) {
            let text = format!("logged at {}, after a line logged at {last}", entry.logged_time);
            findings.add(Code::TimeReversed, Some(at), text);
        }
        self.last_time = Some(entry.logged_time);
    }
}
