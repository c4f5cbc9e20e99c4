//! Answering queries: the index says where, the files say what.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use jiff::civil::Date;
use tokio::task::{JoinError, spawn_blocking};

use crate::event::{Entry, LineError};
use crate::index::{Filter, Index, Place};
use crate::log::{Layout, lines};

/// Bytes of lines in one page. An answer carries each line twice, as text and parsed, and a message may
/// have 8 MiB.
const PAGE_BYTES_MAX: u64 = 3 << 20;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The index failed.
    #[error("the index of the log could not be read")]
    Index(#[from] sqlx::Error),
    /// A daily file failed.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not hold what the index says.
    #[error("line {sequence} of the log is not where the index says")]
    Misplaced {
        /// Index of the leaf.
        sequence: u64,
        /// What stands there instead, when it is no line at all.
        #[source]
        source: Option<LineError>,
    },
    /// Reading panicked.
    #[error("reading the log failed")]
    Panicked(#[from] JoinError),
}

/// A line and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The exact text.
    pub line: String,
    /// Parsed.
    pub entry: Entry,
}

/// One page of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// In the order of the filter.
    pub events: Vec<Recorded>,
    /// The last leaf of the page, when more follow.
    pub more_after: Option<u64>,
}

/// Reads the log. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Query {
    index: Index,
    layout: Layout,
}

impl Query {
    /// Queries over an open log.
    #[must_use]
    pub fn new(index: Index, layout: Layout) -> Self {
        Self { index, layout }
    }

    /// The next matching events, at most `limit`, fewer when their lines are long.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn page(&self, filter: &Filter, after: Option<u64>, limit: u32) -> Result<Answer, QueryError> {
        let mut places = self.index.find(filter, after, limit.saturating_add(1)).await?;
        let kept = kept(&places, limit);
        let more_after = (kept < places.len()).then(|| places[kept - 1].sequence);
        places.truncate(kept);
        let layout = self.layout.clone();
        let events = spawn_blocking(move || read(&layout, &places)).await??;
        Ok(Answer { events, more_after })
    }
}

/// How many lines fit on the page; at least one, if there is one.
fn kept(places: &[Place], limit: u32) -> usize {
    let mut bytes = 0;
    let fits = |place: &&Place| {
        bytes += place.length;
        bytes <= PAGE_BYTES_MAX
    };
    let fitting = places.iter().take_while(fits).count();
    fitting.min(usize::try_from(limit).unwrap_or(usize::MAX)).max(usize::from(!places.is_empty()))
}

/// The lines at these places.
pub(crate) fn read(layout: &Layout, places: &[Place]) -> Result<Vec<Recorded>, QueryError> {
    let mut open: Option<(Date, File)> = None;
    let mut events = Vec::with_capacity(places.len());
    for place in places {
        let path = layout.logs().join(lines::file_name(place.day));
        let failed = |source| QueryError::Read { path: path.clone(), source };
        let (_, file) = match open.take() {
            Some((day, file)) if day == place.day => open.insert((day, file)),
            _ => open.insert((place.day, File::open(&path).map_err(failed)?)),
        };
        events.push(read_line(file, place).map_err(failed)??);
    }
    Ok(events)
}

fn read_line(file: &File, place: &Place) -> io::Result<Result<Recorded, QueryError>> {
    let mut bytes = vec![0; usize::try_from(place.length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, place.offset)?;
    let misplaced = |source| QueryError::Misplaced { sequence: place.sequence, source };
    let entry = match Entry::parse(&bytes) {
        Ok(entry) if entry.sequence == place.sequence => entry,
        Ok(_) => return Ok(Err(misplaced(None))),
        Err(error) => return Ok(Err(misplaced(Some(error)))),
    };
    let line = String::from_utf8(bytes).map_err(io::Error::other)?;
    Ok(Ok(Recorded { line, entry }))
}
