//! What is wrong with a configuration, all of it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// From 1; none where the file as a whole is meant.
    pub line: Option<usize>,
    /// In full, such as `approval.edge.listen`; empty where no key is meant.
    pub key: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Everything that is wrong with a configuration file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes {
    #[serde(skip)]
    file: PathBuf,
    mistakes: Vec<Mistake>,
}

impl Mistakes {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), mistakes: Vec::new() }
    }

    /// The file as a whole cannot be used.
    pub(super) fn whole(file: &Path, problem: String) -> Self {
        let mistakes = vec![Mistake { line: None, key: String::new(), problem }];
        Self { file: file.to_owned(), mistakes }
    }

    pub(super) fn push(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    pub(super) fn append(&mut self, mut others: Self) {
        self.mistakes.append(&mut others.mistakes);
    }

    /// Ends the reading: what was read, or what is wrong with it.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.mistakes.is_empty() => Ok(value),
            _ => {
                self.mistakes.sort();
                Err(self)
            }
        }
    }

    /// Where they were found.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.mistakes.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(formatter, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        for Mistake { line, key, problem } in &self.mistakes {
            write!(formatter, "\n  {}:", self.file.display())?;
            if let Some(line) = line {
                write!(formatter, "{line}:")?;
            }
            if !key.is_empty() {
                write!(formatter, " {key}:")?;
            }
            write!(formatter, " {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
