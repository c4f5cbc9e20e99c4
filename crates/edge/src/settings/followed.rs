//! A configuration that is read again when it changes, while its service runs.
//!
//! Promises that no change is missed: what is compared is what was read, not what a file said about itself; and that a
//! file which is being written is not taken for a short one.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Knob, Mistakes, Settings, Table};
use crate::identity::watched::{LOOK, SETTLE};

/// How the table of a service becomes its configuration.
pub type Read<C> = fn(&mut Table<'_>) -> Option<C>;

/// What stands for the content of a file; none where it cannot be read.
pub(super) type Print = Option<[u8; 32]>;

/// Files, and what they held.
pub(super) type Prints = BTreeMap<PathBuf, Print>;

/// A configuration, and where it comes from.
#[derive(Debug)]
pub struct Loaded<C> {
    /// What was read.
    pub config: C,
    /// What each key is set to.
    pub knobs: Vec<Knob>,
    /// To be followed.
    pub file: Followed<C>,
}

/// The file of a configuration, and those that it names with secrets in them. Other files that it names are followed
/// by those who use them.
pub struct Followed<C> {
    path: PathBuf,
    service: &'static str,
    read: Read<C>,
    seen: Prints,
    hangup: Option<Signal>,
}

impl<C> fmt::Debug for Followed<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Followed").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the table of the service for the first time; it can be followed from then on.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn follow<C>(self, read: Read<C>) -> Result<Loaded<C>, Mistakes> {
        let (result, mut seen) = self.read_with_files(read);
        let (config, knobs) = result?;
        let (path, text) = self.source.whole();
        seen.insert(path.to_owned(), print(text.as_bytes()));
        let (path, service) = (path.to_owned(), self.service);
        Ok(Loaded { config, knobs, file: Followed { path, service, read, seen, hangup: None } })
    }
}

impl<C> Followed<C> {
    /// Which file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes SIGHUP for a wish to read again; before, it ends the process.
    ///
    /// # Errors
    /// What the system says.
    pub fn heed_hangup(&mut self) -> io::Result<()> {
        self.hangup = Some(signal(SignalKind::hangup())?);
        Ok(())
    }

    /// Resolves when the files hold something else than was read last and have held it for a moment, or when SIGHUP
    /// came. May be dropped at any point.
    pub async fn changed(&mut self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                Some(()) = hangup(self.hangup.as_mut()) => return,
            }
            let prints = prints(self.seen.keys()).await;
            if prints == self.seen {
                continue;
            }
            tokio::time::sleep(SETTLE).await;
            if self::prints(self.seen.keys()).await == prints {
                return;
            }
        }
    }

    /// Reads everything again. Whatever comes of it, the same is not [`Followed::changed`] any more.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn read(&mut self) -> Result<(C, Vec<Knob>), Mistakes> {
        // Before the reading: what changes meanwhile is read once more, and nothing is missed.
        let own = read_print(&self.path);
        let (result, mut seen) = match Settings::load(&self.path, self.service) {
            Ok(settings) => settings.read_with_files(self.read),
            Err(mistakes) => (Err(mistakes), Prints::new()),
        };
        seen.insert(self.path.clone(), own);
        self.seen = seen;
        result
    }
}

/// The keys that are set to something else, or are there in one of them alone, sorted. What is hidden is not compared.
#[must_use]
pub fn differing(before: &[Knob], after: &[Knob]) -> Vec<String> {
    let values = |knobs: &[Knob]| -> BTreeMap<String, Option<String>> {
        knobs.iter().map(|knob| (knob.path.clone(), knob.value.clone())).collect()
    };
    let (before, after) = (values(before), values(after));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut differing: Vec<String> =
        keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect();
    differing.sort();
    differing
}

pub(super) fn print(content: &[u8]) -> Print {
    Some(Sha256::digest(content).into())
}

fn read_print(path: &Path) -> Print {
    std::fs::read(path).ok().and_then(|content| print(&content))
}

async fn prints(paths: impl Iterator<Item = &PathBuf>) -> Prints {
    let mut prints = Prints::new();
    for path in paths {
        let content = tokio::fs::read(path).await.ok();
        prints.insert(path.clone(), content.and_then(|content| print(&content)));
    }
    prints
}

async fn hangup(signal: Option<&mut Signal>) -> Option<()> {
    match signal {
        Some(signal) => signal.recv().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Secret;

    fn key(table: &mut Table<'_>) -> Option<String> {
        table.or("count", 1_u32, "");
        table.secret(["key_file", "key_env"], "").map(|key: Secret| key.reveal().to_owned())
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().expect("a folder"));
            files.write("key", "first");
            files.configure("count = 1");
            files
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.path(name), text).expect("written");
        }

        fn configure(&self, more: &str) {
            self.write("c.toml", &format!("[audit]\nkey_file = {:?}\n{more}\n", self.path("key")));
        }

        fn load(&self) -> Loaded<String> {
            let settings = Settings::load(&self.path("c.toml"), "audit").expect("readable");
            settings.follow(key).expect("right")
        }
    }

    async fn changed(file: &mut Followed<String>) -> bool {
        tokio::time::timeout(Duration::from_secs(20), file.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_changed_file_and_a_changed_secret_are_read_again() {
        let files = Files::new();
        let Loaded { config, knobs, mut file } = files.load();
        assert_eq!(config, "first");
        files.write("key", "second");
        assert!(changed(&mut file).await);
        assert_eq!(file.read().expect("right").0, "second");
        files.configure("count = 2");
        assert!(changed(&mut file).await);
        let (_config, after) = file.read().expect("right");
        assert_eq!(differing(&knobs, &after), ["audit.count"]);
    }

    #[tokio::test]
    async fn what_was_found_wrong_is_read_again_once_it_is_mended() {
        let files = Files::new();
        let mut file = files.load().file;
        std::fs::remove_file(files.path("key")).expect("removed");
        assert!(changed(&mut file).await);
        assert!(file.read().expect_err("no key").to_string().contains("key_file"));
        files.write("key", "third");
        assert!(changed(&mut file).await);
        assert_eq!(file.read().expect("mended").0, "third");
        files.configure("no toml");
        assert!(changed(&mut file).await);
        file.read().expect_err("no TOML");
        files.configure("");
        assert!(changed(&mut file).await);
        assert_eq!(file.read().expect("mended").0, "third");
    }

    #[tokio::test]
    async fn what_is_as_it_was_read_is_no_change() {
        let files = Files::new();
        let mut file = files.load().file;
        files.configure("count = 1");
        assert_eq!(prints(file.seen.keys()).await, file.seen);
        files.configure("count = 9");
        assert_ne!(prints(file.seen.keys()).await, file.seen);
        file.read().expect("right");
        assert_eq!(prints(file.seen.keys()).await, file.seen);
    }
}
