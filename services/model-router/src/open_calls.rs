//! Marks of calls whose models were asked and whose event is not stored yet, for whoever starts after a router that was
//! killed.
//!
//! Promises that such a call has an event in the end: the next router that opens the folder writes it, with the outcome
//! `unknown`. A mark is in the kernel's hands when it is written and outlives the process, not the machine: it is not synced,
//! because it would then cost more than the event itself. No call waits for a mark, and none is refused for want of one.
//!
//! One file beside the store, with a place for each call that may be open.

mod place;

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_edge::fault::chain;
use bulkhead_outbox::{EventDraft, Left};
use bulkhead_proto::audit::v1 as audit;
use serde::Serialize;

use crate::record::CALLS_MAX;
use place::{BYTES, Marks};

/// Name of the file.
const FILE: &str = "open-calls";

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
            file.set_len(u64::from(places()) * bytes(BYTES))?;
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

    /// A mark that is made once a model is asked.
    pub(crate) fn mark(&self) -> Mark {
        Mark { calls: self.clone(), place: None, is_marked: false }
    }

    /// Whether it was written.
    fn write(&self, place: u16, bytes_of_place: &[u8]) -> bool {
        let Some(file) = &self.0.file else { return true };
        let written = file.write_all_at(bytes_of_place, u64::from(place) * bytes(BYTES));
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
            if !self.write(place, &place::FREE) {
                standing.push(place);
                return;
            }
            lock(&self.0.free).push(place);
        }
    }
}

impl Mark {
    /// A model is asked: from now on somebody may work for the call. `draft` is the call's, and `attributes` what can be
    /// said of it if nobody else does.
    pub(crate) fn asked(&mut self, draft: &EventDraft, attributes: &impl Serialize) {
        if self.place.is_none() {
            self.place = self.calls.take_place();
        }
        let Some(place) = self.place else { return };
        let mut bytes = [0; BYTES];
        if let Some(written) = place::write(&mut bytes, |room| draft.encode_as("unknown", attributes, room)) {
            // Without a mark the call goes on.
            self.is_marked |= self.calls.write(place, written);
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
    let Marks { open, unreadable } = place::read(&content);
    if unreadable > 0 {
        tracing::warn!(marks = unreadable, "marks of calls that were open cannot be read");
    }
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
    use bulkhead_edge::{Principal, PrincipalKind};
    use serde_json::json;

    fn draft() -> EventDraft {
        let ada = Principal {
            tenant: "default".into(),
            kind: PrincipalKind::Person,
            name: "ada".into(),
            owner: None,
        };
        EventDraft::new("model.call", jiff::Timestamp::UNIX_EPOCH, &ada)
    }

    #[test]
    fn a_mark_tells_of_the_models_that_were_asked_last() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let calls = OpenCalls::over(Some(File::create(&path).expect("a file")));
        let mut mark = calls.mark();
        for asked in [json!(["a", "b"]), json!(["c"])] {
            mark.asked(&draft().subject("s"), &json!({ "asked": asked }));
            let marks = place::read(&std::fs::read(&path).expect("is there"));
            let told = marks.open.iter().map(|event| (event.subject_id.as_str(), event.outcome.as_str()));
            assert_eq!(told.collect::<Vec<_>>(), [("s", "unknown")]);
            assert_eq!(marks.open[0].attributes_json, json!({ "asked": asked }).to_string());
        }
        mark.recorded();
        assert_eq!(place::read(&std::fs::read(&path).expect("is there")), Marks::default());
    }

    #[test]
    fn a_disk_that_takes_no_mark_takes_no_place_either() {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("it is always full");
        let calls = OpenCalls::over(Some(full));
        for number in 0..u32::from(places()) * 2 {
            let mut mark = calls.mark();
            mark.asked(&draft(), &json!({}));
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
}
