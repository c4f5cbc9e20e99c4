//! Marks of calls whose models were asked and whose event is not stored yet, for whoever starts after a router that was
//! killed.
//!
//! Promises that such a call has an event in the end: the next router that opens the folder writes it, with the outcome
//! `unknown`. A mark is in the kernel's hands when it is written and outlives the process, not the machine: it is not synced,
//! because it would then cost more than the event itself. No call waits for a mark, and none is refused for want of one.
//!
//! One file beside the store, with a place for each call that may be open: the length of an event, the start of its SHA-256,
//! and the event.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_edge::fault::chain;
use bulkhead_outbox::Left;
use bulkhead_proto::audit::v1 as audit;
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::record::{CALLS_MAX, Facts};

/// Name of the file.
const FILE: &str = "open-calls";
/// Of one place. Events of calls have some 500 bytes; what does not fit is not marked.
const PLACE_BYTES: usize = 2_048;
/// Of the length before the event, in the order of the network; zero: the place is free.
const LENGTH_BYTES: usize = 4;
/// Of the digest after the length: enough to tell a whole event from half of one.
const DIGEST_BYTES: usize = 8;

/// The marks of one router. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct OpenCalls(Arc<Places>);

#[derive(Debug)]
struct Places {
    /// None: the file cannot be used, so nothing is marked.
    file: Option<File>,
    free: Mutex<Vec<u16>>,
    /// Places whose mark could not be cleared: of calls that have their event.
    standing: Mutex<Vec<u16>>,
}

/// The mark of one call. Dropped before [`Mark::recorded`] it stays where it is.
#[derive(Debug)]
pub(crate) struct Mark {
    calls: OpenCalls,
    event: audit::Event,
    facts: Value,
    asked: Vec<Value>,
    place: Option<u16>,
    /// It may stand in its place.
    is_marked: bool,
}

impl OpenCalls {
    /// Adds the events of calls that were open when the last owner of the folder ended to its outbox, and begins anew. Where
    /// that cannot be done, it is left for the next start, and nothing is marked until then.
    pub(crate) async fn open(folder: &Path, left: &Left) -> Self {
        let opened = async {
            record_left(folder, left).await?;
            let path = folder.join(FILE);
            let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
            file.set_len(u64::from(places()) * bytes(PLACE_BYTES))?;
            Ok::<_, io::Error>(file)
        };
        let file = opened.await.inspect_err(|error| {
            let error = chain(error, ": ");
            tracing::warn!(error, "calls that are open when this router is killed will leave no event");
        });
        Self::over(file.ok())
    }

    /// Every place is free.
    fn over(file: Option<File>) -> Self {
        let free = Mutex::new((0..places()).rev().collect());
        Self(Arc::new(Places { file, free, standing: Mutex::default() }))
    }

    /// A mark that is made once a model is asked. `event` is the call's, as far as it is known.
    pub(crate) fn mark(&self, event: audit::Event, facts: &Facts) -> Mark {
        let facts = json!({
            "route": facts.route,
            "local_only": facts.local_only,
            "sensitivity": facts.sensitivity,
            "error": "ROUTER_GONE",
        });
        Mark { calls: self.clone(), event, facts, asked: Vec::new(), place: None, is_marked: false }
    }

    /// Whether it was written.
    fn write(&self, place: u16, bytes_of_place: &[u8]) -> bool {
        let Some(file) = &self.0.file else { return true };
        let written = file.write_all_at(bytes_of_place, u64::from(place) * bytes(PLACE_BYTES));
        written.inspect_err(|error| tracing::warn!(%error, "the mark of an open call is not written")).is_ok()
    }

    fn take_place(&self) -> Option<u16> {
        lock(&self.0.free).pop()
    }

    /// Gives places back, once what stands in them is cleared: a mark that stood would tell of a call that has its event.
    /// Where that fails it is tried again with the next call.
    fn release(&self, place: u16, is_marked: bool) {
        if !is_marked {
            lock(&self.0.free).push(place);
            return;
        }
        let mut standing = lock(&self.0.standing);
        standing.push(place);
        while let Some(place) = standing.pop() {
            if !self.write(place, &[0; LENGTH_BYTES]) {
                standing.push(place);
                return;
            }
            lock(&self.0.free).push(place);
        }
    }
}

impl Mark {
    /// A model is asked: from now on somebody may work for the call.
    pub(crate) fn asked(&mut self, model: &str) {
        if self.place.is_none() {
            self.place = self.calls.take_place();
        }
        let Some(place) = self.place else { return };
        self.asked.push(json!({ "model": model, "outcome": "unknown" }));
        self.facts["attempts"] = Value::from(self.asked.clone());
        self.event.attributes_json = self.facts.to_string();
        if let Some(written) = written(&self.event) {
            // Without a mark the call goes on.
            self.is_marked |= self.calls.write(place, &written);
        }
    }

