//! Checkpoints: a tree's size and root, signed.
//!
//! A checkpoint is a C2SP tlog-checkpoint in a C2SP signed note, so that tools which know nothing of
//! Bulkhead can verify it. Promises that what [`Checkpoint::open`] returns was signed by the key that it
//! was given.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, VerifyingKey};
use signed_note::{Note, NoteError, StandardVerifier, VerifierError, VerifierList};
use tlog_tiles::checkpoint::Checkpoint as TlogCheckpoint;

use crate::merkle::Head;

/// The signature type of Ed25519 in C2SP signed notes.
const ALGORITHM_ED25519: u8 = 1;

/// Why a key file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("cannot read the key file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("the key file {path} must hold one line: {expected}")]
    Shape {
        /// Which.
        path: PathBuf,
        /// What would be right.
        expected: &'static str,
    },
}

/// Why a checkpoint does not count.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not a signed note.
    #[error("it is not a C2SP signed note")]
    Note(#[source] NoteError),
    /// A note whose text is no checkpoint.
    #[error("its text is not a C2SP checkpoint")]
    Text,
    /// The key is none.
    #[error("the verifier key is not valid")]
    Key(#[source] VerifierError),
    /// Nothing that the key signed.
    #[error("it is not signed by the expected key")]
    Signature(#[source] NoteError),
    /// Another log's.
    #[error("it belongs to the log {found}, not to {wanted}")]
    Origin {
        /// In the checkpoint.
        found: String,
        /// What was expected.
        wanted: String,
    },
}

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// Of which tree.
    pub head: Head,
}

impl Checkpoint {
    /// Reads a note without checking who signed it.
    ///
    /// # Errors
    /// [`CheckpointError::Note`] or [`CheckpointError::Text`].
    pub fn read(note: &[u8]) -> Result<Self, CheckpointError> {
        Self::of(&Note::from_bytes(note).map_err(CheckpointError::Note)?)
    }

    /// Reads a note that must be signed by `key`.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &[u8], key: &PinnedKey) -> Result<Self, CheckpointError> {
        let note = Note::from_bytes(note).map_err(CheckpointError::Note)?;
        let checkpoint = Self::of(&note)?;
        let verifier_key = match key {
            PinnedKey::Named(text) => text.clone(),
            PinnedKey::Bare(key) => signed_note::new_ed25519_verifier_key(&checkpoint.origin, key),
        };
        let verifier = StandardVerifier::new(&verifier_key).map_err(CheckpointError::Key)?;
        let name = signed_note::Verifier::name(&verifier).to_owned();
        note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(CheckpointError::Signature)?;
        if name != checkpoint.origin {
            return Err(CheckpointError::Origin { found: checkpoint.origin, wanted: name });
        }
        Ok(checkpoint)
    }

    fn of(note: &Note) -> Result<Self, CheckpointError> {
        let text = TlogCheckpoint::from_bytes(note.text()).map_err(|_malformed| CheckpointError::Text)?;
        let head = Head { size: text.size(), root: *text.hash() };
        Ok(Self { origin: text.origin().to_owned(), head })
    }
}

/// The public key that a verifier trusts, because somebody put it into a file.
#[derive(Debug, Clone)]
pub enum PinnedKey {
    /// Bound to an origin: a C2SP verifier key, `origin+hash+key`.
    Named(String),
    /// The key alone: 32 bytes.
    Bare(VerifyingKey),
}

impl PinnedKey {
    /// Loads a key file: one line with either a C2SP verifier key (as `GetCheckpoint` returns it) or the
    /// base64 of the 32 bytes (as the `.pub` file beside the log's key holds it).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_line(path)?;
        let named = StandardVerifier::new(&text).ok().map(|_| Self::Named(text.clone()));
        let bare = || VerifyingKey::from_bytes(&decode(&text)?).ok().map(Self::Bare);
        named.or_else(bare).ok_or_else(|| KeyError::Shape {
            path: path.to_owned(),
            expected: "a C2SP verifier key or 32 bytes in base64",
        })
    }
}

/// The log's own key under the log's own name. Its `Debug` shows the public half.
#[derive(Clone)]
pub struct LogKey {
    origin: String,
    key: ed25519_dalek::SigningKey,
}

impl fmt::Debug for LogKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LogKey({})", self.verifier_key())
    }
}

