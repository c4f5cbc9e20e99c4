//! Lines on their way to standard error, written by a thread of their own.
//!
//! A call appends to a buffer and goes on: it waits neither for the terminal, nor for the disk, nor for whoever
//! reads the pipe. The thread writes all that came together in one piece.

use std::io::Write;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::drops::DROPS;

/// How long lines below WARN may be gathered before they are written; `kill -9` loses at most what came in
/// this time.
const GATHER: Duration = Duration::from_millis(10);
/// From this many bytes on nothing is gathered any longer.
const WRITE_BYTES: usize = 64 << 10;
/// Bytes that may wait while standard error takes nothing: seconds of a busy service. More is dropped and
/// counted, since a reader that hangs must not stop the calls.
const BUFFER_BYTES_MAX: usize = 4 << 20;

/// Where lines are left. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct LineWriter(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// There is something to write, or no reason left to gather.
    work: Condvar,
    /// Everything was written.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    urgent: bool,
    writing: bool,
}

impl LineWriter {
    /// Starts the thread that writes to `sink`. It ends with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(sink: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new().name("log-lines".into()).spawn(move || theirs.write_to(sink))?;
        Ok(Self(shared))
    }

    /// Leaves one line, newline included. An urgent one is written at once, with all before it.
    pub(crate) fn append(&self, line: &[u8], urgent: bool) {
        let mut waiting = self.0.lock();
        if waiting.bytes.len() + line.len() > BUFFER_BYTES_MAX {
            drop(waiting);
            DROPS.lines.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        let hurry = !waiting.urgent && (urgent || waiting.bytes.len() >= WRITE_BYTES);
        waiting.urgent |= hurry;
        drop(waiting);
        if first || hurry {
            self.0.work.notify_one();
        }
    }

    /// Waits until everything appended so far is written, for at most `bound`.
    pub(crate) fn flush(&self, bound: Duration) {
        let mut waiting = self.0.lock();
        waiting.urgent = true;
        self.0.work.notify_one();
        let unwritten = |waiting: &mut Waiting| waiting.writing || !waiting.bytes.is_empty();
        // Whoever flushes goes on in any case.
        drop(self.0.idle.wait_timeout_while(waiting, bound, unwritten));
    }
}

impl Shared {
    /// A thread that panicked while it appended has left whole lines.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut sink: impl Write) {
        let mut piece = Vec::new();
        loop {
            self.take(&mut piece);
            // Nobody is left to tell when standard error is closed.
            drop(sink.write_all(&piece).and_then(|()| sink.flush()));
            piece.clear();
            self.lock().writing = false;
            self.idle.notify_all();
            DROPS.report();
        }
    }

    /// Waits for the first line and for what comes with it, and takes it all.
    fn take(&self, piece: &mut Vec<u8>) {
        let waiting = self.work.wait_while(self.lock(), |waiting| waiting.bytes.is_empty());
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let gathered = self.work.wait_timeout_while(waiting, GATHER, |waiting| !waiting.urgent);
        let (mut waiting, _timeout) = gathered.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut waiting.bytes, piece);
        waiting.urgent = false;
        waiting.writing = true;
    }
}
