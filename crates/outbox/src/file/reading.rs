//! What stands in a folder: segments `0000000001.events`, each a row of frames, and `delivered`, which says how far they
//! were delivered.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bulkhead_proto::audit::v1 as pb;

use super::files::SEGMENT_BYTES;
use super::frame::{self, Found, HEAD_BYTES};
use crate::delivery::BATCH_MAX;

/// How far was delivered.
const MARK_FILE: &str = "delivered";
/// Read at a time, a batch of events of the usual size.
const CHUNK_BYTES: usize = 128 << 10;

/// A place in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) offset: u64,
}

impl Position {
    /// Up to where this is past a segment: all of one that is older.
    pub(super) fn within(self, number: u64) -> u64 {
        match number.cmp(&self.number) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => self.offset,
            Ordering::Greater => 0,
        }
    }
}

/// A file of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// Up to here it holds events.
    pub(super) end: u64,
}

/// What was found in a folder.
#[derive(Debug)]
pub(super) struct Survey {
    /// Oldest first.
    pub(super) segments: VecDeque<Segment>,
    pub(super) delivered: Position,
    /// Events that wait.
    pub(super) waiting: i64,
    /// Segments in which something stands that nobody wrote as a whole, with others behind it.
    pub(super) damaged: Vec<u64>,
}

pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:010}.events"))
}

pub(super) fn mark_path(folder: &Path) -> PathBuf {
    folder.join(MARK_FILE)
}

/// Reads all that is there, and changes nothing.
pub(super) fn survey(folder: &Path) -> io::Result<Survey> {
    let mut numbers = Vec::new();
    match std::fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name();
                let number = name.to_str().and_then(|name| name.strip_suffix(".events"));
                numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    numbers.sort_unstable();
    let delivered = read_mark(folder)?;
    let mut survey = Survey { segments: VecDeque::new(), delivered, waiting: 0, damaged: Vec::new() };
    for number in numbers {
        survey.add(folder, number)?;
    }
    Ok(survey)
}

impl Survey {
    fn add(&mut self, folder: &Path, number: u64) -> io::Result<()> {
        let bytes = match std::fs::read(segment_path(folder, number)) {
            Ok(bytes) => bytes,
            // Whoever has the folder has delivered it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            match frame::decode(rest, rest.len()) {
                Found::Events(events, length) => {
                    let here = Position { number, offset: offset(at) };
                    if here >= self.delivered {
                        self.waiting += i64::try_from(events.len()).unwrap_or(i64::MAX);
                    }
                    at += length;
                }
                Found::End if rest.iter().all(|byte| *byte == 0) => break,
                Found::End | Found::Damaged | Found::Incomplete(_) => {
                    if !is_torn(rest, offset(bytes.len()) >= SEGMENT_BYTES) {
                        self.damaged.push(number);
                    }
                    break;
                }
            }
        }
        self.segments.push_back(Segment { number, end: offset(at) });
        Ok(())
    }
}

/// Whether what cannot be read is one write that was cut off, with nothing behind it: the process ended within it, and
/// nobody was told that it was made. In a file with all its room no write goes beyond the end.
fn is_torn(rest: &[u8], has_room: bool) -> bool {
    let length =
        rest.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map_or(0, u32::from_le_bytes);
    let whole = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(HEAD_BYTES);
    match rest.get(whole..) {
        Some(behind) => length > 0 && behind.iter().all(|byte| *byte == 0),
        None => !has_room,
    }
}

/// Reads events from a place up to `end`, and says where the next ones stand.
pub(super) fn read(file: &File, from: u64, end: u64) -> io::Result<(Vec<pb::Event>, u64)> {
    let (mut events, mut at) = (Vec::new(), from);
    let mut bytes = chunk(file, at, end, CHUNK_BYTES)?;
    let mut begin = at;
    while at < end && events.len() < usize::try_from(BATCH_MAX).unwrap_or(usize::MAX) {
        let rest = bytes.get(size(at - begin)..).unwrap_or_default();
        match frame::decode(rest, size(end - at)) {
            Found::Events(some, length) => {
                events.extend(some);
                at += offset(length);
            }
            // What is longer than a chunk is read alone.
            Found::Incomplete(needed) if events.is_empty() => {
                (bytes, begin) = (chunk(file, at, end, needed.max(CHUNK_BYTES))?, at);
                if bytes.len() < needed {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            Found::Incomplete(_) => break,
            Found::End | Found::Damaged => {
                let text = format!("byte {at} of the outbox's file is not what was written there");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    Ok((events, at))
}

fn chunk(file: &File, from: u64, end: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; size(end - from).min(bytes_max)];
    file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

/// A mark that was not written as a whole says nothing: what is delivered again is dropped by the log.
fn read_mark(folder: &Path) -> io::Result<Position> {
    let bytes = match std::fs::read(mark_path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position::default()),
        Err(error) => return Err(error),
    };
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 8).and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let position = Position { number: number(0), offset: number(8) };
    Ok(if bytes == mark(position) { position } else { Position::default() })
}

/// A position with its checksum.
pub(super) fn mark(position: Position) -> Vec<u8> {
    let mut bytes = [position.number.to_le_bytes(), position.offset.to_le_bytes()].concat();
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn offset(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
