//! Reading the daily files, line by line and in order.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::vec;

use jiff::civil::Date;

use crate::event::LINE_BYTES_MAX;

/// A file of the log could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct ReadError {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// One line as it stands in its file.
#[derive(Debug, Clone)]
pub(crate) struct RawLine {
    /// The file.
    pub(crate) path: Arc<Path>,
    /// The day that the file's name says.
    pub(crate) day: Date,
    /// From 1, within the file.
    pub(crate) number: u64,
    /// Bytes before the line in its file.
    pub(crate) offset: u64,
    /// The line without its newline; of a line that is too long, one byte more than is allowed.
    pub(crate) bytes: Vec<u8>,
    /// False for what follows the last newline of a file.
    pub(crate) terminated: bool,
}

/// Which files there are.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The daily files in order.
    pub(crate) days: Vec<(Date, PathBuf)>,
    /// Names that belong to no day.
    pub(crate) strays: Vec<PathBuf>,
    /// Names of days that are no regular files: folders, links, pipes. Reading one could lead elsewhere, or
    /// wait for ever.
    pub(crate) impostors: Vec<PathBuf>,
}

/// Lists the folder. One that does not exist is an empty log. Follows no links.
///
/// # Errors
/// [`ReadError`].
pub(crate) fn list(folder: &Path) -> Result<Listing, ReadError> {
    let failed = |source| ReadError { path: folder.to_owned(), source };
    let mut listing = Listing { days: Vec::new(), strays: Vec::new(), impostors: Vec::new() };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(listing),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        match day_of(&path) {
            Some(day) if entry.file_type().map_err(failed)?.is_file() => listing.days.push((day, path)),
            Some(_) => listing.impostors.push(path),
            None => listing.strays.push(path),
        }
    }
    listing.days.sort();
    listing.strays.sort();
    listing.impostors.sort();
    Ok(listing)
}

/// The name of a day's file.
#[must_use]
pub(crate) fn file_name(day: Date) -> String {
    format!("{day}.log")
}

fn day_of(path: &Path) -> Option<Date> {
    let name = path.file_name()?.to_str()?;
    let day: Date = name.strip_suffix(".log")?.parse().ok()?;
    // Dates have more than one spelling; a file has one name.
    (file_name(day) == name).then_some(day)
}

/// The lines of all days, first to last. Ends after the first error.
#[derive(Debug)]
pub(crate) struct Lines {
    days: vec::IntoIter<(Date, PathBuf)>,
    open: Option<OpenDay>,
}

impl Lines {
    /// Reads the files of a listing.
    #[must_use]
    pub(crate) fn of(days: Vec<(Date, PathBuf)>) -> Self {
        Self { days: days.into_iter(), open: None }
    }

    fn step(&mut self) -> Result<Option<RawLine>, ReadError> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(line) = open.line()? {
                    return Ok(Some(line));
                }
                self.open = None;
            }
            let Some((day, path)) = self.days.next() else { return Ok(None) };
            self.open = Some(OpenDay::open(day, &path)?);
        }
    }
}

impl Iterator for Lines {
    type Item = Result<RawLine, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            (self.days, self.open) = (Vec::new().into_iter(), None);
        }
        step.transpose()
    }
}

#[derive(Debug)]
struct OpenDay {
    path: Arc<Path>,
    day: Date,
    reader: BufReader<File>,
    number: u64,
    offset: u64,
}

impl OpenDay {
    fn open(day: Date, path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| ReadError { path: path.to_owned(), source })?;
        Ok(Self { path: path.into(), day, reader: BufReader::new(file), number: 0, offset: 0 })
    }

    fn line(&mut self) -> Result<Option<RawLine>, ReadError> {
        let (bytes, length, terminated) = read_line(&mut self.reader)
            .map_err(|source| ReadError { path: self.path.to_path_buf(), source })?;
        if length == 0 {
            return Ok(None);
        }
        let offset = self.offset;
        self.number += 1;
        self.offset += length;
        let path = Arc::clone(&self.path);
        Ok(Some(RawLine { path, day: self.day, number: self.number, offset, bytes, terminated }))
    }
}