impl LogKey {
    /// Loads the private key: one line, 32 bytes in base64, the format of every Bulkhead key file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(origin: &str, path: &Path) -> Result<Self, KeyError> {
        let expected = "32 bytes in base64";
        let seed =
            decode(&read_line(path)?).ok_or_else(|| KeyError::Shape { path: path.to_owned(), expected })?;
        Ok(Self::from_seed(origin, seed))
    }

    /// From 32 secret bytes. `origin` must be a valid key name; see [`is_origin`].
    #[must_use]
    pub fn from_seed(origin: &str, seed: [u8; 32]) -> Self {
        Self { origin: origin.to_owned(), key: ed25519_dalek::SigningKey::from_bytes(&seed) }
    }

    /// The public half as a C2SP verifier key.
    #[must_use]
    pub fn verifier_key(&self) -> String {
        signed_note::new_ed25519_verifier_key(&self.origin, &self.key.verifying_key())
    }

    /// The public half, bound to the origin.
    #[must_use]
    pub fn pinned(&self) -> PinnedKey {
        PinnedKey::Named(self.verifier_key())
    }

    /// Signs a head as a note.
    ///
    /// # Errors
    /// [`CheckpointError`] for an origin that no checkpoint may carry.
    pub fn sign(&self, head: Head) -> Result<String, CheckpointError> {
        let text = TlogCheckpoint::new(&self.origin, head.size, head.root, "")
            .map_err(|_malformed| CheckpointError::Text)?;
        let mut note = Note::new(&text.to_bytes(), &[]).map_err(CheckpointError::Note)?;
        note.add_sigs(&[self]).map_err(CheckpointError::Note)?;
        String::from_utf8(note.to_bytes()).map_err(|_not_utf8| CheckpointError::Text)
    }
}

impl signed_note::Signer for LogKey {
    fn name(&self) -> &str {
        &self.origin
    }

    fn key_id(&self) -> u32 {
        let public = self.key.verifying_key();
        signed_note::key_id(&self.origin, &[&[ALGORITHM_ED25519], public.as_bytes().as_slice()].concat())
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.key.try_sign(message)?.to_vec())
    }
}

/// Whether a log may be called this: a C2SP key name (no white space, no `+`) of 1 to 128 characters.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    text.len() <= 128 && signed_note::is_key_name_valid(text) && !text.chars().any(char::is_control)
}

fn read_line(path: &Path) -> Result<String, KeyError> {
    let text = fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn decode(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use tlog_tiles::record_hash;

    use super::*;

    const ORIGIN: &str = "bulkhead.local/audit";

    fn head() -> Head {
        Head { size: 3, root: record_hash(b"a leaf") }
    }

    #[test]
    fn a_checkpoint_opens_under_its_own_key_and_no_other() {
        let key = LogKey::from_seed(ORIGIN, [7; 32]);
        let note = key.sign(head()).expect("signs");
        let expected = Checkpoint { origin: ORIGIN.into(), head: head() };
        assert_eq!(Checkpoint::open(note.as_bytes(), &key.pinned()).expect("opens"), expected);
        let bare = PinnedKey::Bare(key.key.verifying_key());
        assert_eq!(Checkpoint::open(note.as_bytes(), &bare).expect("opens"), expected);

        let other = LogKey::from_seed(ORIGIN, [8; 32]);
        let renamed = LogKey::from_seed("elsewhere", [7; 32]);
        for key in [other, renamed] {
            assert!(matches!(
                Checkpoint::open(note.as_bytes(), &key.pinned()),
                Err(CheckpointError::Signature(_))
            ));
        }
    }

    #[test]
    fn a_changed_checkpoint_does_not_open() {
        let key = LogKey::from_seed(ORIGIN, [7; 32]);
        let note = key.sign(head()).expect("signs");
        let changed = note.replace("\n3\n", "\n2\n");
        assert_ne!(changed, note);
        assert!(matches!(
            Checkpoint::open(changed.as_bytes(), &key.pinned()),
            Err(CheckpointError::Signature(_))
        ));
    }

    #[test]
    fn key_files_are_those_of_the_grants() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.key");
        let written = bulkhead_grant::write_new_key(&path, [9; 32]).expect("writes");
        let key = LogKey::load(ORIGIN, &path).expect("loads");
        assert_eq!(key.key.verifying_key(), written.public());
        let note = key.sign(head()).expect("signs");
        let pinned = PinnedKey::load(&path.with_extension("pub")).expect("loads");
        Checkpoint::open(note.as_bytes(), &pinned).expect("opens");

        fs::write(&path, key.verifier_key()).expect("writes");
        assert!(matches!(PinnedKey::load(&path), Ok(PinnedKey::Named(_))));
        assert!(matches!(LogKey::load(ORIGIN, &path), Err(KeyError::Shape { .. })));
    }

    #[test]
    fn origins_are_key_names() {
        assert!(is_origin(ORIGIN));
        for text in ["", "a b", "a+b", "a\nb", &"x".repeat(129)] {
            assert!(!is_origin(text), "{text:?}");
        }
    }
}
