//! The clock that one service sees: libfaketime reads an offset from a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

/// Where distributions put the library.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A clock that can step.
#[derive(Debug)]
pub(super) struct Clock {
    file: PathBuf,
}

impl Clock {
    /// Where libfaketime is, if it is installed.
    pub(super) fn library() -> Option<&'static str> {
        LIBRARIES.into_iter().find(|path| Path::new(path).exists())
    }

    /// One that is right, with its offset in `file`.
    pub(super) fn new(file: PathBuf) -> anyhow::Result<Self> {
        let clock = Self { file };
        clock.step(0)?;
        Ok(clock)
    }

    /// How far ahead a service was when it wrote the last whole line of its log, in seconds; none when it has none.
    /// Nothing else shows a clock that went back: dates and ids never do.
    pub(super) fn seen(log: &Path) -> Option<i64> {
        #[derive(Deserialize)]
        struct Line {
            timestamp: Timestamp,
        }
        let text = fs::read_to_string(log).ok()?;
        let last = text.strip_suffix('\n')?.lines().next_back()?;
        let line: Line = serde_json::from_str(last).ok()?;
        Some(line.timestamp.duration_since(bulkhead_edge::now()).as_secs())
    }

    /// Sets how far it is ahead, in seconds.
    pub(super) fn step(&self, seconds: i32) -> anyhow::Result<()> {
        // In one rename: the library never reads half a number.
        let fresh = self.file.with_extension("new");
        fs::write(&fresh, format!("{seconds:+}\n"))
            .and_then(|()| fs::rename(&fresh, &self.file))
            .context("cannot step a clock")
    }

    /// What makes a process see it. The monotonic clock, by which timeouts run, stays right.
    pub(super) fn environment(&self) -> anyhow::Result<Vec<(String, String)>> {
        let file = self.file.to_str().context("the data folder's path is not UTF-8")?;
        let library = Self::library().context("libfaketime is not installed")?;
        let variables = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", file),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_CACHE_DURATION", "1"),
        ];
        Ok(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }
}
