//! What a person is told of a child that does not start.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use bulkhead_exit::Exit;

use super::child::NotStarted;

/// What was told and still holds.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// What to say of one more start that failed; nothing if it was said and a person has to act first.
    pub(super) fn again(&mut self, error: &anyhow::Error) -> Option<String> {
        let exit = error.downcast_ref::<NotStarted>().and_then(NotStarted::exit);
        if !exit.is_some_and(Exit::needs_a_person) {
            self.0 = None;
            return Some(format!("{error:#}; starting it again"));
        }
        let told = format!("{error:#}");
        if self.0.as_deref().is_some_and(|earlier| essence(earlier) == essence(&told)) {
            return None;
        }
        self.0 = Some(told.clone());
        Some(format!(
            "{told}\n  It ends so until somebody mends that. The other services go on, and it is tried again every few \
             seconds; this is not said again."
        ))
    }

    /// What to say once it runs; nothing if there was no trouble.
    pub(super) fn over(&mut self, name: &str) -> Option<String> {
        self.0.take().map(|_told| format!("{name} runs again"))
    }
}

/// Without the lines of its log, which bear the time.
fn essence(told: &str) -> Vec<&str> {
    told.lines().filter(|line| !line.starts_with('{')).collect()
}

/// The end of what a child said since its log had `begin` bytes, for a person who would otherwise have to look for it.
pub(super) fn last_words(log: &Path, begin: u64) -> String {
    let text = said_since(log, begin).unwrap_or_else(|error| error.to_string());
    let lines: Vec<&str> = text.lines().rev().take(6).collect();
    let last: Vec<&str> = lines.into_iter().rev().collect();
    format!("it said:\n{}", last.join("\n"))
}

fn said_since(log: &Path, begin: u64) -> io::Result<String> {
    let mut log = File::open(log)?;
    log.seek(SeekFrom::Start(begin))?;
    let mut said = Vec::new();
    log.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
