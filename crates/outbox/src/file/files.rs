//! The files of one outbox, and who writes and reads where.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulkhead_proto::audit::v1 as pb;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::reading::{self, Position, Segment, Survey, mark_path, segment_path};
use super::{AppendError, frame};
use crate::Limit;
use crate::delivery::Batch;

/// Bytes of a segment, some 4,000 events. They are allocated when it is made, so that a full disk is met before a call
/// and not after it.
pub(super) const SEGMENT_BYTES: u64 = 4 << 20;
/// What has to be free of it when a call begins: for the events of 256 calls that are open at once, of 4 KiB.
const ROOM_BYTES: u64 = 1 << 20;

/// Where a batch ends, and its events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    end: Position,
    events: i64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Oldest first. The last is written to, while `tail` is there.
    segments: VecDeque<Segment>,
    tail: Option<Arc<File>>,
    /// The number of the next one.
    next: u64,
    delivered: Position,
    waiting: i64,
    unsynced: Unsynced,
}

/// What is not known to be on disk.
#[derive(Debug, Default)]
struct Unsynced {
    files: Vec<Arc<File>>,
    /// A file was made.
    folder: bool,
}

impl Unsynced {
    /// Each file once, however often it was written or could not be synced.
    fn note(&mut self, file: &Arc<File>) {
        if !self.files.iter().any(|known| Arc::ptr_eq(known, file)) {
            self.files.push(Arc::clone(file));
        }
    }
}

