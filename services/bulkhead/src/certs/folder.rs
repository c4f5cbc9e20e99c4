//! The files of an authority.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// Where a certificate and its key lie.
pub(crate) struct Signed {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Signed {
    pub(super) fn at(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) }
    }
}

/// Writes a file that only its owner may read. Refuses to overwrite one.
pub(super) fn private_file(path: &Path, text: &str) -> anyhow::Result<()> {
    new_file(path, text, 0o600).with_context(|| {
        format!("{} was not written; --renew keeps the authority that is there", path.display())
    })
}

/// Writes a file that anybody may read. Refuses to overwrite one.
pub(super) fn public_file(path: &Path, text: &str) -> anyhow::Result<()> {
    new_file(path, text, 0o644).with_context(|| format!("{} was not written", path.display()))
}

/// Puts a file in the place of whatever is there, whole: who reads it gets the old or the new.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let write = || {
        // What a run that was cut short has left.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        new_file(&aside, text, mode)?;
        fs::rename(&aside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn new_file(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
