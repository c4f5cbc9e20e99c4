//! From a group of batches to the bytes that go to the file. Pure.

use std::collections::{HashMap, HashSet};

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
    /// For each batch, how many of its events were there already, or why none of it is taken.
    pub(crate) verdicts: Vec<Result<u32, Reused>>,
}

/// An event id that stands for another event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reused {
    pub(crate) event_id: Uuid,
}

/// Event ids, and what they stand for.
pub(crate) type Known = HashMap<Uuid, Hash>;

/// Gives every event that is new its place, beginning at `sequence`. `known` holds the ids of the group that
/// are recorded already. Only of an id that comes twice is asked what it stands for.
pub(crate) fn stage(
    group: Vec<Batch>,
    mut known: Known,
    sequence: u64,
    logged_time: Timestamp,
) -> Result<Staged, LineError> {
    let verdicts = Vec::with_capacity(group.len());
    let mut staged =
        Staged { logged_time, bytes: Vec::new(), leaves: Vec::new(), rows: Vec::new(), verdicts };
    let repeated = repeated(&group, &known);
    let mut next = sequence;
    for batch in group {
        let (fresh, verdict) = match sift(batch.events, &known, &repeated)? {
            Sifted::Reused(reused) => (Vec::new(), Err(reused)),
            Sifted::Taken { fresh, duplicates } => (fresh, Ok(duplicates)),
        };
        for (event, fingerprint) in fresh {
            known.extend(fingerprint.map(|fingerprint| (event.event_id, fingerprint)));
            staged.add(Entry { event, logged_time, sequence: next, source: batch.source.clone() })?;
            next += 1;
        }
        staged.verdicts.push(verdict);
    }
    Ok(staged)
}

/// The ids that are recorded or come more than once in the group.
fn repeated(group: &[Batch], known: &Known) -> HashSet<Uuid> {
    let mut seen = HashSet::with_capacity(group.iter().map(|batch| batch.events.len()).sum());
    let ids = group.iter().flat_map(|batch| &batch.events).map(|event| event.event_id);
    ids.filter(|id| !seen.insert(*id) || known.contains_key(id)).collect()
}

enum Sifted {
    /// With the fingerprints of those that are repeated.
    Taken {
        fresh: Vec<(Event, Option<Hash>)>,
        duplicates: u32,
    },
    Reused(Reused),
}

/// Tells what is new in a batch from what repeats an equal event, there or in the batch itself.
fn sift(events: Vec<Event>, known: &Known, repeated: &HashSet<Uuid>) -> Result<Sifted, LineError> {
    let mut own = Known::new();
    let (mut fresh, mut duplicates) = (Vec::with_capacity(events.len()), 0);
    for event in events {
        let event_id = event.event_id;
        if !repeated.contains(&event_id) {
            fresh.push((event, None));
            continue;
        }
        let fingerprint = event.fingerprint()?;
        match known.get(&event_id).or_else(|| own.get(&event_id)) {
            Some(first) if *first == fingerprint => duplicates += 1,
            Some(_) => return Ok(Sifted::Reused(Reused { event_id })),
            None => {
                own.insert(event_id, fingerprint);
                fresh.push((event, Some(fingerprint)));
            }
        }
    }
    Ok(Sifted::Taken { fresh, duplicates })
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

    fn taken(ids: &[u128]) -> Known {
        ids.iter().map(|id| (Uuid::from_u128(*id), print(&event(*id, "tool.intent")))).collect()
    }

    fn print(event: &Event) -> Hash {
        event.fingerprint().expect("has a form")
    }

    fn entries(staged: &Staged) -> Vec<Entry> {
        let text = std::str::from_utf8(&staged.bytes).expect("text");
        text.lines().map(|line| Entry::parse(line.as_bytes()).expect("parses")).collect()
    }

    fn noon() -> Timestamp {
        "2026-05-09T12:00:00Z".parse().expect("a time")
    }

    #[test]
    fn each_id_is_staged_once_whoever_sends_it() {
        let group = vec![batch(&[1, 2, 2]), batch(&[2, 3]), batch(&[9])];
        let staged = stage(group, taken(&[9]), 40, noon()).expect("stages");
        assert_eq!(staged.verdicts, [Ok(1), Ok(1), Ok(1)]);

        let entries = entries(&staged);
        let placed: Vec<_> =
            entries.iter().map(|entry| (entry.sequence, entry.event.event_id.as_u128())).collect();
        assert_eq!(placed, [(40, 1), (41, 2), (42, 3)]);
        let text = String::from_utf8(staged.bytes).expect("text");
        for (row, line) in staged.rows.iter().zip(text.lines()) {
            let range = usize::try_from(row.offset).expect("fits")..;
            assert!(text[range].starts_with(line));
        }
    }

    #[test]
    fn an_id_that_stands_for_another_event_refuses_its_batch_and_no_other() {
        let other = |id| Event { subject_id: "other".into(), ..event(id, "tool.intent") };
        let with = |ids: &[u128], id| {
            let mut batch = batch(ids);
            batch.events.push(other(id));
            batch
        };
        // Beside what is recorded, within one batch, and beside a batch of the same group.
        let group = vec![with(&[1], 9), with(&[2], 2), batch(&[3]), with(&[4], 3), batch(&[4])];
        let staged = stage(group, taken(&[9]), 0, noon()).expect("stages");
        let reused = |id| Err(Reused { event_id: Uuid::from_u128(id) });
        assert_eq!(staged.verdicts, [reused(9), reused(2), Ok(0), reused(3), Ok(0)]);
        let ids: Vec<_> = entries(&staged).iter().map(|entry| entry.event.event_id.as_u128()).collect();
        assert_eq!(ids, [3, 4]);
    }
}
