//! One stream with several readers.
//!
//! Promises that whoever joins gets the stream from its beginning and has the same in the end; that a reader who is slow
//! waits for itself and holds nobody up; that the work goes on as long as anybody reads, no further ahead than the fastest
//! has read; and that it ends at once when the last one has left.
//!
//! There is no task. Whoever has read all there is asks the work for more, in the name of all, if it was woken since it was
//! asked last: otherwise it has nothing. What wakes the work wakes every reader who waits, since the one who asked last may be
//! gone by then.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};

use bulkhead_proto::router::v1 as pb;
use futures::Stream;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tonic::Status;

use super::log::{Cursor, Log};
use crate::grpc::{convert, status};
use crate::listener::Event;

/// One message, or the status that ends a stream.
pub(super) type Told = Result<pb::StreamGenerateResponse, Status>;

/// The last messages of a stream.
pub(super) type End = Vec<Told>;

/// A stream that can be joined while it has readers. Cheap to clone; it keeps nothing alive.
#[derive(Debug, Clone)]
pub(crate) struct Joinable(Weak<Shared>);

/// The stream, held by its readers alone: with the last of them the work is dropped.
struct Shared {
    state: Mutex<State>,
    bell: Arc<Bell>,
}

struct State {
    /// None once it has ended, and while it is asked.
    work: Option<BoxFuture<'static, End>>,
    events: mpsc::Receiver<Event>,
    log: Log,
    end: Option<End>,
}

/// One who reads.
pub(super) struct Reader {
    shared: Arc<Shared>,
    cursor: Cursor,
    /// Of the end, read so far.
    ends: usize,
    id: u64,
}

/// Begins a stream, which its first reader drives. `work` is made once it can be joined, and tells what happens on its way
/// through `events`.
pub(super) fn begin(
    events: mpsc::Receiver<Event>,
    work: impl FnOnce(Joinable) -> BoxFuture<'static, End>,
) -> Reader {
    let state = State { work: None, events, log: Log::default(), end: None };
    let shared = Arc::new(Shared { state: Mutex::new(state), bell: Arc::default() });
    // Whoever joins before there is work finds the lock taken.
    let mut state = shared.lock();
    state.work = Some(work(Joinable(Arc::downgrade(&shared))));
    drop(state);
    Reader::of(shared)
}

impl Joinable {
    /// One more reader, unless the last one has left.
    pub(super) fn join(&self) -> Option<Reader> {
        self.0.upgrade().map(Reader::of)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves no work behind, which is told as a broken stream.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what has happened and is in no log yet. True: there was something.
    fn pull(&mut self) -> bool {
        let event = self.events.try_recv().ok();
        let is_new = event.is_some();
        event.into_iter().for_each(|event| self.log.push(event));
        is_new
    }

    /// Asks the work for more. True: there is something new to read.
    fn advance(&mut self, bell: &Arc<Bell>) -> bool {
        if self.end.is_some() {
            return self.pull();
        }
        match self.ask(bell) {
            Poll::Ready(end) => {
                self.end = Some(end);
                true
            }
            Poll::Pending => self.pull(),
        }
    }

    fn ask(&mut self, bell: &Arc<Bell>) -> Poll<End> {
        if self.work.is_some() && !bell.has_rung() {
            return Poll::Pending;
        }
        let Some(mut work) = self.work.take() else {
            // It panicked under another reader.
            return Poll::Ready(vec![Err(status::stream_broken().into())]);
        };
        let waker = Waker::from(Arc::clone(bell));
        let end = work.as_mut().poll(&mut Context::from_waker(&waker));
        self.work = end.is_pending().then_some(work);
        end
    }
}

impl Reader {
    fn of(shared: Arc<Shared>) -> Self {
        let id = shared.bell.place();
        Self { shared, cursor: Cursor::default(), ends: 0, id }
    }

    /// What there is for this reader: all that happened on the way, then the end.
    fn read(&mut self, state: &State) -> Poll<Option<Told>> {
        if let Some(event) = state.log.next(&mut self.cursor) {
            return Poll::Ready(Some(Ok(convert::stream::event(event))));
        }
        let Some(end) = state.end.as_ref().filter(|_| state.events.is_empty()) else { return Poll::Pending };
        self.ends += 1;
        Poll::Ready(end.get(self.ends - 1).cloned())
    }
}

impl Stream for Reader {
    type Item = Told;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Told>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let told = self.read(&state);
        if told.is_ready() {
            return told;
        }
        let others = Ring { bell: &shared.bell, id: self.id };
        if state.pull() {
            let told = self.read(&state);
            if told.is_ready() {
                return told;
            }
        }
        // Before the work is asked: what it waits for may come in the same moment.
        shared.bell.wait(self.id, context.waker());
        while state.advance(&shared.bell) {
            let told = self.read(&state);
            if told.is_ready() {
                return told;
            }
        }
        others.hush();
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.bell.leave(self.id);
    }
}

/// Who waits for more.
#[derive(Debug, Default)]
struct Bell(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    readers: u64,
    /// The work was asked since it was woken last.
    is_asked: bool,
    wakers: Vec<(u64, Waker)>,
}

impl Bell {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more reader; its number.
    fn place(&self) -> u64 {
        let mut waiting = self.lock();
        waiting.readers += 1;
        waiting.readers
    }

    fn wait(&self, id: u64, waker: &Waker) {
        let wakers = &mut self.lock().wakers;
        wakers.retain(|(other, _)| *other != id);
        wakers.push((id, waker.clone()));
    }

    fn leave(&self, id: u64) {
        self.lock().wakers.retain(|(other, _)| *other != id);
    }

    /// Whether the work is worth asking, which it will be next when it is woken. Look only after [`Bell::wait`]: what wakes
    /// the work after the look wakes whoever waits.
    fn has_rung(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_asked, true)
    }

    /// Wakes everybody who waits.
    fn ring(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.lock().is_asked = false;
        self.ring();
    }
}

/// Wakes the others when it is dropped: when something new was found, or the work panicked.
struct Ring<'a> {
    bell: &'a Bell,
    id: u64,
}

impl Ring<'_> {
    /// Nothing was found.
    fn hush(self) {
        std::mem::forget(self);
    }
}

impl Drop for Ring<'_> {
    fn drop(&mut self) {
        self.bell.leave(self.id);
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests;
