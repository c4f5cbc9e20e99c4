//! Our token, as the header that carries it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::PeerError;
use crate::fault::chain;

/// Between looks at a token file: a rotated token is used within a second of the next call.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A token at hand, or one in a file that is read again when it changes. Its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Credentials(Arc<Source>);

enum Source {
    Fixed(HeaderValue),
    File { path: PathBuf, known: Mutex<Known> },
}

struct Known {
    header: HeaderValue,
    looked_at: Instant,
    readable: bool,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(hidden)")
    }
}

impl Credentials {
    /// Reads the token from a file; white space around it is ignored.
    ///
    /// # Errors
    /// [`PeerError::Token`] or [`PeerError::NotAToken`].
    pub fn load(path: &Path) -> Result<Self, PeerError> {
        let known = Known { header: read(path)?, looked_at: Instant::now(), readable: true };
        Ok(Self(Arc::new(Source::File { path: path.to_owned(), known: Mutex::new(known) })))
    }

    /// From a token at hand; none when it is empty or no header could carry it.
    #[must_use]
    pub fn new(token: &str) -> Option<Self> {
        bearer(token).map(|header| Self(Arc::new(Source::Fixed(header))))
    }

    /// The header of a call that is made now. A file that cannot be used any more leaves the token as it was.
    pub(super) fn header(&self) -> HeaderValue {
        match self.0.as_ref() {
            Source::Fixed(header) => header.clone(),
            Source::File { path, known } => {
                let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                known.refresh(path, Instant::now());
                known.header.clone()
            }
        }
    }
}

impl Known {
    fn refresh(&mut self, path: &Path, now: Instant) {
        if now.duration_since(self.looked_at) < LOOK_INTERVAL {
            return;
        }
        self.looked_at = now;
        match read(path) {
            Ok(header) => {
                if header != self.header {
                    tracing::info!(path = %path.display(), "the token file changed; calls carry the new token");
                }
                (self.header, self.readable) = (header, true);
            }
            Err(error) if self.readable => {
                self.readable = false;
                tracing::warn!(error = chain(&error, ": "), "calls go on with the token as it was");
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<HeaderValue, PeerError> {
    let text =
        fs::read_to_string(path).map_err(|source| PeerError::Token { path: path.to_owned(), source })?;
    bearer(text.trim()).ok_or_else(|| PeerError::NotAToken { path: path.to_owned() })
}

fn bearer(token: &str) -> Option<HeaderValue> {
    if token.is_empty() {
        return None;
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_token_is_used_and_a_broken_file_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        fs::write(&path, "first\n").expect("written");
        let mut known =
            Known { header: read(&path).expect("a token"), looked_at: Instant::now(), readable: true };
        let mut later = Instant::now();
        for (text, expected) in
            [("second", "Bearer second"), ("", "Bearer second"), ("third", "Bearer third")]
        {
            fs::write(&path, text).expect("written");
            known.refresh(&path, later);
            later += LOOK_INTERVAL;
            known.refresh(&path, later);
            assert_eq!(known.header, expected);
        }
    }

    #[test]
    fn a_token_is_shown_nowhere() {
        let credentials = Credentials::new("hunter2").expect("a token");
        let shown = format!("{credentials:?} {:?}", credentials.header());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
