//! A small disk under a service's store, which can be full.

use std::ffi::CStr;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::up::private_folder;

/// Room for the stores of a run of several minutes. A tmpfs takes memory only for what is in it.
const OPTIONS: &CStr = c"size=96m,mode=0700";
/// What takes the room.
const FILLER: &str = "filler";

/// A tmpfs at the folder of a store. Dropping it unmounts it, and what was in it is gone.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Whether this process may mount at all.
    pub(super) fn can_be_mounted() -> bool {
        let tried =
            tempfile::tempdir().map_err(anyhow::Error::from).and_then(|folder| Self::mount(folder.path()));
        tried.is_ok()
    }

    /// Puts a disk at a folder that nothing is in yet.
    pub(super) fn mount(folder: &Path) -> anyhow::Result<Self> {
        private_folder(folder)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("bulkhead-chaos", folder, "tmpfs", flags, OPTIONS)
            .with_context(|| format!("cannot mount a tmpfs at {}", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), mounted: true })
    }

    /// Leaves no room at all: whole blocks first, then what is left of the last.
    pub(super) fn fill(&self) -> anyhow::Result<()> {
        let mut filler = fs::File::create(self.folder.join(FILLER)).context("cannot fill a disk")?;
        let mut block = vec![0; 1 << 20];
        while !block.is_empty() {
            match filler.write_all(&block) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => block.truncate(block.len() / 2),
                Err(error) => return Err(error).context("cannot fill a disk"),
            }
        }
        Ok(())
    }

    /// Takes away what took the room.
    pub(super) fn make_room(&self) -> anyhow::Result<()> {
        fs::remove_file(self.folder.join(FILLER)).context("cannot make room on a disk")
    }

    /// Unmounts it and keeps its files in the folder.
    pub(super) fn keep(mut self) -> anyhow::Result<()> {
        let kept = self.folder.with_extension("kept");
        copy(&self.folder, &kept).with_context(|| format!("cannot keep {}", self.folder.display()))?;
        self.unmount()?;
        fs::remove_dir(&self.folder).and_then(|()| fs::rename(&kept, &self.folder))?;
        Ok(())
    }

    fn unmount(&mut self) -> anyhow::Result<()> {
        self.mounted = false;
        unmount(&self.folder, UnmountFlags::DETACH)
            .with_context(|| format!("cannot unmount {}", self.folder.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            tracing::warn!("{error:#}");
        }
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
