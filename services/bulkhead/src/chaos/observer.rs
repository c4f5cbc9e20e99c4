//! Watches the files from outside the services: what arrived under which name, and what left it, each time.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use tokio_util::sync::CancellationToken;

use super::house::FOLDERS;

/// Room for a burst of events.
const BUFFER_BYTES: usize = 64 << 10;
/// Between two looks. The kernel keeps 16,384 events meanwhile, and says when it could not.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// What was seen, by path below the workspace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How often a file was moved to this name. Every tool publishes by renaming; tokens are laid out by writing.
    pub(super) arrivals: BTreeMap<String, usize>,
    /// How often a file was moved away from this name.
    pub(super) departures: BTreeMap<String, usize>,
    /// What is there at the end.
    pub(super) files: BTreeMap<String, String>,
}

impl Seen {
    /// How often something arrived at a path.
    pub(super) fn arrived(&self, path: &str) -> usize {
        self.arrivals.get(path).copied().unwrap_or(0)
    }

    /// How often something left a path.
    pub(super) fn left(&self, path: &str) -> usize {
        self.departures.get(path).copied().unwrap_or(0)
    }
}

/// An observer that looks already.
#[derive(Debug)]
pub(super) struct Observer {
    workspace: PathBuf,
    queue: OwnedFd,
    folders: BTreeMap<i32, &'static str>,
}

impl Observer {
    /// Looks at every folder of the workspace from now on.
    pub(super) fn begin(workspace: &Path) -> anyhow::Result<Self> {
        let queue = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("cannot watch files")?;
        let flags = WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let mut folders = BTreeMap::new();
        for folder in FOLDERS {
            let watch = add_watch(&queue, workspace.join(folder), flags);
            folders.insert(watch.with_context(|| format!("cannot watch {folder}"))?, folder);
        }
        Ok(Self { workspace: workspace.to_owned(), queue, folders })
    }

    /// Counts until told to stop, then looks at what is there.
    pub(super) async fn run(self, stop: CancellationToken) -> anyhow::Result<Seen> {
        let mut seen = Seen::default();
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_PAUSE)).await.is_some() {
            self.drain(&mut seen)?;
        }
        self.drain(&mut seen)?;
        for folder in FOLDERS {
            self.read(folder, &mut seen)?;
        }
        Ok(seen)
    }

    fn drain(&self, seen: &mut Seen) -> anyhow::Result<()> {
        let mut buffer = vec![MaybeUninit::uninit(); BUFFER_BYTES];
        let mut events = Reader::new(&self.queue, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(error) if io::Error::from(error).kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("cannot watch files"),
            };
            // What was missed cannot be judged.
            anyhow::ensure!(
                !event.events().contains(ReadFlags::QUEUE_OVERFLOW),
                "too much happened to see all"
            );
            let (Some(folder), Some(name)) = (self.folders.get(&event.wd()), event.file_name()) else {
                continue;
            };
            let path = format!("{folder}/{}", name.to_string_lossy());
            if event.events().contains(ReadFlags::MOVED_TO) {
                *seen.arrivals.entry(path).or_default() += 1;
            } else if event.events().contains(ReadFlags::MOVED_FROM) {
                *seen.departures.entry(path).or_default() += 1;
            }
        }
    }

    fn read(&self, folder: &str, seen: &mut Seen) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(self.workspace.join(folder))? {
            let entry = entry?;
            let content = std::fs::read_to_string(entry.path())?;
            seen.files.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()), content);
        }
        Ok(())
    }
}
