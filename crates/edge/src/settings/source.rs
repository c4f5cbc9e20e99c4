//! The text of a configuration, and where in it something stands.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::{Mistake, Mistakes};

/// Largest file that is read: 1 MiB, some ten thousand models. Anything larger is another file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file that was read.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, Mistakes> {
        let wrong = |problem| Mistakes::whole(path, problem);
        let read = || {
            let mut bytes = Vec::new();
            File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error: std::io::Error| wrong(format!("cannot be read: {error}")))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
            return Err(wrong(format!("is larger than {FILE_BYTES_MAX} bytes; is it a configuration?")));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            wrong(format!(
                "is not UTF-8 (at byte {}); is it a configuration?",
                error.utf8_error().valid_up_to()
            ))
        })?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// Where it was, and all of it.
    pub(super) fn whole(&self) -> (&Path, &str) {
        (&self.path, &self.text)
    }

    /// No file at all, where the questions are what is wanted.
    pub(super) fn nothing() -> Self {
        Self { path: PathBuf::new(), text: String::new() }
    }

    /// What TOML makes of it, or every line that is none. The lines themselves are not shown: they may hold a
    /// secret.
    pub(super) fn parse(&self) -> Result<DeTable<'_>, Mistakes> {
        let (tree, errors) = DeTable::parse_recoverable(&self.text);
        let mut mistakes = self.no_mistakes();
        for error in &errors {
            let line = error.span().map(|span| self.line(span.start));
            mistakes.push(Mistake { line, key: String::new(), problem: error.message().to_owned() });
        }
        mistakes.finish(errors.is_empty().then(|| tree.into_inner()))
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
    }

    pub(super) fn no_mistakes(&self) -> Mistakes {
        Mistakes::new(&self.path)
    }
}
