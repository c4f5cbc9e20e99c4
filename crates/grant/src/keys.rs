//! Key files: one line of base64, the private half readable by its owner alone.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulkhead_canonical_json::sha256_hex;
use ed25519_dalek::VerifyingKey;

/// Why a key file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read or written.
    #[error("cannot read or write the key file {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds something else.
    #[error("the key file {path} must hold one line with 32 bytes in base64")]
    Shape {
        /// Which.
        path: PathBuf,
    },
}

/// The private half of an Ed25519 key. Its `Debug` shows the id alone.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SigningKey({})", self.id())
    }
}

impl SigningKey {
    /// Loads the key from its file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        Ok(Self::from_seed(read(path)?))
    }

    /// From 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// The first 16 hex digits of the SHA-256 of the public half.
    #[must_use]
    pub fn id(&self) -> String {
        key_id(&self.0.verifying_key())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> VerifyingKey {
        self.0.verifying_key()
    }

    pub(crate) fn inner(&self) -> &ed25519_dalek::SigningKey {
        &self.0
    }
}

/// Public keys that a verifier trusts, because an operator put them into a file.
#[derive(Debug, Clone, Default)]
pub struct PinnedKeys(HashMap<String, VerifyingKey>);

impl PinnedKeys {
    /// Loads one public key a file.
    ///
    /// # Errors
    /// [`KeyFileError`], also for 32 bytes that are no point on the curve.
    pub fn load<'p>(paths: impl IntoIterator<Item = &'p Path>) -> Result<Self, KeyFileError> {
        let keys = paths.into_iter().map(|path| {
            let shape = |_source| KeyFileError::Shape { path: path.to_owned() };
            VerifyingKey::from_bytes(&read(path)?).map_err(shape)
        });
        Ok(keys.collect::<Result<Vec<_>, _>>()?.into_iter().collect())
    }

    pub(crate) fn get(&self, key_id: &str) -> Option<&VerifyingKey> {
        self.0.get(key_id)
    }
}

impl FromIterator<VerifyingKey> for PinnedKeys {
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        Self(keys.into_iter().map(|key| (key_id(&key), key)).collect())
    }
}

/// Writes a new key pair: the private half to `path` with mode 0600, the public half beside it with the
/// extension `pub`. Refuses to overwrite.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn write_new_key(path: &Path, seed: [u8; 32]) -> Result<SigningKey, KeyFileError> {
    let key = SigningKey::from_seed(seed);
    write(path, &seed, 0o600)?;
    write(&path.with_extension("pub"), key.public().as_bytes(), 0o644)?;
    Ok(key)
}

fn write(path: &Path, bytes: &[u8; 32], mode: u32) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(io)?;
    writeln!(file, "{}", STANDARD.encode(bytes)).map_err(io)?;
    file.sync_all().map_err(io)
}

fn read(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let text =
        fs::read_to_string(path).map_err(|source| KeyFileError::Io { path: path.to_owned(), source })?;
    let shape = || KeyFileError::Shape { path: path.to_owned() };
    let bytes = STANDARD.decode(text.trim()).map_err(|_source| shape())?;
    bytes.try_into().map_err(|_bytes| shape())
}

fn key_id(key: &VerifyingKey) -> String {
    let mut id = sha256_hex(key.as_bytes());
    id.truncate(16);
    id
}
