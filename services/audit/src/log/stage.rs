//! From a group of batches to the bytes that go to the file. Pure.

use std::collections::HashSet;

use bulkhead_edge::Principal;
use jiff::Timestamp;
use tlog_tiles::{Hash, record_hash};
use uuid::Uuid;

use crate::event::{Entry, Event, LineError, day_of};
use crate::index::Row;

/// The events of one call, checked, and who sent them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// In the sender's order.
    pub events: Vec<Event>,
    /// From the credential.
    pub source: Principal,
}

/// What is to be written for a group.
#[derive(Debug)]
pub(crate) struct Staged {
    pub(crate) logged_time: Timestamp,
    pub(crate) bytes: Vec<u8>,
    pub(crate) leaves: Vec<Hash>,
    /// Their offsets count from the beginning of `bytes`.
    pub(crate) rows: Vec<Row>,
    /// For each batch, how many of its events were there already.
    pub(crate) duplicates: Vec<u32>,
}

/// Gives every event that is new its place, beginning at `sequence`. `seen` holds the ids of the group that
/// are recorded already.
pub(crate) fn stage(
    group: Vec<Batch>,
    mut seen: HashSet<Uuid>,
    sequence: u64,
    logged_time: Timestamp,
) -> Result<Staged, LineError> {
    let duplicates = Vec::with_capacity(group.len());
    let mut staged =
        Staged { logged_time, bytes: Vec::new(), leaves: Vec::new(), rows: Vec::new(), duplicates };
    let mut next = sequence;
    for batch in group {
        let mut duplicates = 0;
        for event in batch.events {
            if !seen.insert(event.event_id) {
                duplicates += 1;
                continue;
            }
            staged.add(Entry { event, logged_time, sequence: next, source: batch.source.clone() })?;
            next += 1;
        }
        staged.duplicates.push(duplicates);
    }
    Ok(staged)
}

impl Staged {
    fn add(&mut self, entry: Entry) -> Result<(), LineError> {
        let line = entry.to_line()?;
        self.leaves.push(record_hash(line.as_bytes()));
        self.rows.push(Row::new(entry, day_of(self.logged_time), self.bytes.len(), line.len()));
        self.bytes.extend_from_slice(line.as_bytes());
        self.bytes.push(b'\n');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bulkhead_edge::PrincipalKind;

    use super::*;
    use crate::event::tests::{event, principal};

    fn batch(ids: &[u128]) -> Batch {
        let events = ids.iter().map(|id| event(*id, "tool.intent")).collect();
        Batch { events, source: principal(PrincipalKind::Service, "executor") }
    }

    #[test]
    fn each_id_is_staged_once_whoever_sends_it() {
        let noon = "2026-05-09T12:00:00Z".parse().expect("a time");
        let group = vec![batch(&[1, 2, 2]), batch(&[2, 3]), batch(&[9])];
        let staged = stage(group, HashSet::from([Uuid::from_u128(9)]), 40, noon).expect("stages");
        assert_eq!(staged.duplicates, [1, 1, 1]);

        let text = String::from_utf8(staged.bytes).expect("text");
        let entries: Vec<Entry> =
            text.lines().map(|line| Entry::parse(line.as_bytes()).expect("parses")).collect();
        let placed: Vec<_> =
            entries.iter().map(|entry| (entry.sequence, entry.event.event_id.as_u128())).collect();
        assert_eq!(placed, [(40, 1), (41, 2), (42, 3)]);
        for (row, line) in staged.rows.iter().zip(text.lines()) {
            let range = usize::try_from(row.offset).expect("fits")..;
            assert!(text[range].starts_with(line));
        }
    }
}
