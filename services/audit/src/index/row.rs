//! What the index knows of a line.

use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::event::Entry;

/// The fields that queries filter by, and where the line stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) sequence: u64,
    pub(crate) event_id: Uuid,
    pub(crate) tenant: String,
    pub(crate) time: Timestamp,
    pub(crate) kind: String,
    pub(crate) principal_name: String,
    pub(crate) session_id: String,
    pub(crate) tool: String,
    pub(crate) outcome: String,
    pub(crate) trace_id: String,
    pub(crate) subject_id: String,
    pub(crate) day: Date,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Row {
    /// The row of a line that is being staged.
    pub(crate) fn new(entry: Entry, day: Date, offset: usize, length: usize) -> Self {
        Self::at(entry, day, u64::try_from(offset).unwrap_or(u64::MAX), length)
    }

    /// The row of a line that stands at `offset` of its file.
    pub(crate) fn at(entry: Entry, day: Date, offset: u64, length: usize) -> Self {
        let event = entry.event;
        Self {
            sequence: entry.sequence,
            event_id: event.event_id,
            tenant: event.principal.tenant,
            time: event.time,
            kind: event.kind,
            principal_name: event.principal.name,
            session_id: event.session_id,
            tool: event.tool,
            outcome: event.outcome,
            trace_id: event.trace_id,
            subject_id: event.subject_id,
            day,
            offset,
            length: u64::try_from(length).unwrap_or(u64::MAX),
        }
    }

    /// The same row, `start` bytes further on.
    pub(crate) fn moved(self, start: u64) -> Self {
        Self { offset: self.offset + start, ..self }
    }
}