/// The line, how many bytes it took from the file with its newline, and whether it had one. Keeps no more
/// than one byte beyond the longest line, however long this one is.
fn read_line(reader: &mut BufReader<File>) -> io::Result<(Vec<u8>, u64, bool)> {
    let mut bytes = Vec::new();
    let kept_max = u64::try_from(LINE_BYTES_MAX + 1).unwrap_or(u64::MAX);
    let mut length = u64::try_from(reader.take(kept_max).read_until(b'\n', &mut bytes)?).unwrap_or(u64::MAX);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        return Ok((bytes, length, true));
    }
    let mut terminated = false;
    // Either the file ended, or the line goes on beyond what is kept.
    while !terminated {
        let chunk = reader.fill_buf()?;
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let used = newline.map_or(chunk.len(), |at| at + 1);
        if used == 0 {
            break;
        }
        terminated = newline.is_some();
        // A line of exactly the longest length ends here and loses nothing.
        reader.consume(used);
        length += u64::try_from(used).unwrap_or(u64::MAX);
    }
    Ok((bytes, length, terminated))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &[u8])]) -> Vec<(u64, u64, usize, bool)> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).expect("writes");
        }
        let listing = list(folder.path()).expect("lists");
        let lines = Lines::of(listing.days).map(|line| line.expect("reads"));
        lines.map(|line| (line.number, line.offset, line.bytes.len(), line.terminated)).collect()
    }

    #[test]
    fn lines_come_in_the_order_of_the_days() {
        let files: [(&str, &[u8]); 3] =
            [("2026-05-10.log", b"c\n"), ("2026-05-09.log", b"aa\nb\n"), ("2026-05-08.log", b"")];
        assert_eq!(read(&files), [(1, 0, 2, true), (2, 3, 1, true), (1, 0, 1, true)]);
    }

    #[test]
    fn what_has_no_newline_is_told_apart() {
        assert_eq!(read(&[("2026-05-09.log", b"a\nb")]), [(1, 0, 1, true), (2, 2, 1, false)]);
        assert_eq!(read(&[("2026-05-09.log", b"\n\n")]), [(1, 0, 0, true), (2, 1, 0, true)]);
    }

    #[test]
    fn long_lines_are_not_kept_whole() {
        for (length, kept) in [(65_534, 65_534), (65_535, 65_535), (65_536, 65_536), (200_000, 65_536)] {
            let mut bytes = vec![b'x'; length];
            bytes.extend(b"\ny\n");
            let after = u64::try_from(length + 1).expect("fits");
            assert_eq!(read(&[("2026-05-09.log", &bytes)]), [(1, 0, kept, true), (2, after, 1, true)]);
        }
    }

    #[test]
    fn other_names_are_strays() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["2026-05-09.log", "2026-5-9.log", "20260509.log", "2026-05-09.log~", "notes.txt"] {
            fs::write(folder.path().join(name), b"").expect("writes");
        }
        let listing = list(folder.path()).expect("lists");
        assert_eq!((listing.days.len(), listing.strays.len(), listing.impostors.len()), (1, 4, 0));
    }

    #[test]
    fn only_regular_files_are_days() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = |day: &str| folder.path().join(format!("{day}.log"));
        fs::write(named("2026-05-08"), b"a\n").expect("writes");
        fs::create_dir(named("2026-05-09")).expect("a folder");
        std::os::unix::fs::symlink(named("2026-05-08"), named("2026-05-10")).expect("links");
        let listing = list(folder.path()).expect("lists");
        assert_eq!(listing.days.len(), 1);
        assert_eq!(listing.impostors, [named("2026-05-09"), named("2026-05-10")]);
    }
}
