//! Configuration: one TOML file, one table a service, every mistake told at once.
//!
//! A configuration is read by asking a [`Table`] for its keys. Each question says what the key means, what may
//! stand there and what holds when nothing does; what was never asked for is unknown and refused. The same
//! questions make the reference in `docs/configuration.md`, so that neither can differ from what is read.
//! Files that a configuration names are read with it: one that cannot be used is a mistake at the line that names
//! it. What a value holds is never repeated where it may be a secret.

mod common;
pub mod followed;
mod knob;
mod mistakes;
mod secret;
mod source;
mod suggest;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod value;

use std::fmt;
use std::path::Path;

pub use common::EdgeSettings;
pub use followed::{Followed, Loaded, Read};
pub use knob::{Knob, Presence};
pub use mistakes::{Mistake, Mistakes};
pub use secret::Secret;
pub use table::Table;
pub use value::{OneOrMore, Setting, Wrong};

use followed::Prints;
use source::Source;
use table::{Ended, Place};

/// The tables that a configuration file may hold. A file may configure one service or all of them.
const TABLES: [&str; 4] = ["model-router", "tool-executor", "approval", "audit"];

/// A configuration file and the service that it is for, not yet understood.
pub struct Settings {
    service: &'static str,
    source: Source,
}

impl fmt::Debug for Settings {
    /// Not what the file holds: that may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Mistakes`] when it cannot be read or is no text.
    pub fn load(path: &Path, service: &'static str) -> Result<Self, Mistakes> {
        Ok(Self { service, source: Source::open(path)? })
    }

    /// Reads the table of the service.
    ///
    /// # Errors
    /// Every mistake of the file at once, but for the other services' tables. Where the file is no TOML, every
    /// line that is none.
    pub fn read<T>(&self, read: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Result<T, Mistakes> {
        self.read_with_knobs(read).map(|(value, _knobs)| value)
    }

    /// Reads how the service meets its callers, and nothing else of its table.
    ///
    /// # Errors
    /// Every mistake of the table `edge` at once.
    pub fn edge(&self) -> Result<EdgeSettings, Mistakes> {
        self.read(|table| {
            table.leave_the_rest();
            table.table("edge", EdgeSettings::read)
        })
    }

    /// The same, and what each key is set to.
    ///
    /// # Errors
    /// As [`Settings::read`].
    pub fn read_with_knobs<T>(
        &self,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> Result<(T, Vec<Knob>), Mistakes> {
        self.read_with_files(read).0
    }

    /// The same, and the files that were read on the way, whatever came of it.
    fn read_with_files<T>(
        &self,
        read: impl FnOnce(&mut Table<'_>) -> Option<T>,
    ) -> (Result<(T, Vec<Knob>), Mistakes>, Prints) {
        let tree = match self.source.parse() {
            Ok(tree) => tree,
            Err(mistakes) => return (Err(mistakes), Prints::new()),
        };
        let mut file = Table::new(&self.source, Place::file(&tree));
        for table in TABLES {
            file.know(table);
        }
        let value = file.table(self.service, read);
        let Ended { mistakes, knobs, files } = file.finish();
        (mistakes.finish(value).map(|value| (value, knobs)), files)
    }

    /// Every key that `read` asks for in the table of `service`, whatever a file says.
    pub fn knobs<T>(service: &'static str, read: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Vec<Knob> {
        let nothing = Source::nothing();
        let mut file = Table::new(&nothing, Place::nowhere());
        // Nothing is there to be read; the questions are what is wanted.
        drop(file.table(service, read));
        file.finish().knobs
    }
}