impl Files {
    /// Reads what is there; what cannot be read is set aside.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        make_folder(folder)?;
        let Survey { segments, delivered, waiting, damaged } = reading::survey(folder)?;
        // Made now, so that a full disk does not stand against the first delivery; and it must not stand against a start.
        if let Err(error) = write_mark(folder, delivered) {
            tracing::warn!(%error, folder = %folder.display(), "cannot write how far the outbox was delivered");
        }
        for number in damaged {
            set_aside(folder, number)?;
        }
        let next = segments.back().map_or(delivered.number, |last| last.number.max(delivered.number)) + 1;
        let unsynced = Unsynced::default();
        let state = Mutex::new(State { segments, tail: None, next, delivered, waiting, unsynced });
        Ok(Self { folder: folder.to_owned(), state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn waiting(&self) -> i64 {
        self.lock().waiting
    }

    /// Writes events, and returns how many wait then.
    pub(super) fn append(&self, events: &[pb::Event], limit: Limit) -> Result<i64, AppendError> {
        let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
        // Of nothing there is no frame: its zeros would be the end of the file.
        if count == 0 {
            return Ok(self.waiting());
        }
        let frame = frame::encode(events);
        let mut state = self.lock();
        if state.waiting >= limit.0 {
            return Err(AppendError::Full { waiting: state.waiting });
        }
        state.write(&self.folder, &frame)?;
        state.waiting = state.waiting.saturating_add(count);
        Ok(state.waiting)
    }

    pub(super) fn make_room(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.tail.is_none() || state.end() > SEGMENT_BYTES - ROOM_BYTES {
            state.begin(&self.folder)?;
        }
        Ok(())
    }

    /// Brings to the disk what was written. After a failure nobody knows what the kernel has kept of the file, so that
    /// nothing more is written to it.
    pub(super) fn sync(&self) -> io::Result<()> {
        let Unsynced { files, folder } = std::mem::take(&mut self.lock().unsynced);
        let (mut failed, mut left) = (None, Unsynced::default());
        for file in files {
            if let Err(error) = file.sync_data() {
                left.files.push(file);
                failed.get_or_insert(error);
            }
        }
        if folder && let Err(error) = File::open(&self.folder).and_then(|folder| folder.sync_all()) {
            left.folder = true;
            failed.get_or_insert(error);
        }
        let Some(error) = failed else { return Ok(()) };
        self.lock().distrust(left);
        Err(error)
    }

    pub(super) fn prove(&self) -> io::Result<()> {
        self.find_again()?;
        self.make_room()?;
        {
            let mut state = self.lock();
            let tail = state.tail.clone();
            tail.iter().for_each(|tail| state.unsynced.note(tail));
        }
        self.sync()
    }

    /// Begins anew where somebody has taken the files away, with what was in them. All of it under the lock: what is
    /// appended meanwhile would be in no index.
    fn find_again(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.is_in_place(&self.folder)? {
            return Ok(());
        }
        tracing::error!(folder = %self.folder.display(), "files of the outbox are gone, with events that were not delivered");
        make_folder(&self.folder)?;
        let Survey { segments, waiting, .. } = reading::survey(&self.folder)?;
        state.tail = None;
        state.segments = segments;
        state.waiting = waiting;
        Ok(())
    }

    /// All events that wait.
    pub(super) fn events(&self) -> io::Result<Vec<pb::Event>> {
        let (segments, delivered) = {
            let state = self.lock();
            (state.segments.clone(), state.delivered)
        };
        let mut all = Vec::new();
        for Segment { number, end } in segments {
            let file = File::open(segment_path(&self.folder, number))?;
            let mut at = delivered.within(number);
            while at < end {
                let (events, next) = reading::read(&file, at, end)?;
                all.extend(events);
                at = next;
            }
        }
        Ok(all)
    }

    /// The oldest events that wait.
    pub(super) fn oldest(&self) -> io::Result<Option<Batch<Place>>> {
        loop {
            let (segment, from) = {
                let mut state = self.lock();
                let Some(segment) = state.segments.front().copied() else { return Ok(None) };
                let from = state.delivered_of(segment.number);
                if from >= segment.end {
                    if state.segments.len() == 1 && state.tail.is_some() {
                        return Ok(None);
                    }
                    state.segments.pop_front();
                    drop(state);
                    remove_file(&segment_path(&self.folder, segment.number))?;
                    continue;
                }
                (segment, from)
            };
            let file = File::open(segment_path(&self.folder, segment.number))?;
            let (events, offset) = reading::read(&file, from, segment.end)?;
            let count = i64::try_from(events.len()).unwrap_or(i64::MAX);
            let place = Place { end: Position { number: segment.number, offset }, events: count };
            return Ok(Some(Batch { events, place }));
        }
    }

    /// A batch is delivered. That need not reach the disk at once: what is delivered again is dropped by the log.
    pub(super) fn remove(&self, Place { end, events }: Place) -> io::Result<()> {
        let delivered = {
            let mut state = self.lock();
            // It may be removed twice, when it is removed before it is sent.
            if end > state.delivered {
                state.delivered = end;
                state.waiting = state.waiting.saturating_sub(events).max(0);
            }
            state.delivered
        };
        write_mark(&self.folder, delivered)
    }
}

impl State {
    /// Where the last segment ends.
    fn end(&self) -> u64 {
        self.segments.back().map_or(0, |segment| segment.end)
    }

    /// Up to where a segment is delivered: one that is older than the mark, as a whole.
    fn delivered_of(&self, number: u64) -> u64 {
        self.delivered.within(number)
    }

    /// Whether the file that is written to is the one that another start would find.
    fn is_in_place(&self, folder: &Path) -> io::Result<bool> {
        let (Some(tail), Some(last)) = (&self.tail, self.segments.back()) else { return Ok(true) };
        let ours = tail.metadata()?;
        match std::fs::metadata(segment_path(folder, last.number)) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Nothing more is written to a file of which nobody knows what the kernel kept; an empty one has nothing to lose.
    fn distrust(&mut self, left: Unsynced) {
        if self.end() > 0 {
            self.tail = None;
        }
        left.files.iter().for_each(|file| self.unsynced.note(file));
        self.unsynced.folder |= left.folder;
    }

    fn write(&mut self, folder: &Path, frame: &[u8]) -> io::Result<()> {
        let length = u64::try_from(frame.len()).unwrap_or(u64::MAX);
        let fits = self.end().saturating_add(length) <= SEGMENT_BYTES;
        let tail = match &self.tail {
            Some(tail) if fits => Arc::clone(tail),
            Some(_) | None => self.begin(folder)?,
        };
        if let Err(error) = tail.write_all_at(frame, self.end()) {
            // What it may have left there would look like damage, if anything came behind it.
            self.tail = None;
            return Err(error);
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.end += length;
        }
        self.unsynced.note(&tail);
        Ok(())
    }

    /// Makes the next segment, with all its room.
    fn begin(&mut self, folder: &Path) -> io::Result<Arc<File>> {
        let number = self.next;
        // One that was made and could not be removed must not stand in the way for ever.
        self.next += 1;
        let path = segment_path(folder, number);
        let file = private().create_new(true).read(true).open(&path)?;
        if let Err(error) = allocate(&file) {
            remove_file(&path)?;
            return Err(error);
        }
        let file = Arc::new(file);
        self.segments.push_back(Segment { number, end: 0 });
        self.unsynced.folder = true;
        self.tail = Some(Arc::clone(&file));
        Ok(file)
    }
}

/// Takes the room of a segment. Where the file system cannot, a file grows as it is written.
fn allocate(file: &File) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, SEGMENT_BYTES) {
            Ok(()) | Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Makes a folder that outlives the machine, where there is none.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    folder.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

fn write_mark(folder: &Path, delivered: Position) -> io::Result<()> {
    let mark = private().create(true).truncate(false).open(mark_path(folder))?;
    mark.write_all_at(&reading::mark(delivered), 0)
}

/// Only its owner reads what it makes.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Keeps a file for a person beside what is delivered of it.
fn set_aside(folder: &Path, number: u64) -> io::Result<()> {
    let path = segment_path(folder, number);
    let aside = path.with_extension("damaged");
    match std::fs::hard_link(&path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    tracing::error!(
        file = %aside.display(),
        "a file of the outbox holds bytes that nobody wrote there; the events before them are delivered, what stands \
         behind them is kept in this file"
    );
    Ok(())
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
