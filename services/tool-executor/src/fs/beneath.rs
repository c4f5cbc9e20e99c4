//! Reaching files beneath a folder that is held open. Every step takes one component and follows no link,
//! so there is nothing to escape through, and nothing to win by changing the tree meanwhile.

use std::fs::File;
use std::io::{self, Read};

use cap_std::fs::Dir;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use super::fault::FileError;
use super::preview::{Content, Text};

/// Text up to this is kept in memory for a diff: the largest content that a call writes, and the largest
/// preview.
pub(crate) const DIFF_BYTES_MAX: u64 = (1 << 20) + (256 << 10);

const READ_BYTES: usize = 64 << 10;

/// Opens the folder `name` in `dir`.
pub(crate) fn folder(dir: &Dir, name: &str) -> Result<Dir, FileError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(dir, name, flags, Mode::empty()) {
        Ok(opened) => Ok(Dir::from_std_file(File::from(opened))),
        Err(Errno::NOTDIR) => Err(not_a_folder(dir, name)),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens the regular file `name` in `dir` for reading. A pipe or a device is refused before it is opened,
/// and cannot make the opening wait if it takes the file's place in between.
pub(crate) fn file(dir: &Dir, name: &str) -> Result<(File, Stat), FileError> {
    regular(&stat(dir, name)?)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = File::from(openat(dir, name, flags, Mode::empty())?);
    let stat = fstat(&opened)?;
    regular(&stat)?;
    Ok((opened, stat))
}

/// What `name` in `dir` is, links not followed.
pub(crate) fn stat(dir: &Dir, name: &str) -> Result<Stat, FileError> {
    Ok(statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Whether `dir` has a `name`.
pub(crate) fn exists(dir: &Dir, name: &str) -> Result<bool, FileError> {
    match stat(dir, name) {
        Ok(_) => Ok(true),
        Err(FileError::Missing) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Refuses everything but regular files.
pub(crate) fn regular(stat: &Stat) -> Result<(), FileError> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        FileType::Symlink => Err(FileError::Link),
        other => Err(FileError::NotAFile(noun(other))),
    }
}

/// A file type in words.
pub(crate) fn noun(file_type: FileType) -> &'static str {
    match file_type {
        FileType::RegularFile => "a file",
        FileType::Directory => "a folder",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "of an unknown type",
    }
}

/// Size, hash and, up to `text_bytes_max`, text. Fails once more than `bytes_max` have been read, whatever
/// size the file claimed to have.
pub(crate) fn content(file: impl Read, bytes_max: u64, text_bytes_max: u64) -> Result<Content, FileError> {
    let (mut hash, mut kept, mut nul) = (Sha256::new(), Vec::new(), false);
    let bytes = chunks(file, bytes_max, |chunk, bytes| {
        hash.update(chunk);
        nul = nul || chunk.contains(&0);
        if bytes <= text_bytes_max {
            kept.extend_from_slice(chunk);
        }
    })?;
    Ok(Content {
        bytes,
        sha256: hex::encode(hash.finalize()),
        text: text(bytes <= text_bytes_max, kept, nul),
    })
}

/// Hands over a file piece by piece, each with the bytes read so far, and returns its size. Fails once more
/// than `bytes_max` have been read.
pub(crate) fn chunks(
    mut file: impl Read,
    bytes_max: u64,
    mut each: impl FnMut(&[u8], u64),
) -> Result<u64, FileError> {
    let (mut bytes, mut buffer) = (0_u64, vec![0; READ_BYTES]);
    loop {
        let chunk = read(&mut file, &mut buffer)?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if bytes > bytes_max {
            return Err(FileError::TooLarge { bytes, max: bytes_max });
        }
        each(chunk, bytes);
    }
}

fn read<'b>(file: &mut impl Read, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    loop {
        match file.read(buffer) {
            Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn text(complete: bool, kept: Vec<u8>, nul: bool) -> Text {
    match String::from_utf8(kept) {
        _ if nul => Text::Binary,
        _ if !complete => Text::Large,
        Ok(text) => Text::Shown(text),
        Err(_) => Text::Binary,
    }
}

fn not_a_folder(dir: &Dir, name: &str) -> FileError {
    match stat(dir, name) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => FileError::Link,
        Ok(_) => FileError::NotAFolder,
        Err(error) => error,
    }
}

/// Size and hash alone.
pub(crate) fn digest(file: impl Read, bytes_max: u64) -> Result<Content, FileError> {
    content(file, bytes_max, 0)
}