    /// The event of the call is stored.
    pub(crate) fn recorded(self) {
        if let Some(place) = self.place {
            self.calls.release(place, self.is_marked);
        }
    }
}

/// Stores the events of calls that were open when the last owner of the folder ended.
async fn record_left(folder: &Path, left: &Left) -> io::Result<()> {
    let path = folder.join(FILE);
    let content = match std::fs::read(&path) {
        Ok(content) if content.is_empty() => return Ok(()),
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let open = read(&content);
    if !open.is_empty() {
        // Whose event waits already: its router was killed between storing it and taking its mark away.
        let known: HashSet<_> = left.events().await?.iter().map(name).collect();
        let lost: Vec<_> = open.into_iter().filter(|event| !known.contains(&name(event))).collect();
        tracing::warn!(calls = lost.len(), "calls were open when the last router here ended");
        left.add(lost).await?;
    }
    File::create(path)?.sync_all()
}

/// The same where another router has left them, which says what came of it.
pub(crate) async fn tell_left(folder: &Path, left: &Left) {
    if let Err(error) = record_left(folder, left).await {
        tracing::warn!(error = chain(&error, ": "), "calls that another router left open have no event yet");
    }
}

fn name(event: &audit::Event) -> (String, String) {
    (event.subject_id.clone(), event.request_id.clone())
}

/// A place with an event in it; none where there is not enough of it.
fn written(event: &audit::Event) -> Option<Vec<u8>> {
    let event = event.encode_to_vec();
    let length = u32::try_from(event.len()).ok()?.to_be_bytes();
    let place = [&length[..], &digest(&event), &event].concat();
    (place.len() <= PLACE_BYTES).then_some(place)
}

fn digest(event: &[u8]) -> [u8; DIGEST_BYTES] {
    Sha256::digest(event).first_chunk().copied().unwrap_or_default()
}

/// Every whole event in a file. Half of one is what a machine that lost its power may leave.
fn read(content: &[u8]) -> Vec<audit::Event> {
    content.chunks(PLACE_BYTES).filter_map(event).collect()
}

fn event(place: &[u8]) -> Option<audit::Event> {
    let (length, rest) = place.split_first_chunk::<LENGTH_BYTES>()?;
    let (told, rest) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let bytes = rest.get(..length).filter(|bytes| !bytes.is_empty() && digest(bytes) == *told)?;
    audit::Event::decode(bytes).ok()
}

fn lock(places: &Mutex<Vec<u16>>) -> MutexGuard<'_, Vec<u16>> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

fn places() -> u16 {
    u16::try_from(CALLS_MAX).unwrap_or(u16::MAX)
}

fn bytes(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(number: u32) -> audit::Event {
        audit::Event { event_id: number.to_string(), subject_id: "s".repeat(100), ..audit::Event::default() }
    }

    #[test]
    fn every_place_is_read_for_itself() {
        let mut content = vec![0; 5 * PLACE_BYTES];
        let mut put = |place: usize, bytes: &[u8]| {
            content[place * PLACE_BYTES..][..bytes.len()].copy_from_slice(bytes);
        };
        let (first, last) = (written(&marked(1)).expect("fits"), written(&marked(4)).expect("fits"));
        put(0, &first);
        put(1, &u32::MAX.to_be_bytes());
        put(2, &first[..first.len() / 2]);
        put(4, &last);
        assert_eq!(read(&content), [marked(1), marked(4)]);
        assert_eq!(read(&content[..PLACE_BYTES + 2]), [marked(1)]);
    }

    #[test]
    fn a_disk_that_takes_no_mark_takes_no_place_either() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("it is always full");
        let calls = OpenCalls::over(Some(full));
        let facts = Facts {
            route: "r".into(),
            local_only: false,
            sensitivity: Vec::new(),
            deadline: std::time::Instant::now(),
        };
        for number in 0..u32::from(places()) * 2 {
            let mut mark = calls.mark(marked(number), &facts);
            mark.asked("m");
            assert!(mark.place.is_some() && !mark.is_marked, "call {number}");
            mark.recorded();
        }
        calls.release(0, true);
        assert_eq!(
            *lock(&calls.0.standing),
            [0],
            "what stands is tried again, and is not given to another call"
        );
    }

    #[test]
    fn a_mark_that_could_not_be_cleared_is_cleared_with_the_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = OpenCalls::over(Some(File::create(folder.path().join(FILE)).expect("a file")));
        let (standing, place) = (calls.take_place().expect("free"), calls.take_place().expect("free"));
        lock(&calls.0.standing).push(standing);
        calls.release(place, true);
        assert_eq!((lock(&calls.0.standing).len(), lock(&calls.0.free).len()), (0, usize::from(places())));
    }

    #[test]
    fn what_does_not_fit_is_not_marked() {
        let large = audit::Event { attributes_json: "x".repeat(PLACE_BYTES), ..marked(1) };
        assert_eq!(written(&large), None);
    }
}
