//! A file that is looked at again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Between looks. With [`SETTLE`], a change is taken well within a second.
pub(crate) const LOOK: Duration = Duration::from_millis(250);
/// A change is taken when it is still there after this long, so that a file which is being written in place is not
/// taken for a short one.
pub(crate) const SETTLE: Duration = Duration::from_millis(50);

/// What a file held, or why it could not be read.
pub(crate) type Content = Result<Vec<u8>, io::ErrorKind>;

/// A file and what it held last. The contents are compared, not the times: they tell a rename, a rewrite in place
/// and a link that was turned elsewhere alike, and have no resolution. The files are small.
#[derive(Debug)]
pub(crate) struct WatchedFile {
    path: PathBuf,
    last: Content,
}

impl WatchedFile {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// Whatever reading it says.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<u8>)> {
        let content = fs::read(path)?;
        Ok((Self { path: path.to_owned(), last: Ok(content.clone()) }, content))
    }

    /// Which file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves when the file holds something else than before, and has held it for a moment. May be dropped at
    /// any point.
    pub(crate) async fn changed(&mut self) -> Content {
        loop {
            tokio::time::sleep(LOOK).await;
            let content = read(&self.path).await;
            if content == self.last {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            if read(&self.path).await == content {
                self.last.clone_from(&content);
                return content;
            }
        }
    }
}

async fn read(path: &Path) -> Content {
    tokio::fs::read(path).await.map_err(|error| error.kind())
}
