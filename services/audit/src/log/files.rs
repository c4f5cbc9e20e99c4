//! Writing the daily files.
//!
//! Promises that a failed append leaves nothing behind, or says that it cannot know.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::lines::file_name;
use super::private;

/// Why lines were not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendFailure {
    /// Nothing was added, or it was taken back.
    #[error("the log file could not be written")]
    NotWritten(#[source] io::Error),
    /// A sync failed, or what was half written could not be taken back: the page cache and the disk may
    /// differ, and no later success would prove anything about these lines.
    #[error("the log file is in an unknown state")]
    Broken(#[source] io::Error),
}

/// The folder of daily files, with the newest open.
#[derive(Debug)]
pub(crate) struct DayFiles {
    folder: PathBuf,
    open: Option<DayFile>,
}

#[derive(Debug)]
struct DayFile {
    day: Date,
    file: File,
    length: u64,
}

impl DayFiles {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// Appends whole lines to a day's file and returns where they begin, once they are on disk.
    pub(crate) fn append(&mut self, day: Date, lines: &[u8]) -> Result<u64, AppendFailure> {
        let open = self.day(day)?;
        let start = open.length;
        if let Err(error) = open.file.write_all_at(lines, start) {
            return Err(open.take_back(error));
        }
        open.file.sync_data().map_err(AppendFailure::Broken)?;
        open.length += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(start)
    }

    /// Whether the disk takes a write again: tries one beside the log, as large as a line.
    pub(crate) fn probe(&self) -> io::Result<()> {
        let path = self.folder.with_extension("probe");
        let probe = private::draft(&path)?;
        let tried = probe.write_all_at(&[0; 1 << 16], 0).and_then(|()| probe.sync_data());
        std::fs::remove_file(&path)?;
        tried
    }

    fn day(&mut self, day: Date) -> Result<&mut DayFile, AppendFailure> {
        let open = match self.open.take() {
            Some(open) if open.day == day => open,
            _ => self.begin(day)?,
        };
        Ok(self.open.insert(open))
    }

    /// Opens a day's file; a new one is made durable before it holds anything.
    fn begin(&self, day: Date) -> Result<DayFile, AppendFailure> {
        let path = self.folder.join(file_name(day));
        check_regular(&path).map_err(AppendFailure::NotWritten)?;
        let file = private::open(&path).map_err(AppendFailure::NotWritten)?;
        let length = file.metadata().map_err(AppendFailure::NotWritten)?.len();
        file.sync_all().and_then(|()| sync_folder(&self.folder)).map_err(AppendFailure::Broken)?;
        Ok(DayFile { day, file, length })
    }
}

impl DayFile {
    /// Cuts off what a failed write left.
    fn take_back(&self, error: io::Error) -> AppendFailure {
        match self.file.set_len(self.length).and_then(|()| self.file.sync_data()) {
            Ok(()) => AppendFailure::NotWritten(error),
            Err(worse) => AppendFailure::Broken(worse),
        }
    }
}

/// Refuses what is there and is no regular file: opening a pipe waits for somebody at its other end.
pub(crate) fn check_regular(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
impl DayFiles {
    /// A log whose file refuses both the write and being cut back.
    pub(crate) fn read_only(folder: &Path, day: Date) -> Self {
        let path = folder.join(file_name(day));
        std::fs::write(&path, b"").expect("creates");
        let file = File::open(&path).expect("opens");
        Self { folder: folder.to_owned(), open: Some(DayFile { day, file, length: 0 }) }
    }
}
