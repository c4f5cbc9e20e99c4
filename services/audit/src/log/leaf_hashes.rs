//! The hash of every line, beside the log.
//!
//! Nothing trusts this file. If its hashes lead to a signed root, though, they are the right ones, and the
//! verifier can name the line that was changed instead of saying that some line was.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tlog_tiles::{HASH_SIZE, Hash};

use super::files::check_regular;
use super::private;

/// Writes the file. After a failure it stays short until the next start writes it anew.
#[derive(Debug)]
pub(crate) struct LeafHashes {
    /// None after a failure.
    file: Option<BufWriter<File>>,
}

impl LeafHashes {
    pub(crate) fn push(&mut self, leaves: &[Hash]) {
        let Some(file) = &mut self.file else { return };
        let written = leaves.iter().try_for_each(|leaf| file.write_all(&leaf.0));
        if let Err(error) = written.and_then(|()| file.flush()) {
            falls_behind(&error);
            self.file = None;
        }
    }
}

fn falls_behind(error: &io::Error) {
    tracing::warn!(%error, "the file leaf-hashes falls behind; the next start writes it anew");
}

/// The file as it is written anew at start, under another name until the log is found to be whole: of a log
/// that was changed, the old hashes still tell where. Where it cannot be written the service starts without: it
/// is only ever a help, and a full disk must not keep a log from being read.
#[derive(Debug)]
pub(crate) struct Draft {
    /// None after a failure.
    file: Option<BufWriter<File>>,
    path: PathBuf,
}

impl Draft {
    pub(crate) fn create(path: &Path) -> Self {
        let path = path.with_extension("new");
        let file = private::draft(&path).map(BufWriter::new).inspect_err(falls_behind).ok();
        Self { file, path }
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&leaf.0)
        {
            falls_behind(&error);
            self.file = None;
        }
    }

    /// Takes the place of the old file.
    pub(crate) fn keep(self) -> LeafHashes {
        let place = |mut file: BufWriter<File>| {
            file.flush()?;
            fs::rename(&self.path, self.path.with_extension(""))?;
            Ok(file)
        };
        LeafHashes { file: self.file.and_then(|file| place(file).inspect_err(falls_behind).ok()) }
    }
}

/// Reads the file from its beginning. A missing or short file just ends: it is only ever a help.
#[derive(Debug)]
pub(crate) struct Reader(Option<BufReader<File>>);

impl Reader {
    pub(crate) fn open(path: &Path) -> Self {
        let opened = check_regular(path).and_then(|()| File::open(path));
        Self(opened.ok().map(BufReader::new))
    }
}

impl Iterator for Reader {
    type Item = Hash;

    fn next(&mut self) -> Option<Hash> {
        let mut hash = [0; HASH_SIZE];
        self.0.as_mut()?.read_exact(&mut hash).ok()?;
        Some(Hash(hash))
    }
}
